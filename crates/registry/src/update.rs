//! Update and patch.

use tokensmith_fields::{MANAGED, put_managers};
use tokensmith_objects::codec::Expected;
use tokensmith_objects::patch::{Patch, PatchError};

use super::managed::{There, is_unchanged};
use super::services::Allocation;
use super::*;
use tokensmith_core::access::chain::forbidden_text;
use tokensmith_core::access::{Attributes, Decision};
use tracing::instrument;

/// Which part of an object a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource<'a> {
    /// `/finalize` of a namespace: its finalizers alone.
    Finalize,
    /// The object itself; its status stays.
    None,
    /// One that the kind's room knows: `/ephemeralcontainers` and `/resize` of a pod, `/approval` of a request for a certificate.
    Part(&'a str),
    /// `/scale`: how many there are, of the object itself.
    Scale,
    /// `/status`: the status alone.
    Status,
}

impl<'a> Subresource<'a> {
    pub(super) fn name(self) -> &'a str {
        match self {
            Subresource::Finalize => "finalize",
            Subresource::None => "",
            Subresource::Part(name) => name,
            Subresource::Scale => "scale",
            Subresource::Status => "status",
        }
    }
}

/// A change that lost a race is tried again, as upstream does.
pub(super) const ATTEMPTS: usize = 5;

impl Registry {
    /// Replaces an object. Gives it, and whether it was created (some kinds may be).
    #[instrument(level = "debug", name = "registry.update", skip_all, fields(resource = kind.plural))]
    pub async fn update(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        namespace: &str,
        name: &str,
        part: Subresource<'_>,
        mut object: Object,
    ) -> Result<(Arc<Stored>, bool), Error> {
        let (asked, kind) = (kind, kind.storage());
        reconcile_namespace(kind, namespace, &mut object)?;
        check_name(&object, namespace, name)?;
        single_owners(&mut object, false, &mut request.warnings);
        defaults::apply(asked, &mut object);
        let unconditional = matches!(object.resource_version(), "" | "0");
        for _ in 0..ATTEMPTS {
            let old = match self.get(kind, namespace, name) {
                Ok(old) => old,
                // It is gone: its old copy must not make it anew, with what it granted.
                Err(Error::NotFound { .. }) if !object.uid().is_empty() => {
                    return Err(another(kind, &object, (request, namespace, name), ""));
                }
                Err(Error::NotFound { .. })
                    if kind.put_creates && unconditional && part == Subresource::None =>
                {
                    self.may_create(request.user, asked, namespace, name)?;
                    return self.create(request, asked, namespace, object).await.map(|made| (made, true));
                }
                Err(e) => return Err(e),
            };
            if !object.uid().is_empty() && object.uid() != old.uid() {
                return Err(another(kind, &object, (request, namespace, name), old.uid()));
            }
            let (mut sent, mut there) = (object.clone(), There::read(asked, old));
            self.record(&request.manager(), asked, part.name(), Some(there.asked()), &mut sent);
            if let Some(object) = self.put_over(request, asked, part, sent, &there, unconditional).await? {
                return Ok((object, false));
            }
        }
        Err(modified(kind, name))
    }

