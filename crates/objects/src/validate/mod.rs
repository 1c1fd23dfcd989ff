//! Validation: what Kubernetes refuses, in its words (`pkg/apis/{certificates,core,rbac}/validation`).

mod meta;
mod pod;
mod rbac;
mod secret;
mod selector;
mod trust_bundle;
mod volume;

use serde_json::Value;

use crate::schema::Kind;
use crate::{FieldError, Object, names};

/// What the server's flags allow beyond Kubernetes' constants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The least lifetime of a token, seconds; 600 in Kubernetes.
    pub min_token_expiration_seconds: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { min_token_expiration_seconds: 600 }
    }
}

/// What is wrong with a new object.
pub fn create(kind: &Kind, object: &Object, limits: &Limits) -> Vec<FieldError> {
    let mut errors = meta::create(kind, object);
    errors.extend(body(kind, object, limits));
    errors
}

/// What is wrong with the change of `old` to `new`.
pub fn update(kind: &Kind, new: &Object, old: &Object, limits: &Limits) -> Vec<FieldError> {
    let mut errors = meta::update(kind, new, old);
    match (kind.group.as_str(), kind.kind.as_str()) {
        // What was stored stays valid: only the change itself is judged.
        ("", "Pod") => errors.extend(pod::update(new, old)),
        ("", "Secret") => errors.extend(secret::update(new, old)),
        ("", "ConfigMap") => {
            errors.extend(body(kind, new, limits));
            errors.extend(immutable_data(new, old, &["data", "binaryData"]));
        }
        (_, "ClusterTrustBundle") => errors.extend(trust_bundle::update(new, old)),
        (_, "RoleBinding" | "ClusterRoleBinding") => {
            errors.extend(body(kind, new, limits));
            errors.extend(rbac::update_binding(new, old));
        }
        _ => errors.extend(body(kind, new, limits)),
    }
    errors
}

/// The text for a lifetime below `min` seconds.
pub fn too_short(min: i64) -> String {
    match (min % 60, min) {
        (0, 60) => "may not specify a duration less than 1 minute".into(),
        (0, min) => format!("may not specify a duration less than {} minutes", min / 60),
        (_, min) => format!("may not specify a duration less than {min} seconds"),
    }
}

/// The most seconds that a token may be asked to live: 2^32.
pub const MAX_TOKEN_EXPIRATION: i64 = 1 << 32;
/// The text for more.
pub const TOO_LONG: &str = "may not specify a duration larger than 2^32 seconds";

fn body(kind: &Kind, object: &Object, limits: &Limits) -> Vec<FieldError> {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap") => config_map(object),
        ("", "Pod") => pod::create(object, limits),
        ("", "Secret") => secret::create(object),
        (_, "ClusterTrustBundle") => trust_bundle::create(object),
        (_, "Role" | "ClusterRole") => rbac::role(kind, object),
        (_, "RoleBinding" | "ClusterRoleBinding") => rbac::binding(kind, object),
        _ => Vec::new(),
    }
}

const MAX_DATA: usize = 1 << 20;

fn config_map(object: &Object) -> Vec<FieldError> {
    let (mut errors, mut total) = (Vec::new(), 0);
    for field in ["data", "binaryData"] {
        for (key, value) in object.get(field).and_then(Value::as_object).into_iter().flatten() {
            for finding in names::config_key(key) {
                errors.push(FieldError::invalid(format!("{field}[{key}]"), &key.as_str().into(), finding));
            }
            if field == "binaryData" && object.at(&["data", key]).is_some() {
                errors.push(FieldError::invalid(
                    format!("data[{key}]"),
                    &key.as_str().into(),
                    "duplicate of key present in binaryData",
                ));
            }
            total += value.as_str().map_or(0, str::len);
        }
    }
    if total > MAX_DATA {
        errors.push(FieldError::too_long("", MAX_DATA));
    }
    errors
}

/// Once `immutable` is set it stays, and so do the data.
fn immutable_data(new: &Object, old: &Object, fields: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.at(&["immutable"]) != Some(&Value::Bool(true)) {
        return errors;
    }
    if new.at(&["immutable"]) != Some(&Value::Bool(true)) {
        errors.push(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if new.get(field) != old.get(field) {
            errors.push(FieldError::forbidden(*field, "field is immutable when `immutable` is set"));
        }
    }
    errors
}

#[cfg(test)]
mod tests;
