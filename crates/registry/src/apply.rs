//! Server-side apply (apiserver `handlers/patch.go`, `applyPatcher`): what a manager wants to be there is merged into the object,
//! or makes it.

use tokensmith_fields::ApplyError;
use tokensmith_objects::codec::{Expected, decode_patched};

use super::managed::Written;
use super::update::check_name;
use super::*;
use tracing::instrument;

impl Registry {
    /// Applies a configuration. Gives the object, and whether it was created.
    #[instrument(level = "debug", name = "registry.patch", skip_all, fields(resource = kind.plural))]
    pub async fn apply(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        namespace: &str,
        name: &str,
        part: Subresource<'_>,
        config: &Object,
    ) -> Result<(Arc<Stored>, bool), Error> {
        let (asked, kind) = (kind, kind.storage());
        loop {
            let old = match self.get(kind, namespace, name) {
                Ok(old) => Some(old),
                Err(Error::NotFound { .. }) if part == Subresource::None => None,
                Err(e) => return Err(e),
            };
            let mut object = self.applied(request, asked, part.name(), old.as_deref(), config)?;
            if old.is_none() && !object.uid().is_empty() {
                let uid = object.uid();
                let cause = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(Error::conflict(&kind.group, &kind.plural, name, cause));
            }
            reconcile_namespace(kind, namespace, &mut object)?;
            check_name(&object, namespace, name)?;
            single_owners(&mut object, false, &mut request.warnings);
            defaults::apply(asked, &mut object);
            let Some(old) = old else {
                self.may_create(request.user, asked, namespace, name)?;
                // It names a version of what is not there.
                object.remove(&["metadata", "resourceVersion"]);
                match self.create_recorded(request, asked, namespace, object).await {
                    // Somebody else was faster.
                    Err(Error::AlreadyExists { .. }) => continue,
                    made => return made.map(|made| (made, true)),
                }
            };
            let unconditional = object.resource_version() == old.resource_version();
            asked.to_stored(&mut object);
            match self.replace(request, asked, part, object, &old).await {
                Err(Error::Conflict { .. }) if unconditional && self.has_moved(kind, &old) => {}
                other => return other.map(|object| (object, false)),
            }
        }
    }

    /// What a configuration makes of an object, with who manages it then.
    fn applied(
        &self,
        request: &Request<'_>,
        kind: &Kind,
        part: &str,
        live: Option<&Stored>,
        config: &Object,
    ) -> Result<Object, Error> {
        use tokensmith_fields::Versions;
        let (written, version) = (Written::new(kind, part, self.schema()), kind.api_version());
        let live = live.map_or_else(|| written.empty(&version), |live| live.wire_object(kind));
        let (manager, force) = (request.options.field_manager(), request.options.force());
        let applied = self.recorder(&written, &version, &kind.kind, part, |recorder| {
            recorder.apply(&live, config, manager, force)
        });
        let object = applied.map_err(not_applied)?.into_object().into_value();
        let decoded = decode_patched(object, Vec::new(), &Expected::kind(kind), FieldValidation::Ignore);
        decoded.map(|decoded| decoded.object).map_err(|cause| unfit(config, &cause.to_string()))
    }
}

/// It has become what its type does not allow, which nobody could tell before.
pub(super) fn unfit(config: &Object, cause: &str) -> Error {
    let (group, version) = tokensmith_objects::schema::group_version(config.api_version());
    Error::Unclassified(format!(
        "failed to convert new object ({}/{}; {group}/{version}, Kind={}) to proper version: {cause}",
        config.namespace(),
        config.name(),
        config.kind()
    ))
}

pub(super) fn not_applied(error: ApplyError) -> Error {
    let message = error.to_string();
    match error {
        ApplyError::Conflicts(conflicts) => {
            let cause = |one: tokensmith_fields::Conflict<'_>| {
                ("FieldManagerConflict".into(), format!("conflict with {}", one.manager()), one.field)
            };
            Error::Managed { message, causes: conflicts.told().0.into_iter().map(cause).collect() }
        }
        ApplyError::Failed(_) => Error::Unclassified(message),
        ApplyError::Refused(_) => Error::BadRequest(message),
    }
}
