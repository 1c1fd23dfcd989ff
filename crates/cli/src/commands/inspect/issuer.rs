//! Verification as an outsider does it: discovery document, key set, signature, claims. Who has no account at the
//! server cannot know whether the account and the bound object still exist: those rules stay unchecked.

use reqwest::Url;
use serde_json::Value;
use tokensmith_client::Web;
use tokensmith_core::Clock;
use tokensmith_core::keys::PublishedKeys;
use tokensmith_verify::discovery;

use super::report::{Report, Rule};
use super::token::Token;
use super::{claims, signature};
use crate::client::flags::ClientFlags;
use crate::client::http::{self, Refusal};
use crate::client::target;
use crate::failure::Failure;

/// No issuer's document is anywhere near this, in bytes.
const MAX_DOCUMENT: usize = 1 << 20;

/// Fetches what the issuer publishes and checks the token against it.
///
/// # Errors
/// The issuer's documents cannot be fetched or read at all. A rule that fails is in the report.
pub async fn verify(
    token: &Token,
    issuer: &str,
    audiences: &[String],
    flags: &ClientFlags,
    clock: &dyn Clock,
) -> Result<Report, Failure> {
    let web = Issuer::new(issuer, flags)?;
    let document =
        web.get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await?;
    let discovery: Value = serde_json::from_slice(&document).unwrap_or_default();
    let jwks_uri = discovery["jwks_uri"].as_str().unwrap_or_default();
    let jwks = web.get(jwks_uri).await?;
    let keys = PublishedKeys::parse(&jwks)
        .map_err(|e| Failure::failed(format!("the key set at {jwks_uri} cannot be read: {e}")))?;
    let mut rules = vec![documents(issuer, &document)];
    rules.extend(signature::judge(token, &keys));
    rules.extend(claims::rules(token, issuer, audiences, clock.unix()));
    for rule in ["account", "bound object", "revocation"] {
        rules.push(Rule::unasked(rule, "only the server knows: --server asks it"));
    }
    Ok(Report { by: format!("the key set at {jwks_uri}"), rules })
}

/// Whether the documents are the issuer's own, as every verifier checks: over a connection that only the issuer answers
/// on, and for this issuer byte for byte.
fn documents(issuer: &str, document: &[u8]) -> Rule {
    match discovery::check_issuer(issuer).and_then(|()| discovery::jwks_uri(issuer, document)) {
        Ok(_) => Rule::holds("discovery", format!("{issuer} publishes its documents")),
        Err(problem) => Rule::fails("discovery", problem),
    }
}

/// Fetches the issuer's documents. A token given with `--token` goes to the issuer's own origin only: a key set
/// elsewhere must not learn it.
struct Issuer {
    web: Web,
    origin: Url,
    token: Option<String>,
}

impl Issuer {
    fn new(issuer: &str, flags: &ClientFlags) -> Result<Issuer, Failure> {
        Ok(Issuer { web: flags.web()?, origin: target::parse_url(issuer)?, token: flags.token.clone() })
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, Failure> {
        let url = target::parse_url(url)
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
            401 | 403 => ": start the server with --anonymous-oidc, or give --token",
            404 => ": is this the issuer's URL, byte for byte, and is it https?",
            _ => "",
        };
        let refusal = Refusal::of(page.status.as_u16(), &page.body);
        Err(Failure::failed(format!("{url} answers {}: {}{hint}", refusal.code, refusal.message)))
    }
}
