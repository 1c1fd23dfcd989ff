//! Requests to an API server, and what their failures mean.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, WARNING,
};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use url::Url;

use crate::certificate;
use crate::identity::{Identity, Shown, impersonation};
use crate::proxy::Route;
pub use crate::refusal::Refusal;
use crate::target::{Target, Trust};
use crate::transport::{Answer, Ask, Setup, Transport};
use crate::watching::Watching;
use crate::{Error, tls};

/// Longer than a server's own deadline for a request (34 s), so that its answer is the one that is seen.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);
/// What a program is given that is run for credentials: its user may have to log in in a browser, for which common ones wait
/// three minutes. client-go would wait for ever.
const PLUGIN: Duration = Duration::from_secs(300);
/// An answer that is taken piece by piece may take so long as a whole.
pub(crate) const LONGEST: Duration = Duration::from_secs(86_400);
/// No answer that is read here is anywhere near this.
pub(crate) const MAX_ANSWER: usize = 16 << 20;
/// How often a server may ask to wait (client-go's `maxRetries`).
const MAX_RETRIES: usize = 10;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A connection to one server with one identity. Redirects are not followed: credentials go nowhere else.
pub struct Client {
    base: Url,
    trust: Trust,
    server_name: Option<ServerName<'static>>,
    route: Route,
    identity: Identity,
    /// The certificate of the kubeconfig.
    certificate: Option<Arc<certificate::Shown>>,
    impersonation: HeaderMap,
    link: Mutex<Option<Arc<Link>>>,
    limit: Option<Duration>,
    patient: bool,
    clock: SystemClock,
    warned: fn(&str),
}

/// Connections that show one certificate.
struct Link {
    setup: Setup,
    transport: Transport,
    watching: Watching,
    issued: Option<Arc<CertifiedKey>>,
}

/// A document as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The body.
    pub bytes: Vec<u8>,
    /// Its entity tag.
    pub etag: Option<HeaderValue>,
}

/// A request before it is known who asks.
struct Question<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    headers: HeaderMap,
    body: Bytes,
    limit: Duration,
    /// Whether its answer goes on for long.
    watch: bool,
}

impl<'a> Question<'a> {
    fn get(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, JSON)]);
        Question {
            method: Method::GET,
            path,
            query,
            headers,
            body: Bytes::new(),
            limit: TIMEOUT,
            watch: false,
        }
    }

    fn post(path: &'a str, body: &Value) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, JSON), (CONTENT_TYPE, JSON)]);
        Question { method: Method::POST, headers, body: body.to_string().into(), ..Question::get(path, &[]) }
    }
}

impl Client {
    /// A client for a target.
    ///
    /// # Errors
    /// Its certificates or its token cannot be used.
    pub fn new(target: &Target) -> Result<Client, Error> {
        // kubectl sends no credentials over plain HTTP either (client-go, clientcmd/client_config.go).
        let credentials = match target.server.scheme() {
            "https" => target.credentials.clone(),
            _ => crate::Credentials::default(),
        };
        let server_name = target.tls_name()?;
        let certificate = credentials.certificate.clone().map(certificate::Shown::new).transpose()?;
        let client = Client {
            base: target.server.clone(),
            trust: target.trust.clone(),
            server_name,
            route: target.route.clone(),
            identity: Identity::new(&credentials)?,
            certificate: certificate.map(Arc::new),
            impersonation: impersonation(&target.impersonate)?,
            link: Mutex::default(),
            limit: target.request_timeout,
            patient: false,
            clock: SystemClock::new(),
            warned: |text| tracing::warn!(warning = text, "the API server warns"),
        };
        // Whether the server can be trusted at all is told now.
        client.link(None)?;
        Ok(client)
    }

    /// What to do with the server's warnings (`Warning: 299 - "text"`); they are logged otherwise.
    pub fn on_warning(self, warned: fn(&str)) -> Client {
        Client { warned, ..self }
    }

    /// Waits where the server asks for it, as kubectl does: on 429 and failures of the server with `Retry-After`, ten times at
    /// most, and no longer than a request may take. Who has a schedule of their own is told at once instead.
    pub fn patient(self) -> Client {
        Client { patient: true, ..self }
    }

