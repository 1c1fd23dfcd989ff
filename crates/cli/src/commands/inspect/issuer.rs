//! Verification as an outsider does it: discovery document, key set, signature, claims. Who has no account at the
//! server cannot know whether the account and the bound object still exist: those rules stay unchecked.

use serde_json::Value;
use tokensmith_client::{Url, Web};
use tokensmith_core::Clock;
use tokensmith_core::keys::PublishedKeys;
use tokensmith_verify::report::{Report, UnverifiedToken};
use tokensmith_verify::{MAX_DOCUMENT, discovery};

use crate::client::flags::ClientFlags;
use crate::client::http::{self, Refusal};
use crate::client::target::{self, Bearer};
use crate::failure::Failure;

/// Fetches what the issuer publishes and checks the token against it.
///
/// # Errors
/// The issuer's documents cannot be fetched or read at all. A rule that fails is in the report.
pub async fn verify(
    token: &UnverifiedToken,
    issuer: &str,
    audiences: &[String],
    flags: &ClientFlags,
    clock: &dyn Clock,
) -> Result<Report, Failure> {
    let web = Issuer::new(issuer, flags)?;
    let document = web.get(&discovery::url(issuer)).await?;
    let discovery: Value = serde_json::from_slice(&document).unwrap_or_default();
    let jwks_uri = discovery["jwks_uri"].as_str().unwrap_or_default();
    let jwks = web.get(jwks_uri).await?;
    let keys = PublishedKeys::parse(&jwks)
        .map_err(|e| Failure::failed(format!("the key set at {jwks_uri} cannot be read: {e}")))?;
    let published = (document.as_slice(), jwks_uri, &keys);
    Ok(Report::by_issuer(token, issuer, audiences, published, clock.unix()))
}

/// Fetches the issuer's documents. A token given on the command line goes to the issuer's own origin only: a key set
/// elsewhere must not learn it.
struct Issuer {
    web: Web,
    origin: Url,
    token: Option<String>,
}

impl Issuer {
    fn new(issuer: &str, flags: &ClientFlags) -> Result<Issuer, Failure> {
        let token = flags.bearer_by_hand().as_ref().map(Bearer::read).transpose()?;
        Ok(Issuer { web: flags.web()?, origin: target::parse_url(issuer, "--issuer")?, token })
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let url = target::parse_url(url, "jwks_uri")
            .map_err(|_| Failure::failed(format!("the issuer's document names {url:?}, which is no URL")))?;
        let own = url.scheme() == "https" && url.origin() == self.origin.origin();
        let bearer = self.token.as_ref().filter(|_| own).map(|token| http::secret(token)).transpose()?;
        let page = self.web.get(&url, bearer, None, MAX_DOCUMENT).await?;
        if page.status.is_success() {
            return match serde_json::from_slice::<serde::de::IgnoredAny>(&page.body) {
                Ok(_) => Ok(page.body),
                Err(_) => Err(Failure::failed(format!("{url} answers with something that is not JSON"))),
            };
        }
        let hint = match page.status.as_u16() {
            401 | 403 => ": start the server with --anonymous-oidc, or give --bearer-token-file",
            404 => ": is this the issuer's URL, byte for byte, and is it https?",
            _ => "",
        };
        let refusal = Refusal::of(page.status.as_u16(), &page.body);
        Err(Failure::failed(format!("{url} answers {}: {}{hint}", refusal.code, refusal.message)))
    }
}
