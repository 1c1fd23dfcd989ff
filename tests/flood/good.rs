//! A good client: a new connection for each exchange, and how long each takes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustls_pki_types::ServerName;
use tokensmith_tests::Server;
use tokensmith_tests::server::ADMIN;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long anything is waited for.
pub const LONG: Duration = Duration::from_secs(60);

pub struct Good {
    pub from: IpAddr,
    to: SocketAddr,
    tls: TlsConnector,
}

#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    pub fn worst(&self) -> Duration {
        self.0[self.0.len() - 1]
    }
}

impl Good {
    pub fn new(server: &Server, from: &str) -> Result<Self> {
        Ok(Good { from: from.parse()?, to: address(server)?, tls: tls(&[]) })
    }

    /// One after the other.
    pub async fn exchanges(&self, count: usize) -> Result<Times> {
        let mut times = Vec::new();
        for _ in 0..count {
            let start = now();
            timeout(LONG, self.exchange()).await.context("never answered")??;
            times.push(start.elapsed());
        }
        times.sort();
        Ok(Times(times))
    }

    async fn exchange(&self) -> Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        let stream = socket.connect(self.to).await?;
        let mut stream = secure(&self.tls, stream).await?;
        let request = format!(
            "GET /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // Who closes without a word of TLS is no concern here.
        let _ = stream.read_to_end(&mut answer).await;
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}

pub fn address(server: &Server) -> Result<SocketAddr> {
    Ok(server.url().strip_prefix("https://").context("no TLS")?.parse()?)
}

/// A client of TLS that trusts anybody: what is asked here is whether somebody answers.
pub fn tls(protocols: &[&[u8]]) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has them");
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

pub async fn secure(tls: &TlsConnector, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
    Ok(tls.connect(ServerName::try_from("localhost")?, stream).await?)
}

#[expect(clippy::disallowed_methods, reason = "a flood measures the machine's time")]
pub fn now() -> Instant {
    Instant::now()
}

#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