    /// GET.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn get(&self, path: &str) -> Result<Result<Value, Refusal>, Error> {
        self.get_with(path, &[]).await
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
        json(self.execute(&Question::get(path, query)).await?).await
    }

    /// POST of a JSON body.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Result<Value, Refusal>, Error> {
        json(self.execute(&Question::post(path, body)).await?).await
    }

    /// GET of something of which the status counts, whatever it is; and, where it is no success, the beginning of what it says,
    /// of about `longest` bytes.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn probe(&self, path: &str, longest: usize) -> Result<(StatusCode, String), Error> {
        let mut answer = self.execute(&Question::get(path, &[])).await?;
        let (code, mut text) = (answer.status, Vec::new());
        while !code.is_success() && text.len() < longest {
            let Ok(Some(more)) = answer.chunk().await else { break };
            text.extend_from_slice(&more);
        }
        Ok((code, String::from_utf8_lossy(&text).into_owned()))
    }

    /// PUT of a JSON body.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Result<Value, Refusal>, Error> {
        json(self.execute(&Question { method: Method::PUT, ..Question::post(path, body) }).await?).await
    }

    /// DELETE with options in a JSON body.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Result<Value, Refusal>, Error> {
        json(self.execute(&Question { method: Method::DELETE, ..Question::post(path, options) }).await?).await
    }

    /// GET of something that is taken as it is.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn text(&self, path: &str, query: &[(&str, &str)]) -> Result<Result<String, Refusal>, Error> {
        let answer = self.execute(&Question::get(path, query)).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer.refused().await?));
        }
        let text = String::from_utf8(answer.read(MAX_ANSWER).await?);
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
        let mut question = Question::get(path, &[]);
        // Kubernetes has its key set in this form alone, and its discovery document in the other.
        const TYPES: HeaderValue = HeaderValue::from_static("application/json, application/jwk-set+json");
        question.headers.insert(ACCEPT, TYPES);
        question.headers.extend(known.map(|known| (IF_NONE_MATCH, known.clone())));
        let answer = self.execute(&question).await?;
        let etag = answer.headers.get(ETAG).cloned();
        match answer.status {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(Ok(None)),
            StatusCode::OK => Ok(Ok(Some(Document { bytes: answer.read(MAX_ANSWER).await?, etag }))),
            _ => Ok(Err(answer.refused().await?)),
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
        let question = Question { limit: longest, watch: true, ..Question::get(path, query) };
        let answer = self.execute(&question).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer.refused().await?));
        }
        Ok(Ok(split(answer).boxed()))
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
        let question = Question { limit: LONGEST, ..Question::post(path, body) };
        let answer = self.execute(&question).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer.refused().await?));
        }
        Ok(Ok(futures::stream::try_unfold(answer, |mut answer| async {
            let piece = answer.chunk().await?;
            Ok(piece.map(|piece| (piece, answer)))
        })
        .boxed()))
    }

    /// How long an answer may take: what is asked for, unless the user says otherwise.
    fn limit(&self, asked: Duration) -> Duration {
        match self.limit {
            Some(Duration::ZERO) => LONGEST.max(asked),
            Some(limit) => limit,
            None => asked,
        }
    }

    /// Asks, again where the server says when.
    async fn execute(&self, question: &Question<'_>) -> Result<Answer, Error> {
        // A watch goes on for as long as it was asked to.
        let limit = if question.watch { question.limit } else { self.limit(question.limit) };
        let until = self.clock.monotonic().saturating_add(limit);
        let mut tries = 0;
        loop {
            let left = until.saturating_sub(self.clock.monotonic());
            let mut answer = self.authenticated(question, left).await?;
            let wait = wait_of(answer.status, answer.retry_after(), tries).filter(|_| self.patient);
            let left = until.saturating_sub(self.clock.monotonic());
            match wait {
                Some(wait) if wait < left => self.clock.sleep(wait).await,
                wait => {
                    answer.too_long = wait.map(|wait| (wait, limit));
                    return Ok(answer);
                }
            }
            tries += 1;
        }
    }

    /// Asks; once more when what was shown is refused and there is something else by now.
    async fn authenticated(&self, question: &Question<'_>, limit: Duration) -> Result<Answer, Error> {
        let patience = patience(self.limit);
        let shown = self.identity.shown(patience).await?;
        let answer = self.once(question, &shown, limit).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        match self.identity.instead(&shown, patience).await {
            Ok(Some(shown)) => return self.once(question, &shown, limit).await,
            Ok(None) => {}
            // The server's refusal is what it is about (client-go logs this, too).
            Err(cause) => tracing::warn!(%cause, "credentials were refused, and there are no others"),
        }
        if self.certificate.as_ref().is_some_and(|own| own.renewed()) {
            // Connections show what they began with.
            self.unlink();
            return self.once(question, &shown, limit).await;
        }
        Ok(answer)
    }

    async fn once(&self, question: &Question<'_>, shown: &Shown, limit: Duration) -> Result<Answer, Error> {
        let link = self.link(shown.certificate())?;
        let (transport, place) = match question.watch {
            true => {
                let (transport, place) = link.watching.place(|| Transport::new(&link.setup));
                (transport, Some(place))
            }
            false => (link.transport.clone(), None),
        };
        let mut headers = question.headers.clone();
        // As one map, so that what is there several times stays so.
        headers.extend(self.impersonation.clone());
        headers.extend(shown.header().map(|value| (AUTHORIZATION, value.clone())));
        let (method, url, body) = (question.method.clone(), self.url(question), question.body.clone());
        let mut answer = transport.send(&Ask { method, url, headers, body, limit }).await?;
        answer.place = place;
        for value in answer.headers.get_all(WARNING) {
            // Kubernetes' warnings are UTF-8; a terminal must not be told what to do by one.
            let text = String::from_utf8_lossy(value.as_bytes()).replace(char::is_control, "");
            let quoted =
                text.split_once('"').and_then(|(_, t)| t.rsplit_once('"')).map_or(&*text, |(t, _)| t);
            (self.warned)(&quoted.replace("\\\"", "\""));
        }
        Ok(answer)
    }

    fn url(&self, question: &Question<'_>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), question.path));
        url.set_fragment(None);
        url.set_query(None);
        if !question.query.is_empty() {
            url.query_pairs_mut().extend_pairs(question.query);
        }
        url
    }

    /// Connections that show this certificate of a plugin, or the kubeconfig's; new ones where it has changed.
    fn link(&self, issued: Option<&Arc<CertifiedKey>>) -> Result<Arc<Link>, Error> {
        // What it guards is whole at any moment.
        let mut link = self.link.lock().unwrap_or_else(|e| e.into_inner());
        let same = |link: &&Arc<Link>| match (&link.issued, issued) {
            (Some(own), Some(issued)) => Arc::ptr_eq(own, issued) || own.cert == issued.cert,
            (own, issued) => own.is_none() && issued.is_none(),
        };
        if let Some(link) = link.as_ref().filter(same) {
            return Ok(link.clone());
        }
        let shown: Option<Arc<dyn ResolvesClientCert>> = match (issued, &self.certificate) {
            (Some(pair), _) => Some(Arc::new(SingleCertAndKey::from(pair.clone()))),
            (None, Some(own)) => Some(own.clone()),
            (None, None) => None,
        };
        let tls = tls::with_certificate(&self.trust, None, shown)?;
        let setup = Setup { tls, server_name: self.server_name.clone(), route: self.route.clone() };
        let transport = Transport::new(&setup);
        let new = Arc::new(Link { setup, transport, watching: Watching::default(), issued: issued.cloned() });
        *link = Some(new.clone());
        Ok(new)
    }

    fn unlink(&self) {
        *self.link.lock().unwrap_or_else(|e| e.into_inner()) = None;
    }
}

