//! A CA of our own and the serving certificates that it signs, in memory.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use tokensmith_core::Moment;
use zeroize::Zeroizing;

const CA_LIFE: Duration = Duration::days(3650);
/// Long enough for a machine that sleeps, short enough that renewal is not a rare event.
const LIFE: Duration = Duration::days(90);
/// Clocks of clients may be behind.
const BACKDATE: Duration = Duration::hours(1);
/// When the serving certificate is made anew: two thirds of its life.
const RENEW: Duration = Duration::days(60);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The CA's certificate.
    #[error("the CA's certificate cannot be used")]
    Ca(#[source] rcgen::Error),
    /// The CA's key.
    #[error("the CA's key cannot be used")]
    CaKey(#[source] rcgen::Error),
    /// A new key or signature.
    #[error("cannot make {0}")]
    Make(&'static str, #[source] rcgen::Error),
    /// A name.
    #[error("{0:?} are no names for a certificate")]
    Names(Vec<String>, #[source] rcgen::Error),
}

/// A CA.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate to serve.
pub struct Serving {
    /// The chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// The certificate in PEM.
    pub pem: String,
    /// When to make the next one: at two thirds of its life.
    pub renew_at: OffsetDateTime,
}

/// The names and addresses of a machine by which it reaches itself.
pub const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// The crypto library refuses.
    pub fn make(now: OffsetDateTime) -> Result<Self, CertificateError> {
        let failed = |e| CertificateError::Make("a CA", e);
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "tokensmith-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = (now.minus(BACKDATE), now.plus(CA_LIFE));
        let key = KeyPair::generate().map_err(failed)?;
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Self::of(pem, key)
    }

    /// The one that was kept, PEM.
    ///
    /// # Errors
    /// The one or the other is not what it should be.
    pub fn read(pem: String, key: &str) -> Result<Self, CertificateError> {
        Self::of(pem, KeyPair::from_pem(key).map_err(CertificateError::CaKey)?)
    }

    fn of(pem: String, key: KeyPair) -> Result<Self, CertificateError> {
        let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(CertificateError::Ca)?;
        Ok(Authority { pem, issuer })
    }

    /// The CA's certificate in PEM, for clients.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its key in PEM, for the file that keeps it.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.issuer.key().serialize_pem())
    }

    /// A new serving certificate for these names and addresses. Its key is never written anywhere.
    ///
    /// # Errors
    /// A name is none.
    pub fn serving(&self, names: &[String], now: OffsetDateTime) -> Result<Serving, CertificateError> {
        let failed = |e| CertificateError::Make("the serving certificate", e);
        let mut params =
            CertificateParams::new(names).map_err(|e| CertificateError::Names(names.to_vec(), e))?;
        params.distinguished_name.push(DnType::CommonName, "tokensmith");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (now.minus(BACKDATE), now.plus(LIFE));
        let key = KeyPair::generate().map_err(failed)?;
        let signed = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Serving {
            chain: vec![signed.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            pem: signed.pem(),
            renew_at: now.plus(RENEW),
        })
    }
}

#[cfg(test)]
mod tests {
    use ::time::macros::datetime;
    use x509_parser::pem::parse_x509_pem;
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn the_ca_that_was_kept_signs() {
        let now = datetime!(2026-01-01 0:00 UTC);
        let first = Authority::make(now).unwrap();
        let again = Authority::read(first.pem().to_owned(), &first.key_pem()).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
        let serving = again.serving(&names, now).unwrap();
        let (_, leaf) = X509Certificate::from_der(&serving.chain[0]).unwrap();
        let (_, ca) = parse_x509_pem(first.pem().as_bytes()).unwrap();
        leaf.verify_signature(Some(ca.parse_x509().unwrap().public_key())).unwrap();
        assert!(
            serving.renew_at < now + LIFE
                && leaf.validity().not_after.timestamp() == (now + LIFE).unix_timestamp()
        );
        assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 3);
    }
}
