//! Server-side apply (apiserver `handlers/patch.go`, `applyPatcher`): what a manager wants to be there is merged into the object,
//! or makes it.

use tokensmith_api::yaml;
use tokensmith_fields::ApplyError;
use tokensmith_objects::codec::{Expected, decode_patched, what};

use super::managed::{There, Written};
use super::update::check_name;
use super::*;
use tracing::instrument;

/// What somebody wants to be there.
#[derive(Debug)]
pub struct Config {
    pub(super) object: Object,
    /// What strict reading says of a key that it repeats.
    repeated: Option<String>,
}

impl Config {
    /// Reads one: YAML, of which JSON is a part; `closely` where a repeated key matters.
    ///
    /// # Errors
    /// It is none.
    pub fn read(body: &[u8], closely: bool) -> Result<Config, Error> {
        let wrong = |cause: &str| Error::BadRequest(format!("error decoding YAML: {cause}"));
        let read = yaml::parse(body).map_err(|e| wrong(&with_line(&e.to_string())))?;
        let object = match read.value {
            Value::Null => Object::default(),
            value => {
                let what = what(&value);
                let other = format!(
                    "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
                );
                Object::from_value(value).ok_or_else(|| wrong(&other))?
            }
        };
        let odd = if closely && !read.duplicates.is_empty() { yaml::repeated(body) } else { None };
        Ok(Config { object, repeated: odd.map(|odd| format!("error converting YAML to JSON: {odd}")) })
    }

    /// Has a repeated key refused or told, once it is known what else there is to say of the apply: so upstream does.
    pub(super) fn judge(&self, request: &mut Request<'_>) -> Result<(), Error> {
        match (&self.repeated, request.options.field_validation()) {
            (None, _) | (_, FieldValidation::Ignore) => {}
            (Some(odd), FieldValidation::Strict) => {
                return Err(Error::BadRequest(format!("error strict decoding YAML: {odd}")));
            }
            // One that is tried again is told of it once.
            (Some(odd), FieldValidation::Warn) if !request.warnings.contains(odd) => {
                request.warnings.push(odd.clone());
            }
            _ => {}
        }
        Ok(())
    }
}

/// go-yaml says the line first, and of the first line nothing.
fn with_line(text: &str) -> String {
    let placed = text.rsplit_once(" at line ").and_then(|(text, place)| {
        let (line, column) = place.split_once(", column ")?;
        let cause = text.strip_prefix("error converting YAML to JSON: yaml: ")?;
        column.parse::<u64>().ok()?;
        Some((cause, line.parse::<u64>().ok()?))
    });
    match placed {
        Some((cause, 0 | 1)) => format!("error converting YAML to JSON: yaml: {cause}"),
        Some((cause, line)) => format!("error converting YAML to JSON: yaml: line {line}: {cause}"),
        None => text.into(),
    }
}

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
        config: &Config,
    ) -> Result<(Arc<Stored>, bool), Error> {
        let (asked, kind) = (kind, kind.storage());
        loop {
            let mut there = match self.get(kind, namespace, name) {
                Ok(old) => Some(There::read(asked, old)),
                Err(Error::NotFound { .. }) if part == Subresource::None => None,
                Err(e) => return Err(e),
            };
            let live = there.as_mut().map(There::asked);
            let mut object = self.applied(request, asked, part.name(), live, config)?;
            if there.is_none() && !object.uid().is_empty() {
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
            let Some(there) = there else {
                self.may_create(request.user, asked, namespace, name)?;
                // It names a version of what is not there.
                object.remove(&["metadata", "resourceVersion"]);
                match self.create_recorded(request, asked, namespace, object).await {
                    // Somebody else was faster.
                    Err(Error::AlreadyExists { .. }) => continue,
                    made => return made.map(|made| (made, true)),
                }
            };
            let unconditional = object.resource_version() == there.stored.resource_version();
            if let Some(object) = self.put_over(request, asked, part, object, &there, unconditional).await? {
                return Ok((object, false));
            }
        }
    }

    /// Has the server itself apply something to an object that has no namespace, whoever manages it so far.
    pub(crate) async fn apply_own(
        &self,
        manager: &str,
        kind: &Kind,
        name: &str,
        part: Subresource<'_>,
        config: Value,
    ) -> Result<Arc<Stored>, Error> {
        let user = system();
        let options = WriteOptions::patch(&format!("fieldManager={manager}&force=true"), true)?;
        let config = Config { object: Object::from_value(config).unwrap_or_default(), repeated: None };
        let request = &mut Request { options, ..Request::by(&user) };
        self.apply(request, kind, "", name, part, &config).await.map(|(object, _)| object)
    }

    /// What a configuration makes of an object, with who manages it then.
    fn applied(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        part: &str,
        live: Option<&mut Object>,
        config: &Config,
    ) -> Result<Object, Error> {
        use tokensmith_fields::Versions;
        let (written, version) = (Written::new(kind, part, self.schema()), kind.api_version());
        let mut empty;
        let live = match live {
            Some(live) => live,
            None => {
                empty = written.empty(&version);
                &mut empty
            }
        };
        let (manager, force) = (request.options.field_manager(), request.options.force());
        let applied = self.recorder(&written, &version, &kind.kind, part, |recorder| {
            recorder.apply(live, &config.object, manager, force)
        });
        let object = applied.map_err(not_applied)?.into_object().into_value();
        let decoded = decode_patched(object, Vec::new(), &Expected::kind(kind), FieldValidation::Ignore);
        let decoded = decoded.map_err(|cause| unfit(&config.object, &cause.to_string()))?;
        config.judge(request)?;
        Ok(decoded.object)
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
