//! Requests to an API server, and what their failures mean.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH, WARNING};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde_json::Value;

use super::target::Target;
use super::tls;
use crate::failure::Failure;

/// Longer than a server's own deadline for a request (34 s), so that its answer is the one that is seen.
const TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// No answer that is read here is anywhere near this.
const MAX_ANSWER: usize = 16 << 20;

/// A connection to one server with one identity.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    bearer: Option<HeaderValue>,
}

/// An answer that is no success.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The `Status` message, or the start of the body.
    pub message: String,
}

/// A document as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub bytes: Vec<u8>,
    /// Its entity tag.
    pub etag: Option<HeaderValue>,
}

impl Client {
    /// A client for a target.
    ///
    /// # Errors
    /// Its certificates cannot be used.
    pub fn new(target: &Target) -> Result<Client, Failure> {
        let http = builder(tls::config(&target.trust, None, &target.credentials)?)
            // Credentials go to the server that was named and nowhere else.
            .redirect(redirect::Policy::none());
        let http = http.build().map_err(|e| Failure::failed(format!("cannot set up HTTP: {}", cause(&e))))?;
        // kubectl sends no credentials over plain HTTP either (client-go, clientcmd/client_config.go).
        let token = target.credentials.token.as_ref().filter(|_| target.server.scheme() == "https");
        let bearer = token.map(|t| secret(t)).transpose()?;
        Ok(Client { http, base: target.server.clone(), bearer })
    }

    /// GET.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn get(&self, path: &str) -> Result<Result<Value, Refusal>, Failure> {
        self.send(Method::GET, path, &[], None).await
    }

    /// GET with query parameters.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn get_with(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Result<Value, Refusal>, Failure> {
        self.send(Method::GET, path, query, None).await
    }

    /// POST of a JSON body.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Result<Value, Refusal>, Failure> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// GET of something that is taken as it is.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn text(&self, path: &str, query: &[(&str, &str)]) -> Result<Result<String, Refusal>, Failure> {
        let request = self.request(Method::GET, path).query(query);
        let response = request.send().await.map_err(|e| unreachable(&self.base, &e))?;
        print_warnings(&response);
        let code = response.status();
        let bytes = read(response).await?;
        if !code.is_success() {
            return Ok(Err(refusal(code, &bytes)));
        }
        let text = String::from_utf8(bytes);
        text.map(Ok).map_err(|_| Failure::failed("the server answered with something that is no text"))
    }

    /// GET of a document, byte for byte; `None` when it still is the one with the entity tag `known`.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn document(
        &self,
        path: &str,
        known: Option<&HeaderValue>,
    ) -> Result<Result<Option<Document>, Refusal>, Failure> {
        let mut request = self.request(Method::GET, path);
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known.clone());
        }
        let response = request.send().await.map_err(|e| unreachable(&self.base, &e))?;
        let (code, etag) = (response.status(), response.headers().get(ETAG).cloned());
        if code == StatusCode::NOT_MODIFIED && known.is_some() {
            return Ok(Ok(None));
        }
        let bytes = read(response).await?;
        Ok(match code {
            StatusCode::OK => Ok(Some(Document { bytes, etag })),
            code => Err(refusal(code, &bytes)),
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let request = self.http.request(method, url).header(ACCEPT, "application/json");
        match &self.bearer {
            Some(bearer) => request.header(AUTHORIZATION, bearer.clone()),
            None => request,
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Result<Value, Refusal>, Failure> {
        let mut request = self.request(method, path).query(query);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| unreachable(&self.base, &e))?;
        print_warnings(&response);
        answer(response).await
    }
}

/// Path segments with everything escaped that could end one.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A client's common settings.
pub fn builder(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("tokensmith/", env!("CARGO_PKG_VERSION")))
}

/// A bearer header that no log shows.
///
/// # Errors
/// The token holds characters that no header may hold.
pub fn secret(token: &str) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value =
        value.map_err(|_| Failure::failed("the bearer token holds characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads an answer as JSON.
///
/// # Errors
/// It breaks off, is too long, or is a success that is no JSON.
pub async fn answer(response: Response) -> Result<Result<Value, Refusal>, Failure> {
    let code = response.status();
    let body = read(response).await?;
    if code.is_success() {
        let value = serde_json::from_slice(&body).ok();
        let what =
            || Failure::failed(format!("the server answered {code}, but with something that is not JSON"));
        return value.map(Ok).ok_or_else(what);
    }
    Ok(Err(refusal(code, &body)))
}

async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let broken = |e: &reqwest::Error| Failure::failed(format!("the server's answer broke off: {}", cause(e)));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| broken(&e))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Failure::failed("the server's answer is far too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn refusal(code: StatusCode, body: &[u8]) -> Refusal {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let told =
        value.as_ref().and_then(|v| v.get("message")).and_then(Value::as_str).filter(|m| !m.is_empty());
    let message = match told {
        Some(message) => message.to_owned(),
        None => format!("the server answered {code}"),
    };
    Refusal { code: code.as_u16(), message }
}

/// Why there was no answer at all, with what to do about the usual causes.
pub fn unreachable(url: &Url, error: &reqwest::Error) -> Failure {
    let cause = cause(error);
    let host = url.origin().ascii_serialization();
    let hint = if cause.contains("UnknownIssuer") || cause.contains("BadSignature") {
        ": its certificate is not signed by a CA that is trusted here; give --certificate-authority, or the kubeconfig of this server"
    } else if cause.contains("NotValidForName") {
        ": its certificate is for other names; `tokensmith serve --tls-san NAME` adds one"
    } else if cause.contains("refused") {
        "; is `tokensmith serve` running there?"
    } else {
        ""
    };
    Failure::failed(format!("cannot reach {host}: {cause}{hint}"))
}

/// The innermost cause, which is the one that says something, without the URL.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut source: &dyn std::error::Error = error;
    while let Some(next) = source.source() {
        source = next;
    }
    let text = source.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// `Warning: 299 - "text"` as kubectl prints it.
fn print_warnings(response: &Response) {
    for value in response.headers().get_all(WARNING) {
        let text = value.to_str().unwrap_or_default();
        let quoted = text.split_once('"').and_then(|(_, t)| t.rsplit_once('"')).map_or(text, |(t, _)| t);
        eprintln!("Warning: {}", quoted.replace("\\\"", "\""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("api"), "api");
        assert_eq!(segment("system:node:a"), "system:node:a");
        assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
    }
}
