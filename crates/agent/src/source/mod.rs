//! Where tokens come from: a file that someone keeps fresh, an API server that is asked, or a token endpoint that exchanges
//! another source's.
//!
//! ```text
//! token("a") ─► in memory and good? ─yes─► it, without a lock
//!                    └no─► file: look again · API: wait for the keeper, which has `refresh` ask
//! ```
//!
//! Promises: one request at a time per audience, a bounded number of audiences, and a token that is good is served
//! for as long as it is, whatever happens to the place that it came from.

mod api;
mod error;
mod file;
mod keeper;
mod keys;
mod layer;
mod origin;
mod slot;
mod subject;
mod token;

use std::path::PathBuf;
use std::sync::Arc;

use time::OffsetDateTime;
use tokensmith_core::Clock;

use crate::api::ApiServer;
use crate::exchange::{ExchangeSpec, Exchanger};

pub use api::TokenRequestTemplate;
pub use error::TokenError;
pub use layer::{Bearer, BearerLayer, BoxError};
pub use token::BearerToken;
pub(crate) use token::expiry;

use origin::{ExchangeOrigin, Origin};

/// A source of tokens; a clone is the same source. It must be used inside a tokio runtime.
///
/// A service needs no sidecar: it asks the source, or puts [`BearerLayer`] around its client.
///
/// ```no_run
/// use std::sync::Arc;
/// use tokensmith_agent::source::{BearerLayer, TokenSource};
/// use tokensmith_core::clock::SystemClock;
/// use tower::{Layer, ServiceExt};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let source = TokenSource::file("/var/run/secrets/tokens/token", Arc::new(SystemClock::new()));
///
/// // By hand …
/// let token = source.token(None).await?;
/// let request = http::Request::get("http://orders.example.com/v1/orders")
///     .header(http::header::AUTHORIZATION, token.header().clone());
/// # drop(request);
///
/// // … or around any tower client of HTTP, such as hyper's.
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// let client = Client::builder(TokioExecutor::new()).build_http::<String>();
/// let client = BearerLayer::new(source).layer(client);
/// let answer = client.oneshot(http::Request::get("http://orders.example.com/").body(String::new())?).await?;
/// # drop(answer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenSource(Arc<Kind>);

enum Kind {
    Api(api::ApiSource),
    File(Arc<file::FileSource>),
}

/// How it stands with one token, for metrics and health.
#[derive(Clone, Debug)]
pub struct TokenStatus {
    /// The audience that was asked for; `None` for the default.
    pub audience: Option<String>,
    /// When the token ends, if it says so.
    pub expires_at: Option<OffsetDateTime>,
    /// Whether there is a token that is good.
    pub usable: bool,
    /// Tokens that came.
    pub refreshes: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Why the last try failed; `None` when it did not.
    pub trouble: Option<TokenError>,
}

impl TokenSource {
    /// The token in a file, as the kubelet or `tokensmith project` keep it.
    ///
    /// The file is looked at no more than once a second, when a token is asked for, and read when it was replaced
    /// (another inode behind the path and its links, another time or size) or 30 s have passed. A file that vanishes or
    /// turns bad changes nothing while the token read last is good. The end of a token (`exp`) is read from it without
    /// being trusted: who receives the token verifies it.
    pub fn file(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        TokenSource(Arc::new(Kind::File(Arc::new(file::FileSource::new(path.into(), clock)))))
    }

    /// Tokens of a service account from an API server, one per audience, for up to 16 audiences.
    ///
    /// The first use of an audience waits for its token (30 s at most). From then on a task replaces it at 80 % of its
    /// lifetime, until nobody has asked for it for an hour.
    pub fn api(api: Arc<dyn ApiServer>, template: TokenRequestTemplate, clock: Arc<dyn Clock>) -> Self {
        Self::api_bounded(api, template, clock, api::AUDIENCES)
    }

