//! Reads an object's fields, saying where each stands (as `spec.volumes[0].name`) when it is wrong.

use serde_json::Value;
use tokensmith_objects::field::Reason;
use tokensmith_objects::{FieldError, LocalPath, LocalPathError, names};

/// A field as it should be, or what is wrong with it.
pub type Parsed<T> = Result<T, FieldError>;

/// The string at a field, `""` when absent.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

/// The items of a list with the path of each, none when absent.
pub fn list<'a>(
    value: &'a Value,
    field: &str,
    name: &str,
) -> impl Iterator<Item = (String, &'a Value)> + use<'a> {
    let field = format!("{field}.{name}");
    let items = value[name].as_array().into_iter().flatten().enumerate();
    items.map(move |(at, item)| (format!("{field}[{at}]"), item))
}

/// Whether a field is there and true.
pub fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or(false)
}

/// A name that must be there and follow a rule of `objects::names`.
pub fn name(field: &str, name: &str, rule: fn(&str) -> Vec<String>) -> Parsed<String> {
    if name.is_empty() {
        return Err(FieldError::required(field, ""));
    }
    match rule(name).into_iter().next() {
        Some(finding) => Err(FieldError::invalid(field, &name.into(), finding)),
        None => Ok(name.into()),
    }
}

/// The name of an object that is referred to. It goes into a URL, so `../secrets/x` must not be one.
pub fn object_name(field: &str, given: &str) -> Parsed<String> {
    name(field, given, names::subdomain)
}

/// A path inside a volume.
pub fn local_path(field: &str, path: &str) -> Parsed<LocalPath> {
    LocalPath::try_from(path).map_err(|cause| {
        let detail = match cause {
            LocalPathError::Absolute(_) => "must be a relative path",
            LocalPathError::Empty(_) if path.is_empty() => return FieldError::required(field, ""),
            LocalPathError::Empty(_) => "must name a file",
            LocalPathError::Nul(_) => "must not contain NUL",
            LocalPathError::Reserved(_) => "must not start with '..'",
            LocalPathError::TooLong(_) => return too_long(field, path),
            LocalPathError::Up(_) => "must not contain '..'",
        };
        FieldError::invalid(field, &path.into(), detail)
    })
}

fn too_long(field: &str, path: &str) -> FieldError {
    if path.len() > LocalPath::MAX {
        return FieldError::too_long(field, LocalPath::MAX);
    }
    let message = format!("Too long: no element may be more than {} bytes", LocalPath::MAX_ELEMENT);
    FieldError { field: field.into(), reason: Reason::TooLong, message }
}

/// Permissions, if given.
pub fn mode(value: &Value, field: &str, name: &str) -> Parsed<Option<u32>> {
    let given = &value[name];
    if given.is_null() {
        return Ok(None);
    }
    match given.as_i64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n <= 0o777) {
        Some(mode) => Ok(Some(mode)),
        None => {
            let text = "must be a number between 0 and 0777 (octal), both inclusive";
            Err(FieldError::invalid(format!("{field}.{name}"), given, text))
        }
    }
}

/// A user or group id, if given.
pub fn id(value: &Value, field: &str, name: &str) -> Parsed<Option<u32>> {
    let given = &value[name];
    if given.is_null() {
        return Ok(None);
    }
    match given.as_i64().and_then(|n| u32::try_from(n).ok()).filter(|n| i32::try_from(*n).is_ok()) {
        Some(id) => Ok(Some(id)),
        None => {
            let text = "must be between 0 and 2147483647, inclusive";
            Err(FieldError::invalid(format!("{field}.{name}"), given, text))
        }
    }
}
