//! Requests to an API server, and what their failures mean.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, RETRY_AFTER, WARNING,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde_json::Value;

use crate::Error;
use crate::bearer::BearerHeader;
use crate::target::Target;
use crate::tls;
use crate::unreachable::{cause, unreachable};
use crate::watching::{Place, Watching};

/// Longer than a server's own deadline for a request (34 s), so that its answer is the one that is seen.
const TIMEOUT: Duration = Duration::from_secs(40);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that is taken piece by piece may take so long as a whole.
const LONGEST: Duration = Duration::from_secs(86_400);
/// No answer that is read here is anywhere near this.
const MAX_ANSWER: usize = 16 << 20;

/// A watch holds its connection while nothing happens; a peer that is gone without a word is noticed by this.
const PING: Duration = Duration::from_secs(30);

/// A connection to one server with one identity.
pub struct Client {
    http: reqwest::Client,
    tls: rustls::ClientConfig,
    watching: Watching,
    base: Url,
    bearer: Option<BearerHeader>,
    warned: fn(&str),
}

/// An answer that is no success.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// The `Status` reason, e.g. `NotFound`; may be empty.
    pub reason: String,
    /// The resource that it is about (`details.kind`), e.g. `secrets`; empty for a path that is not served.
    pub about: String,
    /// The `Status` message, or the start of the body.
    pub message: String,
    /// `Retry-After`, if it is in seconds.
    pub retry_after: Option<Duration>,
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
    pub fn new(target: &Target) -> Result<Client, Error> {
        let tls = tls::config(&target.trust, None, &target.credentials)?;
        let http = connection(&tls)?;
        // kubectl sends no credentials over plain HTTP either (client-go, clientcmd/client_config.go).
        let token = target.credentials.token.clone().filter(|_| target.server.scheme() == "https");
        let bearer = token.map(BearerHeader::new);
        // A token that cannot be sent is told now.
        bearer.as_ref().map(BearerHeader::value).transpose()?;
        let warned = |text: &str| tracing::warn!(warning = text, "the API server warns");
        Ok(Client { http, tls, watching: Watching::default(), base: target.server.clone(), bearer, warned })
    }

    /// What to do with the server's warnings (`Warning: 299 - "text"`); they are logged otherwise.
    pub fn on_warning(self, warned: fn(&str)) -> Client {
        Client { warned, ..self }
    }

    /// GET.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn get(&self, path: &str) -> Result<Result<Value, Refusal>, Error> {
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
    ) -> Result<Result<Value, Refusal>, Error> {
        self.send(Method::GET, path, query, None).await
    }

    /// POST of a JSON body.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Result<Value, Refusal>, Error> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// PUT of a JSON body.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Result<Value, Refusal>, Error> {
        self.send(Method::PUT, path, &[], Some(body)).await
    }

    /// DELETE with options in a JSON body.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Result<Value, Refusal>, Error> {
        self.send(Method::DELETE, path, &[], Some(options)).await
    }

    /// GET of something that is taken as it is.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn text(&self, path: &str, query: &[(&str, &str)]) -> Result<Result<String, Refusal>, Error> {
        let response = self.execute(|| self.request(Method::GET, path).query(query)).await?;
        if !response.status().is_success() {
            return Ok(Err(refused(response).await?));
        }
        let text = String::from_utf8(read(response, MAX_ANSWER).await?);
        text.map(Ok).map_err(|_| Error::failed("the server answered with something that is no text"))
    }

    /// GET of a document, byte for byte; `None` when it still is the one with the entity tag `known`.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn document(
        &self,
        path: &str,
        known: Option<&HeaderValue>,
    ) -> Result<Result<Option<Document>, Refusal>, Error> {
        // Kubernetes has its key set in this form alone, and its discovery document in the other.
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
        headers.extend(known.map(|known| (IF_NONE_MATCH, known.clone())));
        let response = self.execute(|| self.request(Method::GET, path).headers(headers.clone())).await?;
        let (code, etag) = (response.status(), response.headers().get(ETAG).cloned());
        match code {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(Ok(None)),
            StatusCode::OK => Ok(Ok(Some(Document { bytes: read(response, MAX_ANSWER).await?, etag }))),
            _ => Ok(Err(refused(response).await?)),
        }
    }

    /// GET of an answer that goes on for up to `longest`, line by line, as a watch does.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn lines(
        &self,
        path: &str,
        query: &[(&str, &str)],
        longest: Duration,
    ) -> Result<Result<BoxStream<'static, Result<Bytes, Error>>, Refusal>, Error> {
        let (http, place) = self.watching.place(|| connection(&self.tls))?;
        let build = || self.request_on(&http, Method::GET, path).query(query).timeout(longest);
        let response = self.execute(build).await?;
        if !response.status().is_success() {
            return Ok(Err(refused(response).await?));
        }
        Ok(Ok(split(response, place).boxed()))
    }

    /// POST whose answer is taken piece by piece, however long it goes on: who takes them bounds how long one may be waited for.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses. A piece may be the error that the answer has broken off.
    pub async fn pieces(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<Result<BoxStream<'static, Result<Bytes, Error>>, Refusal>, Error> {
        let build = || self.request(Method::POST, path).json(body).timeout(LONGEST);
        let response = self.execute(build).await?;
        if !response.status().is_success() {
            return Ok(Err(refused(response).await?));
        }
        Ok(Ok(futures::stream::try_unfold(response, |mut response| async {
            let piece = response.chunk().await.map_err(|e| broken(&e))?;
            Ok(piece.map(|piece| (piece, response)))
        })
        .boxed()))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_on(&self.http, method, path)
    }

    fn request_on(&self, http: &reqwest::Client, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        http.request(method, url).header(ACCEPT, "application/json")
    }

    /// Sends what `build` makes; once more when the token was refused and its file holds another by now.
    async fn execute(&self, build: impl Fn() -> RequestBuilder) -> Result<Response, Error> {
        let bearer = self.bearer.as_ref().map(BearerHeader::value).transpose()?.flatten();
        let response = self.once(build(), bearer.as_ref()).await?;
        let refused = response.status() == StatusCode::UNAUTHORIZED;
        match self.bearer.as_ref().filter(|own| refused && own.renewed(bearer.as_ref())) {
            Some(own) => self.once(build(), own.value()?.as_ref()).await,
            None => Ok(response),
        }
    }

    async fn once(&self, request: RequestBuilder, bearer: Option<&HeaderValue>) -> Result<Response, Error> {
        let request = match bearer {
            Some(bearer) => request.header(AUTHORIZATION, bearer.clone()),
            None => request,
        };
        let response = request.send().await.map_err(|e| unreachable(&self.base, &e))?;
        for value in response.headers().get_all(WARNING) {
            // Kubernetes' warnings are UTF-8; a terminal must not be told what to do by one.
            let text = String::from_utf8_lossy(value.as_bytes()).replace(char::is_control, "");
            let quoted =
                text.split_once('"').and_then(|(_, t)| t.rsplit_once('"')).map_or(&*text, |(t, _)| t);
            (self.warned)(&quoted.replace("\\\"", "\""));
        }
        Ok(response)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Result<Value, Refusal>, Error> {
        let response = self
            .execute(|| {
                let request = self.request(method.clone(), path).query(query);
                match body {
                    Some(body) => request.json(body),
                    None => request,
                }
            })
            .await?;
        answer(response).await
    }
}

