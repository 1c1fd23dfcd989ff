//! Validation: what Kubernetes refuses, in its words (`pkg/apis/{certificates,core,rbac}/validation`).

mod meta;
pub(crate) mod selector;

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::{cluster_trust_bundle, config_map, pod, role, role_binding, secret};
use crate::schema::Kind;
use crate::{FieldError, Object};

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
pub fn create(kind: &Kind, object: &Object, limits: &Limits) -> Findings {
    let mut errors = Findings::default();
    meta::create(&mut errors, kind, object);
    body(&mut errors, kind, object, limits);
    errors
}

/// What is wrong with the change of `old` to `new`.
pub fn update(kind: &Kind, new: &Object, old: &Object, limits: &Limits) -> Findings {
    let mut found = Findings::default();
    let errors = &mut found;
    meta::update(errors, kind, new, old);
    match (kind.group.as_str(), kind.kind.as_str()) {
        // What was stored stays valid: only the change itself is judged.
        ("", "Pod") => pod::validate::update(errors, new, old),
        ("", "Secret") => secret::update(errors, new, old),
        ("", "ConfigMap") => {
            body(errors, kind, new, limits);
            immutable_data(errors, new, old, &["data", "binaryData"]);
        }
        (_, "ClusterTrustBundle") => cluster_trust_bundle::update(errors, new, old),
        (_, "RoleBinding" | "ClusterRoleBinding") => {
            body(errors, kind, new, limits);
            role_binding::update(errors, new, old);
        }
        _ => body(errors, kind, new, limits),
    }
    found
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

fn body(errors: &mut Findings, kind: &Kind, object: &Object, limits: &Limits) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap") => config_map::create(errors, object),
        ("", "Pod") => pod::validate::create(errors, object, limits),
        ("", "Secret") => secret::create(errors, object),
        (_, "ClusterTrustBundle") => cluster_trust_bundle::create(errors, object),
        (_, "Role" | "ClusterRole") => role::create(errors, kind, object),
        (_, "RoleBinding" | "ClusterRoleBinding") => role_binding::create(errors, kind, object),
        _ => {}
    }
}

pub(crate) const MAX_DATA: usize = 1 << 20;

/// Once `immutable` is set it stays, and so do the data.
pub(crate) fn immutable_data(errors: &mut Findings, new: &Object, old: &Object, fields: &[&str]) {
    if old.at(&["immutable"]) != Some(&Value::Bool(true)) {
        return;
    }
    if new.at(&["immutable"]) != Some(&Value::Bool(true)) {
        errors.push(|| FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for field in fields {
        if new.get(field) != old.get(field) {
            errors.push(|| FieldError::forbidden(*field, "field is immutable when `immutable` is set"));
        }
    }
}

#[cfg(test)]
mod tests;
