//! A server over TLS that knows a few users, and says who asks.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::DigitallySignedStruct;
use rustls::DistinguishedName;
use rustls::ServerConfig;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tempfile::TempDir;
use tokensmith_client::{Client, Error, Refusal, Target, TargetOptions};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

pub const TOKEN: &str = "a-token-of-the-administrator";

/// What a request looked like.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The common name in the client's certificate.
    pub certificate: Option<String>,
    /// The name that TLS was asked for.
    pub name: Option<String>,
}

type Answer = dyn Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync;

/// The server, and a folder with its CA and what its users need.
pub struct World {
    pub dir: TempDir,
    pub port: u16,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub tls: Arc<ServerConfig>,
}

impl World {
    /// Answers as the server of the table does.
    pub async fn new() -> World {
        World::answering(|seen| {
            let bearer = format!("Bearer {TOKEN}");
            let own = seen.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
            let user = match (own, &seen.certificate) {
                (_, Some(name)) => name.as_str(),
                (Some(own), _) if own == bearer => "admin",
                _ => return told(StatusCode::UNAUTHORIZED, "Unauthorized"),
            };
            match seen.headers.get("impersonate-user").map(|name| name.to_str().unwrap()) {
                Some("bob") => told(StatusCode::FORBIDDEN, "forbidden"),
                other => told(StatusCode::OK, other.unwrap_or(user)),
            }
        })
        .await
    }

    pub async fn answering(answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        let key = KeyPair::generate().unwrap();
        fs::write(dir.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        let ca = Issuer::new(params, key);
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc", "api.example"];
        let (chain, key) = signed(&ca, "server", &names);
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(Anyone))
            .with_single_cert(vec![chain], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        fill(dir.path(), &ca);
        let tls = Arc::new(config);
        let seen = Arc::default();
        let port = serve(tls.clone(), Arc::clone(&seen), Arc::new(answer)).await;
        World { dir, port, seen, tls }
    }

    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A kubeconfig whose user and cluster have these fields besides.
    pub fn kubeconfig(&self, cluster: &str, user: &str) -> std::path::PathBuf {
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\nclusters: [{{name: k, cluster: {{server: \"{}\", certificate-authority: ca.crt{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n",
            self.server()
        );
        let path = self.path("config");
        fs::write(&path, text).unwrap();
        path
    }

    pub fn target(&self, cluster: &str, user: &str) -> Target {
        let kubeconfig = Some(self.kubeconfig(cluster, user));
        Target::resolve(&TargetOptions { kubeconfig, ..TargetOptions::default() }).unwrap()
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().unwrap()
    }
}

/// Who the server says that the client is.
pub async fn whoami(client: &Client) -> Result<Result<String, Refusal>, Error> {
    let answer = client.get("/whoami").await?;
    Ok(answer.map(|value| value["message"].as_str().unwrap().to_owned()))
}

pub fn told(code: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let body = format!("{{\"message\":\"{message}\"}}");
    Response::builder().status(code).body(Full::new(body.into())).unwrap()
}

fn signed(ca: &Issuer<'static, KeyPair>, name: &str, names: &[&str]) -> (CertificateDer<'static>, KeyPair) {
    let mut params =
        CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, ca).unwrap().der().clone(), key)
}

/// The files that kubeconfigs name.
fn fill(dir: &Path, ca: &Issuer<'static, KeyPair>) {
    let put = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
    let (chain, key) = signed(ca, "cert", &[]);
    let body = BASE64_STANDARD.encode(&chain);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    put(
        "client.crt",
        &format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")),
    );
    put("client.key", &key.serialize_pem());
    put("v1.crt", include_str!("v1.crt"));
    put("v1.key", include_str!("v1.key"));
    put("other.crt", include_str!("v1.crt"));
    put(
        "bundle.crt",
        &format!("# our own\n{}{}that is all\n", read(&dir.join("ca.crt")), include_str!("v1.crt")),
    );
    put("token", &format!("{TOKEN}\n"));
    put("empty", "");
    let plugin = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/kubectl/kubeconfigs/plugin");
    // No copy: a program that was just written cannot be run while another thread starts one (ETXTBSY).
    std::os::unix::fs::symlink(plugin, dir.join("plugin")).unwrap();
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

async fn serve(tls: Arc<ServerConfig>, seen: Arc<Mutex<Vec<Seen>>>, answer: Arc<Answer>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, seen, answer) = (tls.clone(), seen.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
                let session = stream.get_ref().1;
                let shown = session.peer_certificates().and_then(|chain| chain.first());
                let (certificate, name) = (shown.map(common_name), session.server_name().map(str::to_owned));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, answer) = (seen.clone(), answer.clone());
                    let (certificate, name) = (certificate.clone(), name.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let (path, headers) = (head.uri.path().to_owned(), head.headers);
                        let one = Seen { path, headers, body, certificate, name };
                        seen.lock().unwrap().push(one.clone());
                        Ok::<_, Infallible>(answer(&one))
                    }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

fn common_name(certificate: &CertificateDer<'static>) -> String {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let name = parsed.subject().iter_common_name().next().unwrap().as_str().unwrap();
    name.to_owned()
}

/// Takes any certificate: what the client shows is what is looked at.
#[derive(Debug)]
struct Anyone;

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Serves connections one by one, each in a task of its own; gives the port.
pub async fn listening<F, W>(each: F) -> u16
where
    F: Fn(tokio::net::TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(each(stream));
        }
    });
    port
}
