//! Connections of HTTP/2, with the windows of Kubernetes' clients; what is read is counted and dropped.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokensmith_tests::Server;
use tokensmith_tests::server::ADMIN;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// So many streams of one connection: what every server takes (RFC 9113, 6.5.2).
pub const STREAMS: usize = 100;
/// `transportDefaultStreamFlow` and `transportDefaultConnFlow` of golang.org/x/net/http2.
const STREAM: u32 = 4 << 20;
const CONNECTION: u32 = 1 << 30;

pub const ANY: &str = "*/*";
pub const JSON: &str = "application/json";
pub const MERGE: &str = "application/merge-patch+json";
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// One connection. Clones share it.
#[derive(Clone)]
pub struct Wire {
    send: SendRequest<Full<Bytes>>,
    url: Arc<str>,
}

impl Wire {
    /// Opens it.
    pub async fn open(server: &Server) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(&server.ca()?) {
            roots.add(cert.context("the CA is no certificate")?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let address = server.url().strip_prefix("https://").context("no TLS")?;
        let host = address.rsplit_once(':').context("no port")?.0.to_owned();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from(host)?, stream).await?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(STREAM).initial_connection_window_size(CONNECTION);
        let (send, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Wire { send, url: server.url().into() })
    }

    /// An answer's body that begins; it must be a success.
    async fn begin(&self, method: &str, path: &str, media: &str, body: Option<Bytes>) -> Result<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {ADMIN}"));
        let request = match &body {
            Some(_) => request.header("content-type", media),
            None => request.header("accept", media),
        };
        let request = request.body(Full::new(body.unwrap_or_default()))?;
        let answer = self.send.clone().send_request(request).await.with_context(|| path.to_owned())?;
        let (head, body) = Response::into_parts(answer);
        if head.status.is_success() {
            return Ok(body);
        }
        let said = body.collect().await?.to_bytes();
        anyhow::bail!("{method} {path}: {}: {}", head.status, String::from_utf8_lossy(&said));
    }

    /// A GET, of which the bytes are counted.
    pub async fn count(&self, path: &str, accept: &str) -> Result<usize> {
        let (mut body, mut bytes) = (self.begin("GET", path, accept, None).await?, 0);
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(bytes)
    }

    /// A GET, whole.
    pub async fn get(&self, path: &str, accept: &str) -> Result<Bytes> {
        Ok(self.begin("GET", path, accept, None).await?.collect().await?.to_bytes())
    }

    /// A write; the answer.
    pub async fn write(&self, method: &str, path: &str, media: &str, body: Bytes) -> Result<Bytes> {
        Ok(self.begin(method, path, media, Some(body)).await?.collect().await?.to_bytes())
    }

    /// A watch of a collection after a revision.
    pub async fn watch(&self, collection: &str, after: u64, more: &str) -> Result<Watch> {
        let path = format!("{collection}?watch=1&resourceVersion={after}{more}");
        Ok(Watch { body: self.begin("GET", &path, JSON, None).await?, rest: Vec::new() })
    }
}

/// So many connections.
pub async fn wires(server: &Server, count: usize) -> Result<Vec<Wire>> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(Wire::open(server).await?);
    }
    Ok(all)
}

/// Events, a line each.
pub struct Watch {
    body: Incoming,
    /// The beginning of a line that is not whole.
    rest: Vec<u8>,
}

impl Watch {
    /// The lines that come next; false when there are no more.
    pub async fn lines(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let Some(frame) = self.body.frame().await else {
            ensure!(self.rest.is_empty(), "it ends within a line");
            return Ok(false);
        };
        let Ok(data) = frame?.into_data() else { return Ok(true) };
        if self.rest.is_empty() && data.last() == Some(&b'\n') {
            data[..data.len() - 1].split(|byte| *byte == b'\n').try_for_each(each)?;
            return Ok(true);
        }
        self.rest.extend_from_slice(&data);
        if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
            self.rest[..end].split(|byte| *byte == b'\n').try_for_each(&mut each)?;
            self.rest.drain(..=end);
        }
        Ok(true)
    }
}

/// The text behind `name":"`, up to the next quote.
pub fn text<'a>(json: &'a [u8], name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\":\"");
    let at = json.windows(key.len()).position(|window| window == key.as_bytes())? + key.len();
    let end = json[at..].iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&json[at..at + end]).ok()
}

/// The first `resourceVersion` of an answer.
pub fn revision(json: &[u8]) -> Result<u64> {
    Ok(text(json, "resourceVersion").context("no resourceVersion")?.parse()?)
}
