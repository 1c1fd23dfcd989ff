//! Create.

use super::*;
use tokensmith_core::random;
use tokensmith_objects::object::timestamp as object_timestamp;
use tracing::instrument;

/// What an object that is to be made is named by. Admission changes what is in it, and not its name, by which it may have been
/// authorized, and by which whoever has sent it looks for it.
struct Name {
    name: String,
    generate: String,
}

impl Name {
    fn of(object: &Object) -> Self {
        Name { name: object.name().into(), generate: object.str_at(&["metadata", "generateName"]).into() }
    }

    fn stays(&self, object: &Object) -> Result<(), Error> {
        let now = Name::of(object);
        for (field, sent, now) in
            [("name", &self.name, &now.name), ("generateName", &self.generate, &now.generate)]
        {
            if sent != now {
                let text = format!(
                    "the {field} of the object ({now}) does not match the one that was sent ({sent})"
                );
                return Err(Error::BadRequest(text));
            }
        }
        Ok(())
    }
}

/// What is the server's to say of a new object (`rest.WipeObjectMetaSystemFields`): an object that came going would be gone with
/// its next change, and nobody had been asked whether it may be deleted.
fn wipe(object: &mut Object) {
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "uid", "creationTimestamp"] {
        object.remove(&["metadata", field]);
    }
}

/// As long as a generated name may be, less its random end.
const MAX_GENERATED: usize = 63 - SUFFIX;
const SUFFIX: usize = 5;

impl Registry {
    /// Creates an object. `namespace` is the URL's, empty for cluster-scoped kinds; `object` has been decoded.
    #[instrument(level = "debug", name = "registry.create", skip_all, fields(resource = kind.plural))]
    pub async fn create(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        namespace: &str,
        mut object: Object,
    ) -> Result<Arc<Stored>, Error> {
        let (asked, kind) = (kind, kind.storage());
        reconcile_namespace(kind, namespace, &mut object)?;
        wipe(&mut object);
        single_owners(&mut object, false, &mut request.warnings);
        defaults::apply(asked, &mut object);
        self.record(&request.manager(), asked, "", None, &mut object);
        self.create_recorded(request, asked, namespace, object).await
    }

    /// The same of an object that says who manages it.
    pub(super) async fn create_recorded(
        &self,
        request: &mut Request<'_>,
        asked: &Kind,
        namespace: &str,
        mut object: Object,
    ) -> Result<Arc<Stored>, Error> {
        let kind = asked.storage();
        wipe(&mut object);
        asked.to_stored(&mut object);
        let snapshot = self.snapshot();
        let dry_run = request.options.dry_run();
        let write =
            Write { dry_run, ..Write::of(request.user, Operation::Create, kind, namespace, &snapshot) };
        let name = Name::of(&object);
        self.admission.mutate(&write, Some(&mut object), &mut request.warnings).await?;
        stays_in(namespace, &object)?;
        name.stays(&object)?;
        single_owners(&mut object, true, &mut request.warnings);
        // What admission has put in has defaults, too.
        defaults::apply(kind, &mut object);
        let generated = object.name().is_empty() && !object.str_at(&["metadata", "generateName"]).is_empty();
        // A taken random name is tried again with another one (KEP-4420).
        for attempt in 0.. {
            let result = self.create_once(request, asked, namespace, object.clone(), generated).await;
            match result {
                Err(Error::AlreadyExists { .. }) if generated && attempt < 7 => {}
                Err(Error::AlreadyExists { resource, name, .. }) if generated => {
                    let cause =
                        format!("the server was not able to generate a unique name for the object ({name})");
                    return Err(Error::conflict(&resource.group, &resource.name, &name, cause));
                }
                other => return other,
            }
        }
        Err(Error::Unavailable("no name could be generated".into()))
    }

    async fn create_once(
        &self,
        request: &mut Request<'_>,
        asked: &Kind,
        namespace: &str,
        mut object: Object,
        generated: bool,
    ) -> Result<Arc<Stored>, Error> {
        let kind = asked.storage();
        if generated {
            let base = object.str_at(&["metadata", "generateName"]);
            let base: String = base.chars().take(MAX_GENERATED).collect();
            object.set(&["metadata", "name"], format!("{base}{}", random::suffix(SUFFIX)));
            defaults::apply(kind, &mut object);
        }
        if !object.resource_version().is_empty() {
            let text = "resourceVersion should not be set on objects to be created";
            return Err(Error::Unclassified(text.into()));
        }
        let allocation = self.allocate(kind, &mut object, None, request.options.dry_run()).await?;
        let made = self.create_allocated(request, asked, namespace, object).await;
        self.end_allocation(kind, allocation, &made).await;
        made
    }

    async fn create_allocated(
        &self,
        request: &mut Request<'_>,
        asked: &Kind,
        namespace: &str,
        mut object: Object,
    ) -> Result<Arc<Stored>, Error> {
        let kind = asked.storage();
        let now = object_timestamp(self.clock.now());
        // Some kinds make more of it.
        object.set(&["metadata", "uid"], random::uuid().to_string());
        object.set(&["metadata", "creationTimestamp"], now.as_str());
        if strategy::prepare_create(kind, &mut object) {
            strategy::date_conditions(&mut object, &now);
        }
        kind.rules().dated(&mut object, None, &now);
        let snapshot = self.snapshot();
        let dry_run = request.options.dry_run();
        let write =
            Write { dry_run, ..Write::of(request.user, Operation::Create, kind, namespace, &snapshot) };
        self.admission.permit(&write, Some(&object)).await?;
        let mut found = validate::create(kind, &object, &self.config.limits);
        if asked.is_view() {
            asked.rules().validate_sent(&mut found, &object, None);
        }
        invalid(kind, object.name(), found)?;
        request.warnings.extend(kind.rules().warnings(&object, None));
        self.admission.validate(&write, Some(&object), &mut request.warnings).await?;
        let charge = self.quotas.charge(&write, &object).await?;
        let object = normalise(kind, object)?;
        let there = |snapshot: &Snapshot| {
            snapshot.get(&kind.group, &kind.plural, object.namespace(), object.name()).cloned()
        };
        let taken = |by: Option<Arc<Stored>>| Error::AlreadyExists {
            resource: Qualified::new(&kind.group, &kind.plural),
            name: object.name().into(),
            going: by.is_some_and(|by| by.deletion_timestamp().is_some()),
        };
        let made = Stored::of(kind, &object, 0);
        if request.options.dry_run() {
            return match there(&self.snapshot()) {
                Some(by) => Err(taken(Some(by))),
                None => Ok(Arc::new(made)),
            };
        }
        let created = match self.write_sent(request, kind, &made, Expect::Absent).await {
            Ok(created) => created,
            Err(StoreError::Conflict(_)) => return Err(taken(there(&self.snapshot()))),
            Err(e) => return Err(backend(e)),
        };
        charge.keep();
        if kind.rules().holds_others() {
            // Who has made a namespace can use it at once: pods need its default account.
            self.furnish(created.name()).await?;
        }
        Ok(created)
    }
}
