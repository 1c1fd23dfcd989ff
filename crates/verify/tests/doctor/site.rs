//! A small real issuer, whole unless a test breaks something of it: two listeners, TLS by a CA of its own, and HTTP written by
//! hand, so that an answer can be anything.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokensmith_client::Outsider;
use tokensmith_client::outsider::{Names, Place};
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey};
use tokensmith_core::tokens::jws;
use tokensmith_verify::doctor::{Diagnosis, Facts, Subject, all, examine, gather};
use tokensmith_verify::report::UnverifiedToken;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub const HOST: &str = "tokens.example.com";
pub const ISSUER: &str = "https://tokens.example.com";
/// Where the host is for who looks its name up; connections come here.
const PUBLIC: &str = "93.184.215.14";

/// An answer.
#[derive(Clone)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The body never ends.
    pub endless: bool,
    /// A byte a second.
    pub slow: bool,
    pub refuses_head: bool,
}

/// How the server's certificate came about.
#[derive(Clone, Copy, PartialEq)]
pub enum Chain {
    Whole,
    SelfSigned,
    WithoutIntermediate,
    Expired,
    NearItsEnd,
    OtherName,
}

/// What is served.
pub struct Site {
    /// What doctor is told; `{port}` is that of TLS.
    pub issuer: String,
    pub document: Value,
    pub keys: Value,
    pub discovery: Page,
    pub key_set: Page,
    pub moved: Option<&'static str>,
    pub chain: Chain,
    /// Seconds that its clock is ahead.
    pub clock: i64,
    pub address: IpAddr,
    pub claims: Value,
    pub signer: usize,
    pub spoilt: bool,
    pub publish_before: Option<u64>,
    pub given: bool,
    pub patience: Duration,
}

/// Two of RSA, which are published, and one more of each kind.
pub fn keys() -> &'static [PrivateKey] {
    static KEYS: OnceLock<Vec<PrivateKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        [
            Algorithm::RS256,
            Algorithm::RS256,
            Algorithm::EdDSA,
            Algorithm::RS256,
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::ES512,
        ]
        .map(|algorithm| PrivateKey::generate(algorithm).unwrap())
        .into()
    })
}

pub fn jwk(number: usize) -> Value {
    serde_json::from_str(&keys()[number].public().jwk()).unwrap()
}

impl Page {
    fn json(kind: &str) -> Page {
        Page {
            status: 200,
            headers: vec![
                ("content-type", kind.to_owned()),
                ("cache-control", "public, max-age=3600".to_owned()),
            ],
            body: Vec::new(),
            endless: false,
            slow: false,
            refuses_head: false,
        }
    }

    pub fn set(&mut self, name: &'static str, value: &str) {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
    }
}

impl Site {
    pub fn whole() -> Site {
        let now = SystemClock::new().unix();
        Site {
            issuer: ISSUER.into(),
            document: json!({
                "issuer": ISSUER,
                "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
                "authorization_endpoint": format!("{ISSUER}/none"),
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }),
            keys: json!({ "keys": [jwk(0), jwk(1)] }),
            discovery: Page::json("application/json"),
            key_set: Page::json("application/jwk-set+json"),
            moved: None,
            chain: Chain::Whole,
            clock: 0,
            address: PUBLIC.parse().unwrap(),
            claims: json!({
                "iss": ISSUER, "sub": "system:serviceaccount:payments:api", "aud": ["vault"], "iat": now, "nbf": now, "exp": now + 3600, "jti": "1",
                "kubernetes.io": { "namespace": "payments", "serviceaccount": { "name": "api", "uid": "u" } },
            }),
            signer: 0,
            spoilt: false,
            publish_before: None,
            given: false,
            patience: Duration::from_secs(10),
        }
    }

    /// What doctor sees.
    pub async fn facts(self) -> Facts {
        let authority = authority();
        let (tls, plain) = (listener().await, listener().await);
        let ports = (tls.local_addr().unwrap().port(), plain.local_addr().unwrap().port());
        let with_port = |text: &str| text.replace("{port}", &ports.0.to_string());
        let (issuer, mut claims) = (with_port(&self.issuer), self.claims.clone());
        claims["iss"] = with_port(claims["iss"].as_str().unwrap_or_default()).into();
        let mut token = token(self.signer, &claims);
        if self.spoilt {
            let at = token.rfind('.').unwrap() + 1;
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            token.replace_range(at..=at, other);
        }
        let (mut discovery, mut key_set) = (self.discovery.clone(), self.key_set.clone());
        for (page, body) in [(&mut discovery, &self.document), (&mut key_set, &self.keys)] {
            if page.body.is_empty() && *body != Value::Null {
                page.body = with_port(&body.to_string()).into_bytes();
            }
        }
        let date = SystemClock::new().unix() + self.clock;
        for page in [&mut discovery, &mut key_set] {
            page.set("date", &http_date(date));
        }
        let pages = Arc::new(Pages {
            moved: self.moved.is_some(),
            discovery,
            key_set,
            answered: AtomicUsize::new(0),
        });
        let acceptor = TlsAcceptor::from(Arc::new(server_config(self.chain)));
        let (on_tls, on_plain) = (pages.clone(), pages.clone());
        let tls = tokio::spawn(async move {
            loop {
                let (stream, _) = tls.accept().await.unwrap();
                let (acceptor, pages) = (acceptor.clone(), on_tls.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = pages.answer(stream).await;
                    }
                });
            }
        });
        let plain = tokio::spawn(async move {
            loop {
                let (stream, _) = plain.accept().await.unwrap();
                let pages = on_plain.clone();
                tokio::spawn(async move { pages.answer(stream).await });
            }
        });
        let names = Named { address: self.address, ports };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let (system, given) = match self.given {
            true => (Vec::new(), Some(authority.pem.as_bytes())),
            false => (vec![authority.root.clone()], None),
        };
        let outsider = Outsider::with(system, given, Arc::new(names), clock.clone(), self.patience).unwrap();
        let subject = Subject {
            issuer,
            token: Some(UnverifiedToken::parse(&token).unwrap()),
            publish_before: self.publish_before,
        };
        let facts = gather(subject, &outsider, &*clock).await;
        tls.abort();
        plain.abort();
        facts
    }

    pub async fn examined(self) -> Vec<Diagnosis> {
        let facts = self.facts().await;
        all().unwrap().iter().map(|verifier| examine(verifier, &facts)).collect()
    }
}

