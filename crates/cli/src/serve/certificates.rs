//! Our own CA and the serving certificates that it signs.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use tokensmith_core::Moment;

use super::data_dir::{CA_CERT, CA_KEY, DataDir};
use crate::files::{self, Access};

const CA_LIFE: Duration = Duration::days(3650);
/// Long enough for a machine that sleeps, short enough that renewal is not a rare event.
const LIFE: Duration = Duration::days(90);
/// Clocks of clients may be behind.
const BACKDATE: Duration = Duration::hours(1);
/// When the serving certificate is made anew: two thirds of its life.
const RENEW: Duration = Duration::days(60);

/// The CA of a data directory.
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

impl Authority {
    /// Reads the CA, or makes it.
    ///
    /// # Errors
    /// Its files cannot be read, used or written.
    pub fn open(dir: &DataDir, now: OffsetDateTime) -> Result<Self> {
        let (cert, key) = (dir.file(CA_CERT), dir.secret(CA_KEY)?);
        let pem = files::read_if_there(&cert)?.map(|b| String::from_utf8_lossy(&b).into_owned());
        let (pem, key) = match (pem, key) {
            (Some(pem), Some(key)) => (pem, KeyPair::from_pem(&key).context("ca.key cannot be used")?),
            (Some(_), None) => anyhow::bail!("ca.key is missing beside {}: put it back", cert.display()),
            (None, _) => Self::make(dir, now)?,
        };
        let issuer = Issuer::from_ca_cert_pem(&pem, key)
            .with_context(|| format!("{} cannot be used", cert.display()))?;
        Ok(Authority { pem, issuer })
    }

    fn make(dir: &DataDir, now: OffsetDateTime) -> Result<(String, KeyPair)> {
        let mut params = CertificateParams::new(Vec::new()).context("cannot describe a CA")?;
        params.distinguished_name.push(DnType::CommonName, "tokensmith-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = (now.minus(BACKDATE), now.plus(CA_LIFE));
        let key = KeyPair::generate().context("cannot make the CA's key")?;
        let pem = params.self_signed(&key).context("cannot sign the CA")?.pem();
        // The key first: a certificate without a key could not be told from a lost key.
        files::write(&dir.file(CA_KEY), key.serialize_pem().as_bytes(), dir.others().into())?;
        files::write(&dir.file(CA_CERT), pem.as_bytes(), Access::Everyone)?;
        Ok((pem, key))
    }

    /// The CA's certificate in PEM, for clients.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new serving certificate for these names and addresses. Its key is never written anywhere.
    ///
    /// # Errors
    /// A name is none.
    pub fn serving(&self, names: &[String], now: OffsetDateTime) -> Result<Serving> {
        let mut params = CertificateParams::new(names)
            .with_context(|| format!("{names:?} are no names for a certificate"))?;
        params.distinguished_name.push(DnType::CommonName, "tokensmith");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (now.minus(BACKDATE), now.plus(LIFE));
        let key = KeyPair::generate().context("cannot make the serving key")?;
        let signed = params.signed_by(&key, &self.issuer).context("cannot sign the serving certificate")?;
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
    use crate::files::modes::Others;

    #[test]
    fn the_ca_stays_and_signs() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path(), Others::Nobody).unwrap();
        let now = datetime!(2026-01-01 0:00 UTC);
        let first = Authority::open(&dir, now).unwrap();
        let again = Authority::open(&dir, now).unwrap();
        assert_eq!(first.pem(), again.pem());
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
