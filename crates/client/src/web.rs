//! Documents from anywhere: an issuer's discovery document and key set.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
};
use http::{Method, StatusCode};
use url::Url;

use crate::Error;
use crate::http::{LONGEST, TIMEOUT};
use crate::proxy::Route;
use crate::target::{Target, Trust};
use crate::tls;
use crate::transport::{Ask, Setup, Transport};

/// Fetches what is public, with no identity of its own, through the environment's proxies. Redirects are not followed: whoever
/// names a URL has to name the right one, and a document must not be had from where its issuer never pointed to.
#[derive(Clone)]
pub struct Web {
    http: Transport,
    limit: Duration,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Vec<u8>,
    /// `Cache-Control`
    pub cache_control: Option<String>,
    /// `ETag`
    pub etag: Option<String>,
    /// `Retry-After`, if it is in seconds.
    pub retry_after: Option<Duration>,
}

impl Web {
    /// A client that trusts what `trust` says, and the certificates in `extra` (PEM) besides.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub fn new(trust: &Trust, extra: Option<&[u8]>) -> Result<Web, Error> {
        Self::by(Route::of_the_process(), None, trust, extra)
    }

    /// The same by another route, and with another time for an answer; zero is for ever.
    ///
    /// # Errors
    /// A certificate cannot be used.
    pub fn by(
        route: Route,
        limit: Option<Duration>,
        trust: &Trust,
        extra: Option<&[u8]>,
    ) -> Result<Web, Error> {
        let setup = Setup { tls: tls::config(trust, extra)?, server_name: None, route };
        let limit = match limit {
            Some(Duration::ZERO) => LONGEST,
            limit => limit.unwrap_or(TIMEOUT),
        };
        Ok(Web { http: Transport::new(&setup), limit })
    }

    /// The way to a target's server, as nobody: its certificates, its name in TLS, its proxy and its time for an answer.
    ///
    /// # Errors
    /// A certificate or a name cannot be used.
    pub fn to(target: &Target) -> Result<Web, Error> {
        let setup = Setup {
            tls: tls::config(&target.trust, None)?,
            server_name: target.tls_name()?,
            route: target.route.clone(),
        };
        let limit = match target.request_timeout {
            Some(Duration::ZERO) => LONGEST,
            limit => limit.unwrap_or(TIMEOUT),
        };
        Ok(Web { http: Transport::new(&setup), limit })
    }

    /// The same, with no more time for an answer than this.
    pub fn within(self, limit: Duration) -> Web {
        Web { limit: self.limit.min(limit), ..self }
    }

    /// The same; an error about who has signed a certificate says that this flag names a CA.
    pub fn ca_by(self, flag: &'static str) -> Web {
        Web { http: self.http.ca_by(flag), ..self }
    }

    /// How long an answer may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// GET, with a bearer token where one is given; 304 is an answer when `etag` names what is known already.
    ///
    /// # Errors
    /// There is no answer, or a body that is far too long.
    pub async fn get(
        &self,
        url: &Url,
        bearer: Option<HeaderValue>,
        etag: Option<&str>,
        longest: usize,
    ) -> Result<Page, Error> {
        const TYPES: HeaderValue = HeaderValue::from_static("application/json, application/jwk-set+json");
        let mut headers = HeaderMap::from_iter([(ACCEPT, TYPES)]);
        headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer)));
        // A tag that no header may hold is nobody's.
        let etag = etag.and_then(|etag| HeaderValue::from_str(etag).ok());
        headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag)));
        let (method, url, body) = (Method::GET, url.clone(), Bytes::new());
        self.ask(Ask { method, url, headers, body, limit: self.limit }, longest).await
    }

    /// POST of a form (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// There is no answer, or a body that is far too long.
    pub async fn post_form(&self, url: &Url, form: Bytes, longest: usize) -> Result<Page, Error> {
        const JSON: HeaderValue = HeaderValue::from_static("application/json");
        const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(ACCEPT, JSON), (CONTENT_TYPE, FORM)]);
        self.post(url, headers, form, longest).await
    }

    /// POST, with headers of one's own. Redirects are not followed here either: what is sent is for who was named.
    ///
    /// # Errors
    /// There is no answer, or a body that is far too long.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        longest: usize,
    ) -> Result<Page, Error> {
        let (method, url) = (Method::POST, url.clone());
        self.ask(Ask { method, url, headers, body, limit: self.limit }, longest).await
    }

    async fn ask(&self, ask: Ask, longest: usize) -> Result<Page, Error> {
        let answer = self.http.send(&ask).await?;
        let header = |name| answer.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok(Page {
            status: answer.status,
            cache_control: header(CACHE_CONTROL),
            etag: header(ETAG),
            retry_after: answer.retry_after(),
            body: answer.read(longest).await?,
        })
    }
}
