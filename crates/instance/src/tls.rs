//! The listener's side of TLS, and the client's that trusts it. The crypto provider is always named: with two compiled in,
//! rustls' default panics.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokensmith_core::access::authenticators::ClientCas;
use tokensmith_server::possession::Possession;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate that is no use as an authority.
    #[error("the certificate authority cannot be used")]
    Authority,
    /// What is to be served.
    #[error("the certificate and its key do not belong together")]
    Pair(#[source] rustls::Error),
    /// The library.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
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
