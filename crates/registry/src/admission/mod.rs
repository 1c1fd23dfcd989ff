//! Admission: what a new object needs from the objects around it.

mod attest;
mod claims;
mod service_account;

use tokensmith_objects::Object;
use tokensmith_objects::schema::Kind;

pub(super) use attest::admit as attest;
pub(super) use claims::admit as claims;
pub(super) use service_account::admit as service_account;

use super::PROTECTED;
use tokensmith_core::access::lifecycle::open_namespace;
use tokensmith_core::access::restriction::shown_name;
use tokensmith_core::access::{Attributes, Authorizer, Decision, Identity, MASTERS};
use tokensmith_core::error::Error;
use tokensmith_core::view::Snapshot;

/// Whether a user has a right that an admission asks for; the masters have every one.
fn may(user: &Identity, authorizer: &dyn Authorizer, objects: &Snapshot, attributes: &Attributes) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
        || matches!(authorizer.authorize(user, attributes, objects), Decision::Allow(_))
}

/// Nothing new in a namespace that is not there or is going (`plugin/pkg/admission/namespace/lifecycle`).
pub(super) fn namespace_is_open(objects: &Snapshot, kind: &Kind, object: &Object) -> Result<(), Error> {
    if !kind.namespaced {
        return Ok(());
    }
    open_namespace(objects, &kind.group, &kind.plural, object.namespace(), shown_name(object))
}

/// Some namespaces cannot be deleted.
pub(super) fn namespace_may_go(name: &str) -> Result<(), Error> {
    match PROTECTED.contains(&name) {
        true => Err(Error::forbidden("", "namespaces", name, "this namespace may not be deleted")),
        false => Ok(()),
    }
}
