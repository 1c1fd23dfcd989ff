//! Who grants must hold (`pkg/registry/rbac/…/policybased`).

use std::sync::Arc;

use tokensmith_core::access::Authorizer;
use tokensmith_core::access::admission::{Admission, Answer, Write};
use tokensmith_core::access::rbac::{self, EscalationError};
use tokensmith_core::error::Error;
use tokensmith_objects::Object;

pub(super) struct RbacEscalation {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

impl Admission for RbacEscalation {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.group == "rbac.authorization.k8s.io" && super::is_stored(write)
    }

    fn permit<'a>(&'a self, write: &'a Write<'a>, new: Option<&'a Object>) -> Answer<'a> {
        new.map_or(Ok(()), |new| judge(write, new, &*self.authorizer)).into()
    }
}

fn judge(write: &Write<'_>, new: &Object, authorizer: &dyn Authorizer) -> Result<(), Error> {
    if write.old.is_some_and(|old| differs_for_the_collector_alone(new, old)) {
        return Ok(());
    }
    let checked = match write.resource {
        "clusterroles" | "roles" => {
            let gathers = |role: &Object| write.resource == "clusterroles" && rbac::gathers(role);
            // Whoever may aggregate gets every right that any role will ever have, and whoever may end it keeps others
            // from having less.
            let aggregates = gathers(new) || write.old.is_some_and(gathers);
            rbac::check_role(write.user, authorizer, write.objects, new, write.resource, aggregates)
        }
        _ => rbac::check_binding(write.user, authorizer, write.objects, new),
    };
    checked.map_err(|e| match e {
        EscalationError::NotHeld(cause) => write.forbidden(Some(new), cause),
        EscalationError::RoleNotFound { plural, name } => Error::not_found(write.group, plural, &name),
    })
}

/// Whether an RBAC object has changed in nothing but what the collector of dependents writes (`IsOnlyMutatingGCFields`).
/// A label is none of that: it can make the role's rules part of another role, which others are bound to.
fn differs_for_the_collector_alone(new: &Object, old: &Object) -> bool {
    let rest = |object: &Object| {
        let mut rest = object.clone();
        for field in ["finalizers", "managedFields", "ownerReferences"] {
            rest.remove(&["metadata", field]);
        }
        rest
    };
    rest(new) == rest(old)
}
