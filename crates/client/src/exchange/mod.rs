//! Token exchange, from the client's side (RFC 8693): one token is shown to a token endpoint, another one comes back.
//!
//! Promises: a token goes to the endpoint that was named and nowhere else (redirects are not followed), over TLS or to this
//! machine alone; an answer is bounded and checked before anybody uses it; no error and no `Debug` shows a token, whatever the
//! endpoint puts into its answer.

mod answer;
mod error;
mod metadata;
mod request;

use std::net::IpAddr;

use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use url::{Host, Url};

use crate::http::wait_of;
use crate::target::parse_url;
use crate::web::Page;
use crate::{Error, Web};

pub use answer::Exchanged;
pub use error::{ExchangeError, OAuthRefusal};
pub use request::{ExchangeRequest, Judged, TokenType, audience, resource, scope};

/// No answer of a token endpoint is anywhere near this: a token has some thousand bytes.
const LONGEST: usize = 256 << 10;

/// Where tokens are exchanged.
pub struct TokenEndpoint {
    url: Url,
    web: Web,
    patient: bool,
    clock: SystemClock,
}

impl TokenEndpoint {
    /// The endpoint at a URL; see [`endpoint_url`].
    pub fn new(web: Web, url: Url) -> TokenEndpoint {
        TokenEndpoint { url, web, patient: false, clock: SystemClock::new() }
    }

    /// The one that an issuer names in its metadata (RFC 8414 §3).
    ///
    /// # Errors
    /// There is no metadata, it is another issuer's, or names no endpoint that exchanges tokens.
    pub async fn of_issuer(web: Web, issuer: &str) -> Result<TokenEndpoint, Error> {
        let url = metadata::token_endpoint(&web, issuer).await?;
        Ok(TokenEndpoint::new(web, url))
    }

    /// Waits where the endpoint asks for it, as [`Client::patient`](crate::Client::patient) does: up to ten times, and no longer
    /// than an answer may take. Who has a schedule of their own is told at once instead.
    pub fn patient(self) -> TokenEndpoint {
        TokenEndpoint { patient: true, ..self }
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Exchanges a token.
    ///
    /// # Errors
    /// The endpoint cannot be reached, refuses, or answers with something that is not what was asked for.
    pub async fn exchange(&self, request: &ExchangeRequest) -> Result<Exchanged, ExchangeError> {
        let page = self.ask(request).await?;
        match page.status.as_u16() {
            200 => Exchanged::of(&page.body, request),
            _ => Err(OAuthRefusal::of(&page, request).into()),
        }
    }

    /// Asks, again where the endpoint says when.
    async fn ask(&self, request: &ExchangeRequest) -> Result<Page, Error> {
        let until = self.clock.monotonic().saturating_add(self.web.limit());
        let mut tries = 0;
        loop {
            let left = until.saturating_sub(self.clock.monotonic());
            let web = self.web.clone().within(left);
            let page = web.post_form(&self.url, request.form(), LONGEST).await?;
            let left = until.saturating_sub(self.clock.monotonic());
            match wait_of(page.status, page.retry_after, tries).filter(|wait| self.patient && *wait < left) {
                Some(wait) => self.clock.sleep(wait).await,
                None => return Ok(page),
            }
            tries += 1;
        }
    }
}

/// The URL of a token endpoint, which `named_by` holds. It has no fragment (RFC 6749 §3.2), and is spoken to over TLS, which that
/// section demands, too; without it a token would be anyone's on the way. Nobody is on the way to this machine.
///
/// # Errors
/// It is none.
pub fn endpoint_url(text: &str, named_by: &str) -> Result<Url, Error> {
    let url = parse_url(text, named_by)?;
    if url.scheme() != "https" && !is_this_machine(&url) {
        let text = format!("{named_by} is not https: a token that is sent there could be read on the way");
        return Err(Error::usage(text));
    }
    if url.fragment().is_some() {
        return Err(Error::usage(format!("{named_by} has a fragment (#…), which no token endpoint has")));
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_endpoint_is_spoken_to_over_tls_as_rfc_6749_section_3_2_demands() {
        for good in [
            "https://sts.example.com/oauth2/token",
            "https://sts.example.com:8443/t?tenant=a",
            "http://127.0.0.1:8080/token",
            "http://[::1]/token",
            "http://localhost/token",
        ] {
            assert_eq!(endpoint_url(good, "--url").unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("http://sts.example.com/token", "--url is not https"),
            ("http://10.0.0.1/token", "--url is not https"),
            ("http://localhost.example.com/token", "--url is not https"),
            ("https://sts.example.com/token#a", "--url has a fragment"),
            ("sts.example.com/token", "--url does not begin with https:// or http://"),
            ("https://a:b@sts.example.com/token", "holds a user or a password"),
        ] {
            let error = endpoint_url(bad, "--url").unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