    /// As [`api`](Self::api), with another bound on the number of audiences.
    pub fn api_bounded(
        api: Arc<dyn ApiServer>,
        template: TokenRequestTemplate,
        clock: Arc<dyn Clock>,
        audiences: usize,
    ) -> Self {
        let origin = Origin::Api { api, template };
        TokenSource(Arc::new(Kind::Api(api::ApiSource::new(origin, clock, audiences))))
    }

    /// Tokens that those of another source are exchanged for (RFC 8693), one per audience, for so many audiences. The default
    /// one is for what `spec` names, the others each for its audience alone.
    ///
    /// They are kept fresh as those of an API server are; each counts for no longer than the token that it was given for, and
    /// is replaced within seconds when there is another one to give.
    pub fn exchanged(
        subject: TokenSource,
        subject_audience: Option<String>,
        exchanger: Exchanger,
        spec: ExchangeSpec,
        clock: Arc<dyn Clock>,
        audiences: usize,
    ) -> Self {
        let origin = Origin::Exchange(ExchangeOrigin::new(exchanger, subject, subject_audience, spec));
        TokenSource(Arc::new(Kind::Api(api::ApiSource::new(origin, clock, audiences))))
    }

    /// The token for an audience; `None` and the empty string stand for the default (of a file: whatever is in it; of
    /// an API server: its own).
    ///
    /// # Errors
    /// There is no good token and none can be had, or none for this audience.
    pub async fn token(&self, audience: Option<&str>) -> Result<Arc<BearerToken>, TokenError> {
        let audience = audience.unwrap_or_default();
        match &*self.0 {
            Kind::Api(api) => api.token(audience).await,
            Kind::File(file) => file.token(audience).await,
        }
    }

    /// The token for an audience if it is at hand: no waiting, no looking at a file.
    pub fn cached(&self, audience: Option<&str>) -> Option<Arc<BearerToken>> {
        let audience = audience.unwrap_or_default();
        match &*self.0 {
            Kind::Api(api) => api.cached(audience),
            Kind::File(file) => file.cached(audience),
        }
    }

    /// Tells that a receiver has refused a token (401): it may have been revoked. If it is the current one, a new one
    /// is sought, no more than once in 30 s; meanwhile the old one is served, for who refused it may be wrong.
    pub fn rejected(&self, audience: Option<&str>, token: &Arc<BearerToken>) {
        let audience = audience.unwrap_or_default();
        match &*self.0 {
            Kind::Api(api) => api.rejected(audience, token),
            Kind::File(file) => file.rejected(token),
        }
    }

    /// Whether its tokens are those that another source's are exchanged for.
    pub(crate) fn is_exchanged(&self) -> bool {
        matches!(&*self.0, Kind::Api(api) if matches!(api.origin(), Origin::Exchange(_)))
    }

    /// How it stands with each token, by audience.
    pub fn status(&self) -> Vec<TokenStatus> {
        match &*self.0 {
            Kind::Api(api) => api.status(),
            Kind::File(file) => vec![file.status()],
        }
    }

    /// Whether there is a good token in the file, or for all audiences that had one; why not. An audience that
    /// never had one was perhaps never right, and one that nobody has asked for yet is not missed.
    ///
    /// # Errors
    /// There is none, and no other is to be had.
    pub async fn healthy(&self) -> Result<(), TokenError> {
        match &*self.0 {
            Kind::File(file) => return file.token("").await.map(drop),
            Kind::Api(api) => {
                if let Origin::Exchange(exchange) = api.origin() {
                    // Boxed: a source may stand on another one.
                    Box::pin(exchange.subject_healthy()).await?;
                }
            }
        }
        let ill = self.status().into_iter().find(|token| !token.usable && token.refreshes > 0);
        match ill {
            Some(token) => Err(token.trouble.unwrap_or_else(|| TokenError::expired(token.expires_at))),
            None => Ok(()),
        }
    }
}
