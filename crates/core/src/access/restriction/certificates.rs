//! Certificates: a node asks for its own name alone.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer;

use super::{Asked, Operation};
use crate::error::Error;

/// The signers whose certificates make a node of who holds one.
const SIGNERS: [&str; 2] = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];

impl Asked<'_> {
    pub(super) fn signing_request(&self) -> Result<(), Error> {
        let signer = self.sent(&["spec", "signerName"]);
        if self.write.operation != Operation::Create || !SIGNERS.contains(&signer) {
            return Ok(());
        }
        let Some(subject) = common_name(self.sent(&["spec", "request"])) else {
            return self.refuse("unable to parse csr");
        };
        let own = format!("system:node:{}", self.node);
        if subject != own {
            return self.refuse(format!("can only create a node CSR with CN={own}"));
        }
        Ok(())
    }
}

/// The subject's one common name, of a request in PEM in base64; `None` when it cannot be read.
fn common_name(request: &str) -> Option<String> {
    let pem = BASE64_STANDARD.decode(request).ok()?;
    let (_, pem) = parse_x509_pem(&pem).ok()?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    let mut names = request.certification_request_info.subject.iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}
