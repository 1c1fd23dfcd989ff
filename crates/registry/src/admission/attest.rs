//! Who may say what a signer's trust anchors are: whoever trusts the signer trusts them
//! (`plugin/pkg/admission/certificates/ctbattest`).

use std::sync::Arc;

use tokensmith_core::access::Authorizer;
use tokensmith_core::access::admission::{Admission, Answer, Write};
use tokensmith_core::error::Error;
use tokensmith_objects::Object;
use tokensmith_objects::field::go_quote;

use super::signers::may_for;

const GROUP: &str = "certificates.k8s.io";

/// Judges a bundle that names a signer, on create and on each change but of its owners and finalizers. The signer
/// cannot change, so it does not matter whose name is asked for.
pub(super) struct ClusterTrustBundleAttest {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

impl Admission for ClusterTrustBundleAttest {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.is_of(GROUP, "clustertrustbundles") && super::is_stored(write)
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.map_or(Ok(()), |new| judge(write, new, &*self.authorizer)).into()
    }
}

fn judge(write: &Write<'_>, new: &Object, authorizer: &dyn Authorizer) -> Result<(), Error> {
    let signer = new.str_at(&["spec", "signerName"]);
    if signer.is_empty() || write.old.is_some_and(|old| only_owners_differ(new, old)) {
        return Ok(());
    }
    if may_for(write, authorizer, "attest", signer) {
        return Ok(());
    }
    let cause = format!("user not permitted to attest for signerName {}", go_quote(signer));
    Err(write.forbidden(Some(new), cause))
}

/// Garbage collection sets these on every object (`pkg/registry/rbac`, `IsOnlyMutatingGCFields`).
fn only_owners_differ(new: &Object, old: &Object) -> bool {
    let bare = |object: &Object| {
        let mut object = object.clone();
        for field in ["finalizers", "managedFields", "ownerReferences", "resourceVersion"] {
            object.remove(&["metadata", field]);
        }
        object
    };
    bare(new) == bare(old)
}
