//! Whom a certificate names: CN is the user, each O a group (apiserver `request/x509`).

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::CertificateError;
use crate::access::Identity;

/// The user of a certificate that counts.
///
/// # Errors
/// It has no common name, or one or an organisation that cannot be read: passed over, it would be another user, or one in
/// fewer groups than it says.
pub fn identity_of(der: &[u8]) -> Result<Identity, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let subject = certificate.subject();
    let text = |name: &AttributeTypeAndValue<'_>| {
        name.as_str().map(str::to_owned).map_err(|_| CertificateError::Malformed)
    };
    // Of several, Go keeps the last.
    let name = subject.iter_common_name().last().map(text).transpose()?;
    let name = name.filter(|name| !name.is_empty()).ok_or(CertificateError::NoName)?;
    let groups = subject.iter_organization().map(text).collect::<Result<_, _>>()?;
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
