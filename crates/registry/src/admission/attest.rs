//! Who may say what a signer's trust anchors are: whoever trusts the signer trusts them
//! (`plugin/pkg/admission/certificates/ctbattest`, `pkg/certauthorization`).

use tokensmith_objects::Object;
use tokensmith_objects::field::go_quote;
use tokensmith_objects::schema::Kind;

use super::may;
use tokensmith_core::access::{Attributes, Authorizer, Identity};
use tokensmith_core::error::Error;
use tokensmith_core::view::Snapshot;

const GROUP: &str = "certificates.k8s.io";
const VERB: &str = "attest";

/// Judges a bundle that names a signer, on create and on each change but of its owners and finalizers. The signer
/// cannot change, so it does not matter whose name is asked for.
pub(in super::super) fn admit(
    user: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
    kind: &Kind,
    new: &Object,
    old: Option<&Object>,
) -> Result<(), Error> {
    let signer = new.str_at(&["spec", "signerName"]);
    let is_bundle = kind.group == GROUP && kind.kind == "ClusterTrustBundle";
    if !is_bundle || signer.is_empty() || old.is_some_and(|old| only_owners_differ(new, old)) {
        return Ok(());
    }
    let whole_domain = format!("{}/*", signer.split('/').next().unwrap_or(""));
    if [signer, &whole_domain].iter().any(|name| allowed(user, authorizer, objects, name)) {
        return Ok(());
    }
    let cause = format!("user not permitted to attest for signerName {}", go_quote(signer));
    Err(Error::forbidden(&kind.group, &kind.plural, new.name(), cause))
}

fn allowed(user: &Identity, authorizer: &dyn Authorizer, objects: &Snapshot, signer: &str) -> bool {
    let attributes = Attributes {
        verb: VERB.into(),
        group: GROUP.into(),
        version: "*".into(),
        resource: "signers".into(),
        name: signer.into(),
        resource_request: true,
        ..Attributes::default()
    };
    may(user, authorizer, objects, &attributes)
}

/// Garbage collection sets these on every object (`pkg/registry/rbac`, `IsOnlyMutatingGCFields`).
fn only_owners_differ(new: &Object, old: &Object) -> bool {
    let bare = |object: &Object| {
        let mut object = object.clone();
        for field in ["ownerReferences", "finalizers", "resourceVersion"] {
            object.remove(&["metadata", field]);
        }
        object
    };
    bare(new) == bare(old)
}
