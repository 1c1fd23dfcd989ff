//! A CA that is trusted, and what for. An operator's file says whom to trust; it does not make a CA of what says of itself
//! that it is none, nor valid what has ended.

use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::nom;
use x509_parser::prelude::{FromDer, X509Version};

use super::Validity;

/// Why a certificate cannot be trusted as a CA.
#[derive(Debug, thiserror::Error)]
pub(super) enum UntrustedAnchor {
    #[error(transparent)]
    Malformed(nom::Err<X509Error>),
    #[error(transparent)]
    Path(#[from] webpki::Error),
    #[error("there is something behind it")]
    Trailing,
}

/// A certificate of the operator's file.
pub(super) struct Anchor {
    der: Vec<u8>,
    /// Its name and key, and what names it may vouch for.
    pub(super) trust: TrustAnchor<'static>,
    pub(super) validity: Validity,
    /// How many CAs may stand between it and a client.
    pub(super) path_len: Option<u32>,
    /// It is a CA, and may sign certificates.
    signs: bool,
    /// It, and what it vouches for, may stand for a client.
    client: bool,
}

impl Anchor {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<Self, UntrustedAnchor> {
        let parsed = match X509Certificate::from_der(der) {
            Ok(([], parsed)) => parsed,
            Ok(_) => return Err(UntrustedAnchor::Trailing),
            Err(e) => return Err(UntrustedAnchor::Malformed(e)),
        };
        let trust = webpki::anchor_from_trusted_cert(der)?.to_owned();
        let constraints = parsed.basic_constraints().ok().flatten().map(|found| found.value);
        // X.509 v1 has no way to say so (crypto/x509 `CheckSignatureFrom`).
        let ca = parsed.version() == X509Version::V1 || constraints.is_some_and(|found| found.ca);
        Ok(Anchor {
            der: der.to_vec(),
            trust,
            validity: validity(&parsed),
            path_len: constraints.and_then(|found| found.path_len_constraint),
            signs: ca && may_sign(&parsed) && understood(&parsed),
            client: for_clients(&parsed) && understood(&parsed),
        })
    }

    /// Its subject, DER without the outermost header.
    pub(super) fn name(&self) -> &[u8] {
        &self.trust.subject
    }

    /// Whether it may vouch for a client at this moment.
    pub(super) fn vouches(&self, now: i64) -> bool {
        self.signs && self.client && self.valid(now)
    }

    /// Whether a client is this very certificate, as the operator trusts it by name (crypto/x509 takes a leaf that is among
    /// the roots).
    pub(super) fn is(&self, leaf: &CertificateDer<'_>) -> bool {
        self.der == leaf.as_ref()
    }

    /// Whether it may itself stand for a client at this moment.
    pub(super) fn stands_for_client(&self, now: i64) -> bool {
        self.client && self.valid(now)
    }

    fn valid(&self, now: i64) -> bool {
        (self.validity.0..=self.validity.1).contains(&now)
    }
}

/// First and last second.
pub(super) fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    (validity.not_before.timestamp(), validity.not_after.timestamp())
}

/// Whether its key usage, if it has one, lets it sign certificates. webpki does not look at it.
pub(super) fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    certificate.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

/// Whether its extended key usage, if it has one, has clients among it.
fn for_clients(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.extended_key_usage();
    usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.client_auth || usage.value.any))
}

/// Whether there is nothing critical in it that nobody here knows.
fn understood(certificate: &X509Certificate<'_>) -> bool {
    /// The last number of `id-ce`: subject key id, key usage, subject's and issuer's other names, basic and name constraints, CRLs,
    /// policies, authority key id, extended key usage.
    const KNOWN: [&str; 10] = ["14", "15", "17", "18", "19", "30", "31", "32", "35", "37"];
    certificate.extensions().iter().filter(|extension| extension.critical).all(|extension| {
        let id = extension.oid.to_id_string();
        id.strip_prefix("2.5.29.").is_some_and(|id| KNOWN.contains(&id))
    })
}
