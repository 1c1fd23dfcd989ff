//! Role-based access control (`plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`).
//!
//! Roles and bindings are a [`Policy`], which is a part of the snapshot and changes with it; a request looks at the
//! bindings of its own user and groups in its own namespace only.

mod aggregate;
mod cover;
mod escalation;
mod finder;
mod listed;
mod near;
mod policy;
mod prefixes;
mod rule;

pub use aggregate::{Aggregation, Gathered, gathers};
pub use escalation::{EscalationError, check_binding, check_role};
pub use near::nearest;
pub use policy::{Policy, UserRules};
pub use rule::{Lack, Rule};

use super::{Attributes, Authorizer, Clearance, Decision, Identity, Step};
use crate::view::Snapshot;

const GROUP: &str = "rbac.authorization.k8s.io";

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

    fn name(&self) -> &'static str {
        "RBAC"
    }

    fn explain(
        &self,
        user: &Identity,
        attributes: &Attributes,
        objects: &Snapshot,
        asker: &Clearance,
        steps: &mut Vec<Step>,
    ) -> Decision {
        let bindings = || {
            let cluster = objects.list(GROUP, "clusterrolebindings", "");
            let namespace = (!attributes.namespace.is_empty()).then_some(&attributes.namespace);
            let own =
                namespace.into_iter().flat_map(|namespace| objects.list(GROUP, "rolebindings", namespace));
            cluster.chain(own).map(|(_, binding)| binding.object()).collect()
        };
        steps.push(objects.policy().explain(user, attributes, asker.roles, bindings));
        objects.policy().authorize(user, attributes)
    }

    fn rules_for(&self, user: &Identity, namespace: &str, objects: &Snapshot) -> UserRules {
        objects.policy().rules_for(user, namespace)
    }
}

#[cfg(test)]
mod tests;