    /// Who may replace what is there may not therefore create it (`handlers/update.go`, `withAuthorization`).
    pub(super) fn may_create(
        &self,
        user: &Identity,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<(), Error> {
        let wanted = Attributes {
            verb: "create".into(),
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: kind.plural.clone(),
            namespace: namespace.into(),
            name: name.into(),
            resource_request: true,
            ..Attributes::default()
        };
        match self.authorizer.authorize(user, &wanted, &self.snapshot()) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                let cause = forbidden_text(user, &wanted, &reason);
                Err(Error::forbidden(&kind.group, &kind.plural, name, cause))
            }
        }
    }

    /// Applies a patch to an object. One that names no version is tried again until nobody has been faster, as upstream's
    /// `GuaranteedUpdate` does: somebody else was each time, and the request's deadline ends it.
    #[instrument(level = "debug", name = "registry.patch", skip_all, fields(resource = kind.plural))]
    pub async fn patch(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        namespace: &str,
        name: &str,
        part: Subresource<'_>,
        patch: &Patch,
    ) -> Result<Arc<Stored>, Error> {
        let (asked, kind) = (kind, kind.storage());
        loop {
            let mut there = There::read(asked, self.get(kind, namespace, name)?);
            let mut object = patched(request, patch, there.asked().clone(), &Expected::kind(asked))?;
            reconcile_namespace(kind, namespace, &mut object)?;
            check_name(&object, namespace, name)?;
            // A patch that names no version means the object as it is now.
            let unconditional = object.resource_version() == there.stored.resource_version();
            defaults::apply(asked, &mut object);
            self.record(&request.manager(), asked, part.name(), Some(there.asked()), &mut object);
            if let Some(object) = self.put_over(request, asked, part, object, &there, unconditional).await? {
                return Ok(object);
            }
        }
    }

    /// Puts in an object's place what has been made of it. `None` where somebody else was faster, and the client does not mind,
    /// having named no version.
    pub(super) async fn put_over(
        &self,
        request: &mut Request<'_>,
        asked: &Kind,
        part: Subresource<'_>,
        mut object: Object,
        there: &There,
        unconditional: bool,
    ) -> Result<Option<Arc<Stored>>, Error> {
        asked.to_stored(&mut object);
        match self.replace(request, asked, part, object, there).await {
            Err(Error::Conflict { .. })
                if unconditional && self.has_moved(asked.storage(), &there.stored) =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    pub(super) fn has_moved(&self, kind: &Kind, old: &Stored) -> bool {
        let now = self.get(kind, old.namespace(), old.name());
        now.map_or(true, |now| now.revision() != old.revision())
    }

    pub(super) async fn replace(
        &self,
        request: &mut Request<'_>,
        asked: &Kind,
        part: Subresource<'_>,
        mut object: Object,
        there: &There,
    ) -> Result<Arc<Stored>, Error> {
        let kind = asked.storage();
        let old = &there.tree;
        let name = old.name();
        let snapshot = self.snapshot();
        let write = Write {
            subresource: part.name(),
            name,
            old: Some(old),
            dry_run: request.options.dry_run(),
            ..Write::of(request.user, Operation::Update, kind, old.namespace(), &snapshot)
        };
        self.admission.mutate(&write, Some(&mut object), &mut request.warnings).await?;
        stays_in(old.namespace(), &object)?;
        check_name(&object, "", name)?;
        single_owners(&mut object, true, &mut request.warnings);
        // What admission has put in has defaults, too.
        defaults::apply(kind, &mut object);
        // What is shown although nobody has set it is no change: both are compared as answers have them.
        object = Stored::as_shown(kind, object);
        // Upstream's versions are numbers, and 0 is none.
        let version = match object.resource_version() {
            "" => 0,
            text => options::unsigned(text).map_err(|cause| Error::Unclassified(cause.to_string()))?,
        };
        if version == 0 {
            object.remove(&["metadata", "resourceVersion"]);
        }
        if object.resource_version().is_empty() && kind.version_required {
            return Err(version_missing(kind, name));
        }
        if !object.resource_version().is_empty() && object.resource_version() != old.resource_version() {
            return Err(modified(kind, name));
        }
        let allocation = match part {
            Subresource::None => self.allocate(kind, &mut object, Some(old), write.dry_run).await?,
            _ => Allocation::default(),
        };
        let done = self.replace_allocated(request, asked, part, object, there, write).await;
        self.end_allocation(kind, allocation, &done).await;
        done
    }

    async fn replace_allocated(
        &self,
        request: &mut Request<'_>,
        asked: &Kind,
        part: Subresource<'_>,
        mut object: Object,
        there: &There,
        write: Write<'_>,
    ) -> Result<Arc<Stored>, Error> {
        let kind = asked.storage();
        let (old, there) = (&there.tree, &there.stored);
        let name = old.name();
        // Who manages what is not a part's to leave as it was.
        let managers = object.remove(MANAGED);
        match part {
            Subresource::Part(part) => strategy::prepare_part(kind, part, &mut object, old),
            Subresource::Finalize => strategy::prepare_finalize(&mut object, old),
            Subresource::None | Subresource::Scale => strategy::prepare_update(kind, &mut object, old),
            Subresource::Status => strategy::prepare_status_update(kind, &mut object, old),
        }
        put_managers(&mut object, managers);
        kind.rules().dated(&mut object, Some(old), &tokensmith_objects::object::timestamp(self.clock.now()));
        // A patch may name another identity, which is then told to be immutable.
        if object.uid().is_empty() {
            strategy::keep(&mut object, old, &["metadata", "uid"]);
        }
        for field in
            ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"]
        {
            strategy::keep(&mut object, old, &["metadata", field]);
        }
        let snapshot = self.snapshot();
        let write = Write { objects: &snapshot, ..write };
        self.admission.permit(&write, Some(&object)).await?;
        let mut found = match part {
            Subresource::Part(part) => validate::part_update(kind, part, &object, old, &self.config.limits),
            Subresource::Finalize => validate::finalize_update(&object),
            Subresource::None | Subresource::Scale => {
                validate::update(kind, &object, old, &self.config.limits)
            }
            Subresource::Status => validate::status_update(kind, &object, old),
        };
        if asked.is_view() && part == Subresource::None {
            asked.rules().validate_sent(&mut found, &object, Some(old));
        }
        invalid(kind, name, found)?;
        match part {
            Subresource::None => request.warnings.extend(kind.rules().warnings(&object, Some(old))),
            Subresource::Status => request.warnings.extend(kind.rules().status_warnings(&object)),
            _ => {}
        }
        self.admission.validate(&write, Some(&object), &mut request.warnings).await?;
        let charge = self.quotas.charge(&write, &object).await?;
        let mut object = normalise(kind, object)?;
        object.remove(&["metadata", "resourceVersion"]);
        let object = Stored::as_shown(kind, object);
        if is_unchanged(&object, old) {
            return Ok(there.clone());
        }
        let made = Stored::of(kind, &object, there.revision());
        if request.options.dry_run() {
            return Ok(Arc::new(made));
        }
        // The last finalizer of an object that is being deleted: now it goes.
        if old.deletion_timestamp().is_some()
            && strategy::finalized(kind, &object)
            && object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0)
                == 0
        {
            self.remove(kind, there).await?;
            return Ok(Arc::new(made));
        }
        let expect = Expect::Unchanged(there.revision());
        let written = self.written(kind, self.write_sent(request, kind, &made, expect).await, there).await?;
        charge.keep();
        Ok(written)
    }
}

