//! Validation: what Kubernetes refuses, in its words (`pkg/apis/{certificates,core,rbac}/validation`).

pub(crate) mod data;
mod meta;
pub(crate) mod selector;

use crate::field::Findings;
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
    kind.rules().validate(&mut errors, kind, object, limits);
    errors
}

/// What is wrong with the change of `old` to `new`.
pub fn update(kind: &Kind, new: &Object, old: &Object, limits: &Limits) -> Findings {
    let mut found = Findings::default();
    let errors = &mut found;
    meta::update(errors, kind, new, old);
    kind.rules().validate_update(errors, kind, new, old, limits);
    found
}

/// A field that stays as it was made.
pub(crate) fn unchanged(errors: &mut Findings, path: &[&str], new: &Object, old: &Object) {
    if new.str_at(path) != old.str_at(path) {
        let value = new.str_at(path).into();
        errors.push(|| FieldError::invalid(path.join("."), &value, "field is immutable"));
    }
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

#[cfg(test)]
mod tests;
