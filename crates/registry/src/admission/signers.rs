//! Rights for a signer (`pkg/certauthorization`).

use tokensmith_core::access::admission::Write;
use tokensmith_core::access::{Attributes, Authorizer};

use super::may;

/// Whether who writes has a right for a signer, by its name or by all of its domain (`DOMAIN/*`).
pub(super) fn may_for(write: &Write<'_>, authorizer: &dyn Authorizer, verb: &str, signer: &str) -> bool {
    let whole_domain = format!("{}/*", signer.split('/').next().unwrap_or(""));
    [signer, &whole_domain].into_iter().any(|name| {
        let attributes = Attributes {
            verb: verb.into(),
            group: "certificates.k8s.io".into(),
            version: "*".into(),
            resource: "signers".into(),
            name: name.into(),
            resource_request: true,
            ..Attributes::default()
        };
        may(write, authorizer, &attributes)
    })
}
