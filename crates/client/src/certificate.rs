//! The certificate that a client shows, and its key.
//!
//! Any that Go takes: also of X.509's first version, which webpki does not read; whether it is good is for the server to say.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

use crate::Error;
use crate::target::read_file;

/// How long what files held is used before they are read again: client-go's time for new connections
/// (`transport/transport.go`).
const KEPT: Duration = Duration::from_secs(1);

/// A client certificate and its key. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and what leads from it to a CA.
    pub chain: Pem,
    /// The private key.
    pub key: Pem,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(…)")
    }
}

/// PEM, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// Itself.
    Data(Vec<u8>),
    /// A file that someone renews: it is read again and again.
    File(PathBuf),
}

impl Pem {
    fn read(&self) -> Result<Vec<u8>, Error> {
        match self {
            Pem::Data(pem) => Ok(pem.clone()),
            Pem::File(path) => read_file(path),
        }
    }
}

impl Certificate {
    fn read(&self) -> Result<CertifiedKey, Error> {
        pair(&self.chain.read()?, &self.key.read()?).map_err(|why| Error::failed(format!("the client {why}")))
    }
}

/// A certificate and its key. The error goes on from "the client".
pub(crate) fn pair(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| "certificate is not PEM".to_owned())?;
    let Some(leaf) = chain.first() else { return Err("certificate is not PEM".into()) };
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| "key is not an unencrypted PEM key".to_owned())?;
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|e| format!("key cannot be used: {e}"))?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| "certificate cannot be read".to_owned())?;
    if let Some(public) = key.public_key() {
        let same = SubjectPublicKeyInfo::from_der(&public)
            .is_ok_and(|(_, own)| own.subject_public_key.data == leaf.public_key().subject_public_key.data);
        if !same {
            return Err("certificate and key do not belong together".into());
        }
    }
    Ok(CertifiedKey::new(chain, key))
}

/// Shows a certificate at each handshake, as it is then.
#[derive(Debug)]
pub(crate) struct Shown {
    certificate: Certificate,
    clock: SystemClock,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    since: Duration,
    pair: Arc<CertifiedKey>,
}

impl Shown {
    /// # Errors
    /// It cannot be read now.
    pub(crate) fn new(certificate: Certificate) -> Result<Shown, Error> {
        let clock = SystemClock::new();
        let kept = Kept { since: clock.monotonic(), pair: Arc::new(certificate.read()?) };
        Ok(Shown { certificate, clock, kept: Mutex::new(kept) })
    }

    /// A server has refused it: whether its files hold another by now.
    pub(crate) fn renewed(&self) -> bool {
        let before = self.kept().pair.clone();
        self.read_after(Duration::ZERO).cert != before.cert
    }

    fn is_in_files(&self) -> bool {
        matches!(self.certificate.chain, Pem::File(_)) || matches!(self.certificate.key, Pem::File(_))
    }

    /// The pair that was read so long ago at most.
    fn read_after(&self, age: Duration) -> Arc<CertifiedKey> {
        let mut kept = self.kept();
        let now = self.clock.monotonic();
        if self.is_in_files() && now.saturating_sub(kept.since) >= age {
            // While files are being replaced, the last good pair is as good as it was.
            if let Ok(pair) = self.certificate.read() {
                *kept = Kept { since: now, pair: Arc::new(pair) };
            }
        }
        kept.pair.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What it guards is whole at any moment.
        self.kept.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.read_after(KEPT))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