/// For how long a patient client waits before it asks again: where the server is busy and says so, ten times at most.
pub(crate) fn wait_of(status: StatusCode, retry_after: Option<Duration>, tries: usize) -> Option<Duration> {
    let busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    retry_after.filter(|_| busy && tries < MAX_RETRIES)
}

/// Path segments with everything escaped that could end one.
pub fn segment(text: &str) -> String {
    const ENDING: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');
    utf8_percent_encode(text, ENDING).to_string()
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

/// How long a program that is run for credentials may take, of a client whose requests may take so long; `None` is for ever.
fn patience(limit: Option<Duration>) -> Option<Duration> {
    Some(limit.unwrap_or(PLUGIN)).filter(|limit| !limit.is_zero())
}

/// An answer as JSON.
async fn json(answer: Answer) -> Result<Result<Value, Refusal>, Error> {
    let code = answer.status;
    if !code.is_success() {
        return Ok(Err(answer.refused().await?));
    }
    let value = serde_json::from_slice(&answer.read(MAX_ANSWER).await?).ok();
    let what = || Error::failed(format!("the server answered {code}, but with something that is not JSON"));
    value.map(Ok).ok_or_else(what)
}

fn split(answer: Answer) -> impl futures::Stream<Item = Result<Bytes, Error>> + Send + 'static {
    futures::stream::try_unfold(
        (answer, Vec::<u8>::new(), 0),
        |(mut answer, mut kept, mut seen)| async move {
            loop {
                if let Some(end) = kept[seen..].iter().position(|b| *b == b'\n') {
                    let rest = kept.split_off(seen + end + 1);
                    kept.pop();
                    return Ok(Some((Bytes::from(kept), (answer, rest, 0))));
                }
                seen = kept.len();
                match answer.chunk().await? {
                    Some(chunk) if kept.len() + chunk.len() <= MAX_ANSWER => kept.extend_from_slice(&chunk),
                    Some(_) => return Err(Error::failed("the server's answer is far too long")),
                    None => return Ok(None),
                }
            }
        },
    )
}

#[cfg(test)]
mod tests;
