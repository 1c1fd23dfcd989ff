//! TLS as it is looked at: any certificate is taken, and what is wrong with it is written down. Nothing secret may be sent
//! over such a connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::Error;
use crate::tls::Unchained;

/// What a server has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its certificates, DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// What who trusts the system's CAs thinks of it; `None` where the system has none.
    pub system: Option<Judged>,
    /// What who trusts the given CA thinks of it.
    pub authority: Option<Judged>,
}

/// What came of a certificate, each by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether a trusted CA vouches for it; else why not.
    pub trusted: Result<(), String>,
    /// Whether it is for the name that was asked.
    pub named: bool,
    /// Whether now is within its time.
    pub in_time: bool,
}

impl Judged {
    /// Whether a client would go on.
    pub fn good(&self) -> bool {
        self.trusted.is_ok() && self.named && self.in_time
    }
}

/// Whom clients trust: the system's CAs, and a given one.
#[derive(Debug)]
pub(super) struct Judges {
    system: Option<Arc<WebPkiServerVerifier>>,
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Judges {
    pub(super) fn new(system: RootCertStore, authority: Option<RootCertStore>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let judge = |roots: RootCertStore| {
            let built =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            built.map_err(|e| Error::failed(format!("cannot set up TLS: {e}")))
        };
        Ok(Judges {
            system: (!system.is_empty()).then(|| judge(system)).transpose()?,
            authority: authority.map(judge).transpose()?,
            provider: provider.clone(),
        })
    }

    /// A configuration for one connection, and what will be seen on it.
    pub(super) fn config(self: &Arc<Self>) -> Result<(ClientConfig, Arc<Seen>), Error> {
        let seen = Arc::new(Seen { judges: self.clone(), shown: Mutex::default() });
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::failed(format!("cannot set up TLS: {e}")))?
            .dangerous()
            .with_custom_certificate_verifier(seen.clone())
            .with_no_client_auth();
        Ok((config, seen))
    }
}

/// Writes down what a server shows.
#[derive(Debug)]
pub(super) struct Seen {
    judges: Arc<Judges>,
    shown: Mutex<Option<Shown>>,
}

impl Seen {
    pub(super) fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unchained(&self) -> Unchained {
        Unchained::anyone(self.judges.provider.clone())
    }
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judge = |by: &Arc<WebPkiServerVerifier>| judged(by, leaf, between, name, now);
        let shown = Shown {
            chain: std::iter::once(leaf).chain(between).map(|der| der.to_vec()).collect(),
            system: self.judges.system.as_ref().map(judge),
            authority: self.judges.authority.as_ref().map(judge),
        };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.unchained().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.unchained().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.unchained().supported_verify_schemes()
    }
}

/// A certificate that is out of its time is judged once more within it: who renews it wants to know what else is wrong.
fn judged(
    by: &Arc<WebPkiServerVerifier>,
    leaf: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    now: UnixTime,
) -> Judged {
    let ask = |at| by.verify_server_cert(leaf, between, name, &[], at).map(drop);
    let mut judged = Judged { trusted: Ok(()), named: true, in_time: true };
    let mut answer = ask(now);
    let within = match &answer {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(not_after.as_secs())
        }
        Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => Some(not_before.as_secs()),
        _ => None,
    };
    if let Some(at) = within {
        judged.in_time = false;
        answer = ask(UnixTime::since_unix_epoch(Duration::from_secs(at)));
    }
    match answer {
        Ok(()) => {}
        Err(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => judged.named = false,
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        )) => judged.in_time = false,
        Err(rustls::Error::InvalidCertificate(why)) => judged.trusted = Err(why.to_string()),
        Err(other) => judged.trusted = Err(other.to_string()),
    }
    judged
}
