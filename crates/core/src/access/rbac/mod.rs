//! Role-based access control (`plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`).
//!
//! Roles and bindings are compiled into a [`Policy`] once per change; a request then looks at the bindings of its
//! own user and groups only.

mod aggregate;
mod escalation;
mod policy;
mod rule;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use aggregate::{aggregated_rules, aggregates};
pub use escalation::{check_binding, check_role};
pub use policy::{Policy, UserRules};
pub use rule::Rule;

use super::{Attributes, Authorizer, Decision, Identity};
use crate::view::Snapshot;

/// The authorizer for mode `RBAC`.
pub struct Rbac {
    policy: ArcSwap<Policy>,
}

impl Rbac {
    /// An authorizer that compiles its policy at the first request.
    pub fn new() -> Self {
        Rbac { policy: ArcSwap::from_pointee(Policy::default()) }
    }

    /// The policy for these objects; compiled anew only when a role or binding has changed.
    pub fn policy(&self, objects: &Snapshot) -> Arc<Policy> {
        let current = self.policy.load_full();
        if current.revision() == Some(objects.rbac_revision()) {
            return current;
        }
        let compiled = Arc::new(Policy::compile(objects));
        // A request with an older snapshot must not put an older policy in place of a newer one.
        if self.policy.load().revision() < compiled.revision() {
            self.policy.store(compiled.clone());
        }
        compiled
    }
}

impl Default for Rbac {
    fn default() -> Self {
        Self::new()
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &Identity, attributes: &Attributes, objects: &Snapshot) -> Decision {
        self.policy(objects).authorize(user, attributes)
    }

    fn rules_for(&self, user: &Identity, namespace: &str, objects: &Snapshot) -> UserRules {
        self.policy(objects).rules_for(user, namespace)
    }
}

#[cfg(test)]
mod tests;
