//! The client's side of TLS. The crypto provider is always named: with two compiled in, rustls' default panics.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::target::Trust;
use crate::Error;

/// A configuration that trusts what `trust` says and shows no certificate. `extra` are certificates trusted besides, PEM.
///
/// # Errors
/// A certificate is not what it should be.
pub fn config(trust: &Trust, extra: Option<&[u8]>) -> Result<ClientConfig, Error> {
    with_certificate(trust, extra, None)
}

/// The same, showing the certificate that `shown` has at each handshake.
pub(crate) fn with_certificate(
    trust: &Trust,
    extra: Option<&[u8]>,
    shown: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anyone => Arc::new(Unchained::anyone(provider.clone())),
        Trust::Leaf(pem) => {
            let leaf = Some(CertificateDer::from_pem_slice(pem).map_err(|_| unusable())?);
            Arc::new(Unchained { leaf, provider: provider.clone() })
        }
        _ => {
            let (roots, anchors) = roots(trust, extra)?;
            match roots.is_empty() {
                // An image without CAs: nobody is known, and who asks by plain HTTP needs none.
                true => Arc::new(Unchained { leaf: Some(Vec::new().into()), provider: provider.clone() }),
                false => {
                    let chained =
                        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                    let chained = chained.build();
                    let chained = chained.map_err(|e| Error::failed(format!("cannot set up TLS: {e}")))?;
                    Arc::new(Chained { chained, anchors })
                }
            }
        }
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::failed(format!("cannot set up TLS: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match shown {
        Some(shown) => builder.with_client_cert_resolver(shown),
        None => builder.with_no_client_auth(),
    })
}

/// The anchors, and the certificates among them that were named and not the system's.
fn roots(
    trust: &Trust,
    extra: Option<&[u8]>,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), Error> {
    let (mut roots, mut anchors) = (RootCertStore::empty(), Vec::new());
    match trust {
        Trust::Authority(pem) => add(&mut roots, &mut anchors, pem)?,
        // Certificates of the system that do not parse are no one's loss: the rest is used.
        _ => drop(roots.add_parsable_certificates(system())),
    }
    if let Some(pem) = extra {
        add(&mut roots, &mut anchors, pem)?;
    }
    Ok((roots, anchors))
}

/// The system's certificates.
pub(crate) fn system() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// As Go does (`AppendCertsFromPEM`): what cannot be used is no anchor, and one must be there that can.
pub(crate) fn add(
    roots: &mut RootCertStore,
    anchors: &mut Vec<CertificateDer<'static>>,
    pem: &[u8],
) -> Result<(), Error> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| unusable())?;
        if roots.add(certificate.clone()).is_ok() {
            anchors.push(certificate);
        }
    }
    if roots.len() == before { Err(unusable()) } else { Ok(()) }
}

fn unusable() -> Error {
    Error::failed("the certificate authority's file holds no PEM certificate that can be used")
}

/// Looks at chains as webpki does. It takes no CA's certificate for a server's own, even where that very certificate is what is
/// trusted, as `openssl req -x509` makes it; Go takes that.
#[derive(Debug)]
struct Chained {
    chained: Arc<WebPkiServerVerifier>,
    anchors: Vec<CertificateDer<'static>>,
}

impl Chained {
    /// Whether it is one of the anchors, for that name, at that time, and for servers.
    fn is_anchor(&self, shown: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        if !self.anchors.iter().any(|anchor| anchor == shown) {
            return false;
        }
        let named = ParsedCertificate::try_from(shown).and_then(|shown| verify_server_name(&shown, name));
        let Ok((_, parsed)) = X509Certificate::from_der(shown) else { return false };
        let now = i64::try_from(now.as_secs()).ok().and_then(|now| ASN1Time::from_timestamp(now).ok());
        let uses = parsed.extended_key_usage();
        let serves = uses.is_ok_and(|uses| uses.is_none_or(|uses| uses.value.server_auth || uses.value.any));
        named.is_ok() && serves && now.is_some_and(|now| parsed.validity().is_valid_at(now))
    }
}

impl ServerCertVerifier for Chained {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.chained.verify_server_cert(shown, chain, name, ocsp, now) {
            Err(_) if self.is_anchor(shown, name, now) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chained.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chained.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chained.supported_verify_schemes()
    }
}

/// Looks at no chain and no name: takes one certificate that is known (a server's own, on the same machine), or
/// any, for a kubeconfig that says `insecure-skip-tls-verify`. Signatures are still checked, so that the peer has
/// the key of the certificate that it shows.
#[derive(Debug)]
pub(crate) struct Unchained {
    leaf: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Unchained {
    /// Takes any certificate.
    pub(crate) fn anyone(provider: Arc<CryptoProvider>) -> Unchained {
        Unchained { leaf: None, provider }
    }
}

impl ServerCertVerifier for Unchained {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.leaf {
            Some(leaf) if leaf != shown => Err(CertificateError::UnknownIssuer.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
