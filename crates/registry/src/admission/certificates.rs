//! Who asks for a certificate is who asks; who approves or signs for a signer has a right to
//! (`pkg/registry/certificates/certificates/strategy.go`, `plugin/pkg/admission/certificates`).

use std::sync::Arc;

use serde_json::{Map, Value};
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_core::access::{Authorizer, MASTERS};
use tokensmith_core::error::Error;
use tokensmith_objects::Object;
use tokensmith_objects::field::go_quote;
use tokensmith_objects::kinds::certificate_signing_request::organizations;

use super::signers::may_for;

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";
/// Whose certificates make users of this server.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

/// Fills in who asks, and judges who decides.
pub(super) struct Certificates {
    pub(super) authorizer: Arc<dyn Authorizer>,
}

impl Admission for Certificates {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.is_of(GROUP, REQUESTS) && super::is_stored(write)
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        if let Some(request) = new.filter(|_| write.operation == Operation::Create) {
            asker(write, request);
        }
        Ok(()).into()
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

/// Whatever the request says of itself.
fn asker(write: &Write<'_>, request: &mut Object) {
    let user = write.user;
    for field in ["username", "uid", "groups", "extra"] {
        request.remove(&["spec", field]);
    }
    request.set(&["spec", "username"], user.name.as_str());
    if !user.uid.is_empty() {
        request.set(&["spec", "uid"], user.uid.as_str());
    }
    if !user.groups.is_empty() {
        request.set(&["spec", "groups"], user.groups.clone());
    }
    let extra: Map<String, Value> =
        user.extra.iter().map(|(key, values)| (key.clone(), values.clone().into())).collect();
    if !extra.is_empty() {
        request.set(&["spec", "extra"], extra);
    }
}

fn judge(write: &Write<'_>, new: &Object, authorizer: &dyn Authorizer) -> Result<(), Error> {
    // The signer stays: what is asked for is what was stored.
    let signer = write.old.unwrap_or(new).str_at(&["spec", "signerName"]);
    let changed =
        |field: &str| write.old.is_some_and(|old| old.at(&["status", field]) != new.at(&["status", field]));
    let verb = match (write.operation, write.subresource) {
        (Operation::Create, _) => return subject(write, new, signer),
        (_, "approval") => "approve",
        (_, "status") if changed("certificate") || changed("conditions") => "sign",
        _ => return Ok(()),
    };
    if may_for(write, authorizer, verb, signer) {
        return Ok(());
    }
    let cause = format!("user not permitted to {verb} requests with signerName {}", go_quote(signer));
    Err(write.forbidden(Some(new), cause))
}

/// Nobody becomes a master by a certificate.
fn subject(write: &Write<'_>, new: &Object, signer: &str) -> Result<(), Error> {
    if signer != CLIENTS {
        return Ok(());
    }
    match organizations(new) {
        None => Err(write.forbidden(Some(new), "the request has an organization that cannot be read")),
        Some(all) if all.iter().any(|organization| organization == MASTERS) => {
            let cause = format!("use of {CLIENTS} signer with {MASTERS} group is not allowed");
            Err(write.forbidden(Some(new), cause))
        }
        Some(_) => Ok(()),
    }
}
