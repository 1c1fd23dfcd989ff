//! Google's: workload identity federation with the tokens of issuers of OpenID Connect, and the service accounts behind it.
//!
//! ```text
//! POST /v1/token ─► client ─► body ─► exchange ─► names ─► issuers (or uploaded keys) ─► mapping ─► tokens: a federated access token
//! POST /v1/projects/-/serviceAccounts/EMAIL:generateAccessToken ─► impersonate (bindings) ─► tokens: an account's
//! POST /v1/introspect, /tokeninfo ─► inspect
//! ```
//!
//! Promises: a provider and an account are found by a look-up, however many there are; nothing is kept of what is given out.
//! Where Google has been seen to answer otherwise than its reference says, the reference counts if it is the stricter.

mod body;
mod client;
mod config;
mod exchange;
mod impersonate;
mod inspect;
mod mapping;
mod names;
mod refusal;
#[cfg(test)]
mod tests;
mod tokens;
mod uploaded;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use tokensmith_verify::trust::Untrusted;
use uuid::Uuid;

use crate::answer;
use crate::cloud::{Cloud, Failure, Means, Service};
use crate::form::Form;
use crate::issuers::{Rules, Trusted};
use crate::token::Unverified;
use body::Parameters;
pub(crate) use config::{Config, RawConfig};
use exchange::Exchange;
use impersonate::Generate;
use refusal::Refusal;
use tokens::{Held, Tokens};

/// The service.
pub(crate) struct Gcp {
    means: Means,
    config: Config,
    trusted: Arc<Trusted>,
    tokens: Tokens,
}

const TOKEN: &str = "/v1/token";
const INTROSPECT: &str = "/v1/introspect";
const TOKEN_INFO: &str = "/tokeninfo";
const ACCOUNTS: &str = "/v1/projects/-/serviceAccounts/";

impl Gcp {
    pub(crate) fn new(config: Config, means: Means) -> Self {
        let fetched = config.providers.values().filter(|provider| provider.keys.is_none());
        let issuers = fetched.map(|provider| provider.issuer.clone());
        let leeway = std::time::Duration::from_secs(exchange::LEEWAY.unsigned_abs());
        let trusted = Trusted::new(issuers, Rules { leeway, keys: None }, &means);
        Gcp { tokens: Tokens::new(&means.secret), means, config, trusted }
    }

    fn now(&self) -> i64 {
        self.means.clock.now().unix_timestamp()
    }

    /// The claims of a token whose issuer's keys are fetched.
    async fn fetched(&self, token: &str, unverified: &Unverified) -> Result<Map<String, Value>, Refusal> {
        let verified = self.trusted.verify(token).await;
        verified.map(|signed| signed.claims).map_err(|why| untrusted(&why, unverified))
    }

    async fn answered(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        let (parts, body) = request.into_parts();
        let ok = |value: Value| answer::json(StatusCode::OK, &value);
        match (&parts.method, parts.uri.path()) {
            (&Method::POST, TOKEN) => {
                client::in_header(&parts.headers)?;
                let mut parameters = Parameters::read(&parts.headers, &body)?;
                client::in_body(&mut parameters)?;
                let exchange = Exchange::new(parameters)?;
                self.exchange(exchange).await.map(ok)
            }
            (&Method::POST, INTROSPECT) => {
                let mut parameters = Parameters::read(&parts.headers, &body)?;
                let missing = || Refusal::invalid_request("Invalid value for \"token\".");
                Ok(ok(self.introspect(&parameters.take("token")?.ok_or_else(missing)?)))
            }
            (&Method::GET, TOKEN_INFO) => {
                self.token_info_of(parts.uri.query().unwrap_or_default().as_bytes())
            }
            (&Method::POST, TOKEN_INFO) => self.token_info_of(&body),
            (&Method::POST, path) => {
                let email = account(path).ok_or_else(Refusal::not_found)?;
                let caller = self.caller(&parts.headers)?;
                let generate = Generate::new(&body::object(if body.is_empty() { b"{}" } else { &body })?)?;
                self.generate(&email, &caller, generate).map(ok)
            }
            _ => Err(Refusal::not_found()),
        }
    }

    fn token_info_of(&self, parameters: &[u8]) -> Result<Response<Bytes>, Refusal> {
        let invalid = |why: &str| Refusal::oauth("invalid_token", "Invalid Value").because(why);
        let form = Form::parse(parameters).map_err(|_| invalid("a parameter is there more than once"))?;
        let token = form.get("access_token").ok_or_else(|| invalid("there is no access_token"))?;
        let unknown = "access_token is no service account's of this process, or it is over";
        let info = self.token_info(token).ok_or_else(|| invalid(unknown))?;
        Ok(answer::json(StatusCode::OK, &info))
    }

    /// Who asks, by the one credential that these endpoints take.
    fn caller(&self, headers: &HeaderMap) -> Result<Held, Refusal> {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let header = all.next().ok_or_else(Refusal::unauthenticated)?;
        let text = header.to_str().ok().filter(|_| all.next().is_none());
        let token = text.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let invalid = |why: &str| Refusal::invalid_credentials().because(why);
        let token = token.ok_or_else(|| invalid("the Authorization header is no bearer's"))?;
        let opened = self.tokens.open(token, self.now());
        opened.ok_or_else(|| invalid("the bearer's token is none of this process, or it is over"))
    }
}

#[async_trait]
impl Service for Gcp {
    fn cloud(&self) -> Cloud {
        Cloud::Gcp
    }

    fn owns(&self, path: &str) -> bool {
        [TOKEN, INTROSPECT, TOKEN_INFO].contains(&path) || account(path).is_some()
    }

    async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.answered(request).await.unwrap_or_else(|refusal| refused(&refusal))
    }

    fn failed(&self, failure: Failure, _: Option<Uuid>) -> Response<Bytes> {
        refused(&Refusal::failed(failure))
    }
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    tracing::info!(error = refusal.name(), cause = %refusal, "Google: a request is refused");
    refusal.answer()
}

/// The account of a path of `generateAccessToken`.
fn account(path: &str) -> Option<String> {
    let email = path.strip_prefix(ACCOUNTS)?.strip_suffix(":generateAccessToken")?;
    let email = percent_decode_str(email).decode_utf8().ok()?;
    (!email.is_empty() && !email.contains(['/', ':'])).then(|| email.into_owned())
}

/// What Google says of a token that is not believed.
fn untrusted(why: &Untrusted, unverified: &Unverified) -> Refusal {
    let issued = crate::token::date(&unverified.claims, "iat");
    let refusal = match why {
        Untrusted::Algorithm | Untrusted::Critical | Untrusted::Signature => exchange::wrong_signature(),
        Untrusted::Issuer | Untrusted::Keys { .. } | Untrusted::NoKeyId | Untrusted::UnknownKey => {
            exchange::no_key()
        }
        Untrusted::Malformed(_) | Untrusted::TooLong => exchange::unparsable(),
        Untrusted::NoExpiry | Untrusted::Time(_) => exchange::stale(issued),
    };
    refusal.because(why)
}
