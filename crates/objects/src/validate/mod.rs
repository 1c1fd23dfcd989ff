//! Validation: what Kubernetes refuses, in its words (`pkg/apis/{certificates,core,rbac}/validation`).

pub(crate) mod data;
pub(crate) mod meta;
pub(crate) mod selector;

use serde_json::Value;

use crate::field::Findings;
use crate::path::Path;
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
pub fn create(kind: &Kind, object: &Object, limits: &Limits) -> Findings {
    let mut errors = Findings::default();
    let beside = kind.rules().judges_metadata();
    if beside {
        meta::create(&mut errors, kind, object);
    }
    kind.rules().validate(&mut errors, kind, object, limits);
    if !beside && errors.is_empty() {
        meta::create(&mut errors, kind, object);
    }
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

/// What is wrong with the change of a status.
pub fn status_update(kind: &Kind, new: &Object, old: &Object) -> Findings {
    let mut found = Findings::default();
    meta::status(&mut found, kind, new, old);
    kind.rules().validate_status(&mut found, new, old);
    found
}

/// What is wrong with the change of a part that the kind knows.
pub fn part_update(kind: &Kind, part: &str, new: &Object, old: &Object, limits: &Limits) -> Findings {
    let mut found = Findings::default();
    meta::update(&mut found, kind, new, old);
    kind.rules().validate_part(part, &mut found, new, old, limits);
    found
}

/// What is wrong with the finalizers in a spec.
pub fn finalize_update(new: &Object) -> Findings {
    let mut found = Findings::default();
    let at = &Path::new("spec.finalizers");
    for (index, finalizer) in meta::texts(new, &["spec", "finalizers"]).enumerate() {
        meta::finalizer(&mut found, &at.index(index), finalizer);
    }
    found
}

/// What is wrong with the selectors in an access review's `resourceAttributes`. Operators of a later version pass.
pub fn access_selectors(errors: &mut Findings, attributes: &Value) {
    let requirement =
        |kind| if kind == "labelSelector" { selector::requirement } else { selector::field_requirement };
    for kind in ["fieldSelector", "labelSelector"] {
        let Some(given) = attributes.get(kind).filter(|selector| !selector.is_null()) else { continue };
        let at = Path::new("spec.resourceAttributes");
        let at = &at.child(kind);
        let raw = given["rawSelector"].as_str().unwrap_or("");
        let requirements = given["requirements"].as_array().map_or(&[][..], Vec::as_slice);
        match (raw.is_empty(), requirements.is_empty()) {
            (false, false) => {
                errors.invalid(
                    &at.child("rawSelector"),
                    raw,
                    "may not specified at the same time as requirements",
                );
            }
            (true, true) => {
                let detail = format!("when {at} is specified, requirements or rawSelector is required");
                errors.required(&at.child("requirements"), &detail);
            }
            _ => {}
        }
        let at = at.child("requirements");
        for (index, one) in requirements.iter().enumerate() {
            requirement(kind)(errors, &at.index(index), one, true);
        }
    }
}

/// A number of no less than nothing.
pub(crate) fn not_negative(errors: &mut Findings, at: &Path<'_>, number: i64) {
    if number < 0 {
        errors.invalid(at, number, "must be greater than or equal to 0");
    }
}

/// A field that stays as it was made.
pub(crate) fn unchanged(errors: &mut Findings, path: &[&str], new: &Object, old: &Object) {
    if new.str_at(path) != old.str_at(path) {
        let value = new.str_at(path).into();
        errors.push(|| FieldError::invalid(path.join("."), &value, "field is immutable"));
    }
}

/// A field that stays as it was made, whatever it is. A pointer to nothing is shown as a text that says so.
pub(crate) fn stays(errors: &mut Findings, at: &Path<'_>, new: &Value, old: &Value) {
    if new != old {
        let shown = if new.is_null() { "null".into() } else { new.clone() };
        errors.invalid(at, shown, "field is immutable");
    }
}

/// A name of somebody's domain (`IsDomainPrefixedPath`).
pub(crate) fn domain_prefixed_path(errors: &mut Findings, at: &Path<'_>, name: &str) {
    let Some((host, path)) = name.split_once('/').filter(|(host, path)| !host.is_empty() && !path.is_empty())
    else {
        return match name {
            "" => errors.required(at, ""),
            name => errors.invalid(at, name, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        };
    };
    errors.each(at, host, names::subdomain(host));
    let good = |c: u8| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c);
    if !path.bytes().all(good) {
        let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.invalid(at, path, detail);
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
