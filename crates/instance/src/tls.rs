//! The listener's side of TLS, and the client's that trusts it. The crypto provider is always named: with two compiled in,
//! rustls' default panics.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokensmith_core::access::authenticators::ClientCas;
use tokensmith_server::possession::Possession;
use zeroize::Zeroizing;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate that is no use as an authority.
    #[error("the certificate authority cannot be used")]
    Authority,
    /// A chain that is to be served.
    #[error("the chain holds no certificate (PEM)")]
    Chain,
    /// A key that is to be served.
    #[error("the certificate's key cannot be read (PEM, unencrypted)")]
    Key,
    /// What is to be served.
    #[error("the certificate and its key do not belong together")]
    Pair(#[source] rustls::Error),
    /// The library.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// A certificate from elsewhere, PEM.
pub struct Certificate {
    /// What clients must trust: the CA.
    pub ca: String,
    /// The certificate, with those between it and its CA.
    pub chain: String,
    /// Its key, unencrypted.
    pub key: Zeroizing<String>,
}

impl Certificate {
    /// The settings that serve it.
    pub(crate) fn server(&self, clients: Option<&ClientCas>) -> Result<ServerConfig, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Chain)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|_| TlsError::Key)?;
        server(chain, key, clients)
    }
}

/// Serves a certificate chain. Clients that show a certificate of one of the CAs must have its key; what it is worth is
/// judged with each request.
///
/// # Errors
/// The certificate and its key do not belong together.
pub fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<&ClientCas>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(cas) => builder.with_client_cert_verifier(Arc::new(Possession::new(cas, &provider))),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusts one CA (PEM) and nobody else.
pub(crate) fn client(ca: &str) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|_| TlsError::Authority)?;
    roots.add(ca).map_err(|_| TlsError::Authority)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(TlsError::Setup)?.with_root_certificates(roots).with_no_client_auth())
}
