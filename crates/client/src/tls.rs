//! The client's side of TLS. The crypto provider is always named: with two compiled in, rustls' default panics.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::target::{Credentials, Trust};
use crate::Error;

/// A configuration that trusts what `trust` says and shows `credentials`' certificate. `extra` are certificates
/// trusted besides, PEM.
///
/// # Errors
/// A certificate or key is not what it should be.
pub fn config(trust: &Trust, extra: Option<&[u8]>, credentials: &Credentials) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::failed(format!("cannot set up TLS: {e}")))?;
    let builder = match trust {
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchained::anyone(provider)))
        }
        Trust::Leaf(pem) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchained {
            leaf: Some(CertificateDer::from_pem_slice(pem).map_err(|_| unusable())?),
            provider,
        })),
        _ => builder.with_root_certificates(roots(trust, extra)?),
    };
    let Some((chain, key)) = &credentials.certificate else { return Ok(builder.with_no_client_auth()) };
    let bad = |what: &str| Error::failed(format!("the kubeconfig's client {what}"));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| bad("certificate is not PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| bad("key is not an unencrypted PEM key"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|e| bad(&format!("certificate and key do not work: {e}")))
}

fn roots(trust: &Trust, extra: Option<&[u8]>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Authority(pem) => add(&mut roots, pem)?,
        // Certificates of the system that do not parse are no one's loss: the rest is used.
        _ => drop(roots.add_parsable_certificates(system())),
    }
    if let Some(pem) = extra {
        add(&mut roots, pem)?;
    }
    Ok(roots)
}

/// The system's certificates.
pub(crate) fn system() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

pub(crate) fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), Error> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if roots.len() == before { Err(unusable()) } else { Ok(()) }
}

fn unusable() -> Error {
    Error::failed("the certificate authority's file holds no PEM certificate that can be used")
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