/// Upstream's, down to the resource in place of the kind.
fn version_missing(kind: &Kind, name: &str) -> Error {
    let error = tokensmith_objects::FieldError::invalid(
        "metadata.resourceVersion",
        &0.into(),
        "must be specified for an update",
    );
    Error::invalid(&kind.group, &kind.plural, name, vec![error])
}

/// Upstream's store says it, down to the key.
///
/// On a dry run it does so before it knows where its keys begin.
pub(super) fn another(
    kind: &Kind,
    object: &Object,
    (request, namespace, name): (&Request<'_>, &str, &str),
    uid: &str,
) -> Error {
    let root = if request.options.dry_run() { "" } else { "/registry" };
    let place = [kind.rules().key().unwrap_or(&kind.plural), namespace, name]
        .into_iter()
        .filter(|part| !part.is_empty());
    let cause = format!(
        "StorageError: invalid object, Code: 4, Key: {root}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: {}",
        place.collect::<Vec<_>>().join("/"),
        object.uid(),
        uid
    );
    Error::conflict(&kind.group, &kind.plural, name, cause)
}

/// Is the object that of the URL? (apiserver `handlers/rest.go`)
pub(super) fn check_name(object: &Object, namespace: &str, name: &str) -> Result<(), Error> {
    let text = match (object.name(), object.namespace()) {
        ("", _) => {
            format!("the name of the object ({name} based on URL) was undeterminable: name must be provided")
        }
        (given, _) if given != name => {
            format!("the name of the object ({given}) does not match the name on the URL ({name})")
        }
        (_, given) if !namespace.is_empty() && !given.is_empty() && given != namespace => format!(
            "the namespace of the object ({given}) does not match the namespace on the request ({namespace})"
        ),
        _ => return Ok(()),
    };
    Err(Error::BadRequest(text))
}

/// What a patch makes of an object, if it is still of its type.
pub(super) fn patched(
    request: &mut Request<'_>,
    patch: &Patch,
    object: Object,
    expected: &Expected<'_>,
) -> Result<Object, Error> {
    let decoded = patch.change(object, expected, request.options.field_validation()).map_err(refused)?;
    // A patch that is refused after that is told of them, too; one that is tried again has them once.
    let told: Vec<_> = decoded.warnings.into_iter().filter(|w| !request.warnings.contains(w)).collect();
    request.warnings.extend(told);
    Ok(decoded.object)
}

/// Why a patch does not apply, by upstream's codes (`handlers/patch.go`, `interpretStrategicMergePatchError`).
fn refused(e: PatchError) -> Error {
    match e {
        PatchError::Decode { shown, cause } => {
            let error = tokensmith_objects::FieldError::invalid("patch", &shown.into(), cause);
            Error::invalid("", "", "", vec![error])
        }
        PatchError::Directive(text) => Error::BadRequest(text.into()),
        PatchError::Malformed(e) => Error::BadRequest(e.to_string()),
        PatchError::Merge(text) => Error::Unclassified(text),
        PatchError::Repeated | PatchError::TooMany(_) => Error::TooLarge(e.to_string()),
        PatchError::Unfit => Error::UnfitPatch,
    }
}
