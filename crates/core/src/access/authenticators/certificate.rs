//! Client certificates: CN is the user, each O a group (apiserver `request/x509`).

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::access::Identity;

/// The certificate names nobody.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Not a certificate.
    #[error("the client certificate cannot be read")]
    Malformed,
    /// No common name.
    #[error("the client certificate has no common name")]
    NoName,
}

/// The user of a certificate that TLS has verified against the client CA.
pub fn identity_of(der: &[u8]) -> Result<Identity, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next().and_then(|n| n.as_str().ok()).filter(|n| !n.is_empty());
    let name = name.ok_or(CertificateError::NoName)?.to_owned();
    let groups = subject.iter_organization().filter_map(|o| o.as_str().ok()).map(Into::into).collect();
    let fingerprint = ring::digest::digest(&ring::digest::SHA256, der);
    let hex: String = fingerprint.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let extra =
        [("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("X509SHA256={hex}")])].into();
    Ok(Identity { name, uid: String::new(), groups, extra })
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn names_and_groups() {
        let file = format!("{}/../../keys/rsa2048.crt.pem", env!("CARGO_MANIFEST_DIR"));
        let der = CertificateDer::from_pem_file(file).unwrap();
        let identity = identity_of(&der).unwrap();
        assert_eq!((identity.name.as_str(), identity.groups.len()), ("tokensmith test only", 0));
        assert!(identity.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
        assert!(identity_of(b"junk").is_err());
    }
}