/// Path segments with everything escaped that could end one.
pub fn segment(text: &str) -> String {
    const ENDING: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');
    utf8_percent_encode(text, ENDING).to_string()
}

/// A client's common settings.
pub fn builder(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("tokensmith/", env!("CARGO_PKG_VERSION")))
}

/// A client for a server that credentials are for. They go nowhere else: redirects are not followed.
fn connection(tls: &rustls::ClientConfig) -> Result<reqwest::Client, Error> {
    let http = builder(tls.clone())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_while_idle(true)
        .redirect(redirect::Policy::none());
    http.build().map_err(|e| Error::failed(format!("cannot set up HTTP: {}", cause(&e))))
}

/// A bearer header that no log shows.
///
/// # Errors
/// The token holds characters that no header may hold.
pub fn secret(token: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value =
        value.map_err(|_| Error::failed("the bearer token holds characters that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An answer as JSON.
async fn answer(response: Response) -> Result<Result<Value, Refusal>, Error> {
    let code = response.status();
    if !code.is_success() {
        return Ok(Err(refused(response).await?));
    }
    let value = serde_json::from_slice(&read(response, MAX_ANSWER).await?).ok();
    let what = || Error::failed(format!("the server answered {code}, but with something that is not JSON"));
    value.map(Ok).ok_or_else(what)
}

/// Reads a body of at most `longest` bytes.
pub(crate) async fn read(mut response: Response, longest: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| broken(&e))? {
        if body.len() + chunk.len() > longest {
            return Err(Error::failed("the server's answer is far too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `place` is held as long as the answer goes on.
fn split(
    response: Response,
    place: Place,
) -> impl futures::Stream<Item = Result<Bytes, Error>> + Send + 'static {
    futures::stream::try_unfold(
        (response, Vec::<u8>::new(), 0, place),
        |(mut response, mut kept, mut seen, place)| async move {
            loop {
                if let Some(end) = kept[seen..].iter().position(|b| *b == b'\n') {
                    let rest = kept.split_off(seen + end + 1);
                    kept.pop();
                    return Ok(Some((Bytes::from(kept), (response, rest, 0, place))));
                }
                seen = kept.len();
                match response.chunk().await.map_err(|e| broken(&e))? {
                    Some(chunk) if kept.len() + chunk.len() <= MAX_ANSWER => kept.extend_from_slice(&chunk),
                    Some(_) => return Err(Error::failed("the server's answer is far too long")),
                    None => return Ok(None),
                }
            }
        },
    )
}

fn broken(error: &reqwest::Error) -> Error {
    Error::failed(format!("the server's answer broke off: {}", cause(error)))
}

async fn refused(response: Response) -> Result<Refusal, Error> {
    let code = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let retry_after = retry_after.map(Duration::from_secs);
    Ok(Refusal { retry_after, ..Refusal::of(code, &read(response, MAX_ANSWER).await?) })
}

impl Refusal {
    /// What a body says that came with the code of a failure.
    pub fn of(code: u16, body: &[u8]) -> Refusal {
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let field = |name| {
            value.as_ref().and_then(|v| v.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        Refusal {
            code,
            reason: field("reason").unwrap_or_default().to_owned(),
            about: text(value.as_ref(), "/details/kind"),
            message: field("message").map_or_else(|| format!("the server answered {code}"), str::to_owned),
            retry_after: None,
        }
    }
}

fn text(value: Option<&Value>, pointer: &str) -> String {
    value.and_then(|value| value.pointer(pointer)?.as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::target::{Credentials, Trust};

    /// A client of a server that says these things, one to each request.
    async fn server(answers: &'static [&'static str]) -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let target = Target {
            server: Url::parse(&url).unwrap(),
            trust: Trust::System,
            credentials: Credentials::default(),
            user: String::new(),
            namespace: "default".into(),
        };
        Client::new(&target).unwrap()
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("api"), "api");
        assert_eq!(segment("system:node:a"), "system:node:a");
        assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
        assert_eq!(segment("-._~: ä%2f+"), "-._~:%20%C3%A4%252f%2B");
    }

    #[tokio::test]
    async fn a_refusal_tells_all() {
        let client = server(&[
            "HTTP/1.1 429 x\r\nretry-after: 7\r\nconnection: close\r\n\r\n{\"reason\":\"TooManyRequests\",\"message\":\"wait\"}",
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\nconnection: close\r\n\r\n???",
        ])
        .await;
        let refusal = client.get("/").await.unwrap().unwrap_err();
        assert_eq!((refusal.code, refusal.reason.as_str()), (429, "TooManyRequests"));
        assert_eq!((refusal.message.as_str(), refusal.retry_after), ("wait", Some(Duration::from_secs(7))));
        let refusal = client.get("/").await.unwrap().unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), (502, "the server answered 502"));
    }

    #[tokio::test]
    async fn lines_are_whole() {
        let client = server(&[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n6\r\n\ntwo\nt\r\n5\r\nhree\n\r\n0\r\n\r\n",
        ])
        .await;
        let lines = client.lines("/", &[], Duration::from_secs(10)).await.unwrap().unwrap();
        let lines: Vec<Bytes> = lines.map(Result::unwrap).collect().await;
        assert_eq!(lines, ["one", "two", "three"]);
    }
}
