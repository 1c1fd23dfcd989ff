//! A server with TLS, and clients that show what they like.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use tokensmith_core::access::authenticators::{ClientCas, ClientCertificates};
use tokensmith_server::listener;
use tokensmith_server::possession::Possession;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pki::{Ca, Client, ca_params, key};
use crate::world::World;

pub struct Place {
    pub world: World,
    pub clients: Arc<ClientCertificates>,
    pub address: SocketAddr,
    roots: RootCertStore,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A server that trusts these CAs of clients.
pub async fn place(cas: &[&Ca]) -> Place {
    let ders: Vec<_> = cas.iter().map(|ca| ca.der.clone()).collect();
    let parse = || ClientCas::parse(&ders).unwrap();
    let clients = Arc::new(ClientCertificates::new(parse()));
    let world = World::with_certificates(clients.clone()).await;
    // Clients check it by the system's clock.
    let serving_key = key();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let mut authority = ca_params("serving");
    for params in [&mut params, &mut authority] {
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2120, 1, 1));
    }
    let authority = Ca::of(authority, key());
    let serving = authority.client_with(params, &serving_key);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(Arc::new(Possession::new(&parse(), &provider())))
        .with_single_cert(serving.chain, serving.key)
        .unwrap();
    let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listening.local_addr().unwrap();
    let tls = Arc::new(ArcSwap::from_pointee(config.into()));
    tokio::spawn(listener::serve(
        listening,
        Some(tls),
        world.router(),
        Arc::default(),
        tokensmith_core::Supervisor::alone(),
        world.stop.subscribe(),
    ));
    let mut roots = RootCertStore::empty();
    roots.add(authority.der).unwrap();
    Place { world, clients, address, roots }
}

/// Shows a certificate whatever the server asks for.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// An open connection.
pub struct Connection(SendRequest<Full<&'static [u8]>>);

impl Place {
    /// A client's settings; kept, they resume sessions.
    pub fn client(
        &self,
        shown: Option<&Client>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots.clone());
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let key = provider().key_provider.load_private_key(client.key.clone_key()).unwrap();
                builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(
                    client.chain.clone(),
                    key,
                )))))
            }
        })
    }

    /// Opens a connection, on which nothing has been said.
    pub async fn open(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let config = self.client(None, &rustls::version::TLS13);
        TlsConnector::from(config).connect(name, stream).await.unwrap()
    }

    /// Opens a connection; an error is one of the handshake, as far as the client sees it by then.
    pub async fn connect(&self, config: &Arc<ClientConfig>) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Connection(sender))
    }
}

impl Connection {
    /// The answer's status and body.
    pub async fn get(&mut self, path: &str, token: Option<&str>) -> hyper::Result<(u16, serde_json::Value)> {
        self.send(http::Request::get(path), token, b"").await
    }

    /// Who the server says it is.
    pub async fn who(&mut self, token: Option<&str>) -> hyper::Result<(u16, serde_json::Value)> {
        self.send(http::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews"), token, b"{}")
            .await
    }

    async fn send(
        &mut self,
        mut request: http::request::Builder,
        token: Option<&str>,
        body: &'static [u8],
    ) -> hyper::Result<(u16, serde_json::Value)> {
        request = request.header("host", "localhost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.0.ready().await?;
        let answer = self.0.send_request(request.body(Full::new(body)).unwrap()).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}
