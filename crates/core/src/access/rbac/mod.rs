//! Role-based access control (`plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`).
//!
//! Roles and bindings are a [`Policy`], which is a part of the snapshot and changes with it; a request looks at the
//! bindings of its own user and groups in its own namespace only.

mod aggregate;
mod cover;
mod escalation;
mod finder;
mod listed;
mod policy;
mod prefixes;
mod rule;

pub use aggregate::{Aggregation, Gathered, gathers};
pub use escalation::{EscalationError, check_binding, check_role};
pub use policy::{Policy, UserRules};
pub use rule::Rule;

use super::{Attributes, Authorizer, Decision, Identity};
use crate::view::Snapshot;

/// The authorizer for mode `RBAC`.
#[derive(Default)]
pub struct Rbac;

impl Rbac {
    /// An authorizer by the roles and bindings of the objects that it is asked with.
    pub fn new() -> Self {
        Rbac
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &Identity, attributes: &Attributes, objects: &Snapshot) -> Decision {
        objects.policy().authorize(user, attributes)
    }

    fn rules_for(&self, user: &Identity, namespace: &str, objects: &Snapshot) -> UserRules {
        objects.policy().rules_for(user, namespace)
    }
}

#[cfg(test)]
mod tests;