pub fn token(signer: usize, claims: &Value) -> String {
    let signer = LocalSigner::new(&keys()[signer]).unwrap();
    jws::sign(&signer, claims.to_string().as_bytes()).now_or_never().unwrap().unwrap()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

pub fn http_date(unix: i64) -> String {
    use time::macros::format_description;
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time::OffsetDateTime::from_unix_timestamp(unix).unwrap().format(form).unwrap()
}

/// One host, whose connections come here.
struct Named {
    address: IpAddr,
    ports: (u16, u16),
}

#[async_trait]
impl Names for Named {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<Place>> {
        let address = match host {
            HOST | "plain.example.com" => self.address,
            "inside.example.com" => "10.0.0.7".parse().unwrap(),
            _ => return Err(io::Error::other("no such host")),
        };
        let here = if port == 80 || host != HOST { self.ports.1 } else { self.ports.0 };
        Ok(vec![Place { address, socket: SocketAddr::from(([127, 0, 0, 1], here)) }])
    }
}

struct Pages {
    discovery: Page,
    key_set: Page,
    moved: bool,
    answered: AtomicUsize,
}

impl Pages {
    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let byte = stream.read_u8().await?;
            if head.is_empty() && !byte.is_ascii_alphabetic() {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
                return stream.shutdown().await;
            }
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(!head.to_ascii_lowercase().contains("authorization:"), "credentials were sent");
        self.answered.fetch_add(1, Ordering::SeqCst);
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let missing = Page { status: 404, ..Page::json("text/plain") };
        let page = match path {
            "/.well-known/openid-configuration" => &self.discovery,
            "/moved" if self.moved => &Page { status: 200, ..self.discovery.clone() },
            "/openid/v1/jwks" => &self.key_set,
            _ => &missing,
        };
        let (head_only, mut status) = (method == "HEAD", page.status);
        if head_only && page.refuses_head {
            status = 405;
        }
        let mut answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
        for (name, value) in &page.headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if !page.endless && !page.slow {
            answer.push_str(&format!("content-length: {}\r\n", page.body.len()));
        }
        answer.push_str("\r\n");
        stream.write_all(answer.as_bytes()).await?;
        if !head_only {
            stream.write_all(&page.body).await?;
            if page.endless {
                loop {
                    stream.write_all(&[b' '; 4096]).await?;
                }
            }
            if page.slow {
                std::future::pending::<()>().await;
            }
        }
        stream.flush().await?;
        stream.shutdown().await
    }
}

struct Authority {
    root: CertificateDer<'static>,
    pem: String,
    between: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let ca = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            (params, KeyPair::generate().unwrap())
        };
        let (root, root_key) = ca("root");
        let (between, between_key) = ca("between");
        let root_certificate = root.self_signed(&root_key).unwrap();
        let root = Issuer::new(root, root_key);
        let between_certificate = between.signed_by(&between_key, &root).unwrap();
        Authority {
            root: root_certificate.der().clone(),
            pem: root_certificate.pem(),
            between: between_certificate.der().clone(),
            issuer: Issuer::new(between, between_key),
        }
    })
}

fn server_config(chain: Chain) -> rustls::ServerConfig {
    let authority = authority();
    let name = if chain == Chain::OtherName { "other.example.com" } else { HOST };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    match chain {
        Chain::Expired => {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        Chain::NearItsEnd => params.not_after = SystemClock::new().now() + time::Duration::days(1),
        _ => params.not_after = SystemClock::new().now() + time::Duration::days(90),
    }
    // Authority information access: http://c/i, as certificates of public CAs have it.
    let access = b"\x30\x18\x30\x16\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x0ahttp://c/i";
    params
        .custom_extensions
        .push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access.to_vec()));
    let key = KeyPair::generate().unwrap();
    let leaf = match chain {
        Chain::SelfSigned => params.self_signed(&key),
        _ => params.signed_by(&key, &authority.issuer),
    };
    let leaf = leaf.unwrap().der().clone();
    let shown = match chain {
        Chain::SelfSigned | Chain::WithoutIntermediate => vec![leaf],
        _ => vec![leaf, authority.between.clone()],
    };
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(shown, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap()
}
