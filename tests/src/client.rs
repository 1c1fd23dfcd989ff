//! A client for tests: one method for one exchange.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Speaks to one server, trusting one CA.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    tls: Arc<rustls::ClientConfig>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Of a stream of lines: so many of those `without` a text.
#[derive(Clone, Copy)]
pub struct Lines<'a> {
    /// How many are read.
    pub wanted: usize,
    /// What is in lines that are passed over.
    pub without: Option<&'a str>,
}

impl Client {
    /// A client for `url` that trusts the PEM certificates in `ca`. It speaks HTTP/1.1.
    pub fn new(url: &str, ca: &[u8]) -> Result<Self> {
        Self::with(url, ca, &[])
    }

    /// One that speaks HTTP/2: its library takes no more than a hundred headers over HTTP/1.1.
    pub fn http2(url: &str, ca: &[u8]) -> Result<Self> {
        Self::with(url, ca, &[b"h2"])
    }

    fn with(url: &str, ca: &[u8], protocols: &[&[u8]]) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(ca) {
            roots.add(cert.context("the CA is no certificate")?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let plain = Arc::new(tls.clone());
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(Duration::from_secs(60))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Client { http, url: url.to_owned(), tls: plain })
    }

    /// One exchange. `token` is the bearer token, `None` for an anonymous request.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer> {
        self.send_lines(method, path, token, headers, body, None).await
    }

    /// One exchange. Of a success no more than some `lines` are read, if any are asked for: a watch does not end.
    pub async fn send_lines(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
        lines: Option<Lines<'_>>,
    ) -> Result<Answer> {
        let method = Method::from_bytes(method.as_bytes())?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes())?, latin1(value)?);
        }
        if path.contains("%2e") {
            return self.send_as_it_is(method, path, token, map, body).await;
        }
        let mut request = self.http.request(method, format!("{}{path}", self.url)).headers(map);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let mut response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = match lines.filter(|_| response.status().is_success()) {
            None => unpacked(&headers, response.bytes().await?)?,
            Some(wanted) => first_lines(&mut response, wanted).await?,
        };
        Ok(Answer { status, headers, body })
    }

    /// The same with a target that a library of URLs would resolve (`%2e%2e`), over HTTP/1.1 on a connection of its own.
    async fn send_as_it_is(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer> {
        let address = self.url.strip_prefix("https://").context("no TLS")?;
        let host = address.rsplit_once(':').context("no port")?.0.to_owned();
        let stream = TcpStream::connect(address).await?;
        let stream =
            TlsConnector::from(self.tls.clone()).connect(ServerName::try_from(host)?, stream).await?;
        let (mut send, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", address);
        request.headers_mut().context("no request")?.extend(headers);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = send.send_request(request.body(Full::new(body.unwrap_or_default()))?).await?;
        let (head, body) = answer.into_parts();
        let body = unpacked(&head.headers, body.collect().await?.to_bytes())?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// A GET that must succeed; gives the JSON body.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Result<Value> {
        self.send("GET", path, token, &[], None).await?.success()
    }

    /// A POST of JSON that must succeed; gives the JSON body.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Value> {
        self.post_any(path, token, body).await?.success()
    }

    /// A POST of JSON, whatever comes back.
    pub async fn post_any(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Answer> {
        let bytes = Bytes::from(serde_json::to_vec(body)?);
        self.send("POST", path, token, &[("content-type", "application/json")], Some(bytes)).await
    }

    /// A DELETE that must succeed.
    pub async fn delete(&self, path: &str, token: Option<&str>) -> Result<Value> {
        self.send("DELETE", path, token, &[], None).await?.success()
    }
}

/// A character is a byte, so that headers can be sent which are not ASCII.
fn latin1(text: &str) -> Result<HeaderValue> {
    let bytes = text
        .chars()
        .map(|c| u8::try_from(c).context("no header can hold this"))
        .collect::<Result<Vec<_>>>()?;
    Ok(HeaderValue::from_bytes(&bytes)?)
}

fn unpacked(headers: &HeaderMap, body: Bytes) -> Result<Bytes> {
    let packed = headers.get(CONTENT_ENCODING).is_some_and(|v| v == "gzip");
    if !packed || body.is_empty() {
        return Ok(body);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain)?;
    Ok(plain.into())
}

async fn first_lines(response: &mut reqwest::Response, lines: Lines<'_>) -> Result<Bytes> {
    let (mut body, mut rest, mut found) = (Vec::new(), Vec::new(), 0);
    while let Some(chunk) = response.chunk().await? {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if lines.without.is_some_and(|text| String::from_utf8_lossy(&line).contains(text)) {
                continue;
            }
            body.extend(line);
            found += 1;
            if found >= lines.wanted {
                return Ok(body.into());
            }
        }
    }
    body.extend(rest);
    Ok(body.into())
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }

    /// A header as text, `""` when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// The JSON body, if the status is a success.
    pub fn success(&self) -> Result<Value> {
        ensure!(self.status < 300, "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        self.json()
    }
}
