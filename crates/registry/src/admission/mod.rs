//! The members of admission that every server has. Each is asked about every write, by whatever path it comes; a new
//! one is a row in [`built_in`].

mod attest;
mod certificates;
mod claims;
mod classes;
mod escalation;
mod lifecycle;
mod limit_ranger;
mod node_taint;
mod priority;
mod runtime_class;
mod service_account;
mod signers;
mod storage;
mod tolerations;
mod topology;

use std::sync::Arc;

use attest::ClusterTrustBundleAttest;
use certificates::Certificates;
use claims::TokenClaims;
use classes::DefaultClass;
use escalation::RbacEscalation;
use lifecycle::NamespaceLifecycle;
use limit_ranger::LimitRanger;
use node_taint::NodeTaint;
use priority::Priority;
use runtime_class::RuntimeClass;
use service_account::ServiceAccount;
use storage::{PersistentVolumeClaimResize, StorageObjectInUseProtection};
use tokensmith_core::access::admission::{Admissions, Operation, Write};
use tokensmith_core::access::restriction::NodeRestriction;
use tokensmith_core::access::{Attributes, Authorizer, Decision, MASTERS};
use topology::PodTopologyLabels;

/// The chain, in upstream's order (`pkg/kubeapiserver/options/plugins.go`).
pub(super) fn built_in(authorizer: &Arc<dyn Authorizer>, implicit_token: bool) -> Admissions {
    Admissions::new(vec![
        Arc::new(NamespaceLifecycle),
        Arc::new(LimitRanger),
        Arc::new(ServiceAccount { implicit_token }),
        Arc::new(NodeRestriction::new(authorizer.clone())),
        Arc::new(NodeTaint),
        Arc::new(Priority),
        Arc::new(StorageObjectInUseProtection),
        Arc::new(DefaultClass::STORAGE),
        Arc::new(PersistentVolumeClaimResize),
        Arc::new(RuntimeClass),
        Arc::new(Certificates { authorizer: authorizer.clone() }),
        Arc::new(DefaultClass::INGRESS),
        Arc::new(PodTopologyLabels),
        Arc::new(RbacEscalation { authorizer: authorizer.clone() }),
        Arc::new(TokenClaims { authorizer: authorizer.clone() }),
        Arc::new(ClusterTrustBundleAttest { authorizer: authorizer.clone() }),
    ])
}

/// Whether an object of a resource is made.
fn is_made(write: &Write<'_>, (group, resource): (&str, &str)) -> bool {
    write.is_of(group, resource) && write.subresource.is_empty() && write.operation == Operation::Create
}

/// Whether an object is made or changed.
fn is_stored(write: &Write<'_>) -> bool {
    matches!(write.operation, Operation::Create | Operation::Update)
}

/// Whether who writes has a right that an admission asks for; the masters have every one.
fn may(write: &Write<'_>, authorizer: &dyn Authorizer, attributes: &Attributes) -> bool {
    write.user.groups.iter().any(|group| group == MASTERS)
        || matches!(authorizer.authorize(write.user, attributes, write.objects), Decision::Allow(_))
}
