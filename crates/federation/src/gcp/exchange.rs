//! `POST /v1/token`: a token of a provider's issuer becomes a federated access token (RFC 8693 as Google has it,
//! <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>).

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokensmith_core::tokens::Jws;
use tokensmith_core::tokens::jws::SignatureError;

use super::Gcp;
use super::body::Parameters;
use super::config::Provider;
use super::names::ProviderName;
use super::refusal::Refusal;
use super::tokens::{Held, Holder};
use crate::log::shown;
use crate::token::{self, Unverified};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// What a provider of OpenID Connect takes.
const JWT: [&str; 2] = ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

/// The longest life of a federated token: what is left of the token's, an hour at most (IAM API,
/// `WorkloadIdentityPool.sessionDuration`; seen so).
const LONGEST: i64 = 3600;
/// By how much clocks may differ (seen: `iat` 60 s ahead and `exp` 59 s ago are taken, 119 s and 61 s are not).
pub(super) const LEEWAY: i64 = 60;
/// The life of a token that is exchanged: `exp` "must be less than 48 hours after `iat`" (Google's reference). The service has
/// been seen to take longer ones; whoever keeps to what is written is let in whatever it does.
const LIFE: i64 = 48 * 3600;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Exchange {
    provider: ProviderName,
    scope: String,
    subject_token: String,
}

impl Exchange {
    /// Reads the parameters.
    pub(super) fn new(mut parameters: Parameters) -> Result<Self, Refusal> {
        let mut take = |name| parameters.take(name);
        match take("grant_type")?.as_deref() {
            Some(GRANT) => {}
            None => return Err(invalid("grant_type")),
            // RFC 6749 §5.2.
            Some(_) => {
                let description = "The grant type must be urn:ietf:params:oauth:grant-type:token-exchange.";
                return Err(Refusal::oauth("unsupported_grant_type", description));
            }
        }
        let audience = take("audience")?.and_then(|audience| ProviderName::of_audience(&audience));
        let provider = audience.ok_or_else(|| {
            Refusal::invalid_request(
                "Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See \
                 https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats.",
            )
        })?;
        if take("requested_token_type")?.as_deref() != Some(ACCESS_TOKEN) {
            return Err(invalid("requested_token_type"));
        }
        if !take("subject_token_type")?.is_some_and(|kind| JWT.contains(&kind.as_str())) {
            return Err(invalid("subject_token_type"));
        }
        let scope = take("scope")?.ok_or_else(|| invalid("scope"))?;
        let subject_token = take("subject_token")?.ok_or_else(|| invalid("subject_token"))?;
        if let Some(options) = take("options")? {
            check_options(&options)?;
        }
        Ok(Exchange { provider, scope: words(&scope), subject_token })
    }
}

impl Gcp {
    /// Answers.
    pub(super) async fn exchange(&self, exchange: Exchange) -> Result<Value, Refusal> {
        let Exchange { provider, scope, subject_token } = exchange;
        let provider = self.provider(&provider)?;
        let of_provider =
            |refusal: Refusal| refusal.about(format_args!("a token for {}", provider.name.as_str()));
        let claims = self.verified(provider, &subject_token).await.map_err(of_provider)?;
        let of_subject = |refusal: Refusal| {
            let (issuer, subject) = (&provider.issuer, token::text(&claims, "sub").unwrap_or_default());
            of_provider(refusal.about(format_args!("of {issuer} and {subject:?}")))
        };
        let now = self.now();
        let (issued, expires) = judge(provider, &claims, now).map_err(of_subject)?;
        let attributes = provider.mapping.apply(&claims).map_err(of_subject)?;
        tracing::info!(
            provider = provider.name.as_str(),
            subject = attributes.subject,
            issued,
            "federated token"
        );
        // A token may be a little late; what is made of it lives for a moment all the same.
        let life = expires.saturating_sub(now).clamp(1, LONGEST);
        let holder = Holder::federated(provider.name.pool(), attributes);
        let held = Held { holder, scope, issued: now, expires: now.saturating_add(life) };
        Ok(json!({
            "access_token": self.tokens.seal(&held),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": life,
        }))
    }

    /// A provider that may be used.
    fn provider(&self, name: &ProviderName) -> Result<&Provider, Refusal> {
        let refused = |why: &str| Refusal::invalid_target().because(format_args!("{} {why}", name.as_str()));
        match self.config.providers.get(name.as_str()) {
            None => Err(refused("is none of the providers")),
            Some(known) if !known.open => Err(refused("is disabled or deleted")),
            Some(known) if self.config.closed_pools.contains(known.name.pool()) => {
                Err(refused("is of a pool that is disabled or deleted"))
            }
            Some(known) => Ok(known),
        }
    }

    /// The claims of a token that the provider's issuer has signed.
    async fn verified(&self, provider: &Provider, token: &str) -> Result<Map<String, Value>, Refusal> {
        let unverified = Unverified::parse(token).ok_or_else(unparsable)?;
        let issuer = unverified.claims.get("iss").and_then(Value::as_str);
        if issuer != Some(provider.issuer.as_str()) {
            let (found, expected) = (issuer.unwrap_or("null"), &provider.issuer);
            let why = format!(
                "The issuer in ID Token {found} does not match the expected one in config: {expected}."
            );
            return Err(Refusal::invalid_grant(why));
        }
        // "The following headers are required: kid, alg. Must be RS256 or ES256."
        if !unverified.header("alg").is_some_and(|alg| matches!(alg, "RS256" | "ES256")) {
            let found = unverified.header("alg").map_or("missing", shown);
            let refusal = Refusal::invalid_grant("The ID Token must be signed with RS256 or ES256.");
            return Err(refusal.because(format_args!("alg is {found}, neither RS256 nor ES256")));
        }
        if unverified.header("kid").is_none() {
            return Err(no_key().because("the header has no kid"));
        }
        match &provider.keys {
            Some(keys) => {
                // Uploaded: nobody else is asked.
                let jws = Jws::parse(token).ok_or_else(unparsable)?;
                let candidates = jws.key_id().map_or(&[][..], |kid| keys.candidates(kid));
                jws.verify(candidates).map_err(|why| match why {
                    SignatureError::NoKey => no_key().because("jwksJson has no key of the header's kid"),
                    SignatureError::Wrong => wrong_signature(),
                })?;
                Ok(unverified.claims)
            }
            None => self.fetched(token, &unverified).await,
        }
    }
}

/// What a token's claims must be, but for its issuer; gives when it was issued and when it expires.
fn judge(provider: &Provider, claims: &Map<String, Value>, now: i64) -> Result<(i64, i64), Refusal> {
    let audiences = token::audiences(claims).unwrap_or_default();
    if !audiences.iter().any(|audience| provider.audiences.iter().any(|allowed| allowed == audience)) {
        let found = audiences.join(", ");
        let why = format!("The audience in ID Token [{found}] does not match the expected audience.");
        let expected = &provider.audiences;
        let reason = format!("aud is {audiences:?}, and none of {expected:?}");
        return Err(Refusal::invalid_grant(why).because(reason));
    }
    let dates = (token::date(claims, "iat"), token::date(claims, "exp"));
    let (Some(issued), Some(expires)) = dates else {
        return Err(stale(dates.0).because("iat or exp is missing, or no number"));
    };
    let from = token::date(claims, "nbf");
    let broken = [
        (now >= expires.saturating_add(LEEWAY), "it has expired"),
        (issued > now.saturating_add(LEEWAY), "it is issued in the future"),
        (claims.contains_key("nbf") && from.is_none(), "nbf is no number"),
        (from.is_some_and(|from| from > now.saturating_add(LEEWAY)), "it is not valid yet"),
        (expires.saturating_sub(issued) >= LIFE, "it lives for 48 hours or more"),
        (expires <= issued, "exp is not after iat"),
    ];
    match broken.iter().find(|(broken, _)| *broken) {
        Some((_, why)) => Err(stale(Some(issued))
            .because(format_args!("{why}: iat {issued}, nbf {from:?}, exp {expires}, and it is {now}"))),
        None => Ok((issued, expires)),
    }
}

/// Times that do not hold, of whatever kind (seen so for all of them).
pub(super) fn stale(issued: Option<i64>) -> Refusal {
    let issued = issued.map_or("null".to_owned(), |issued| issued.to_string());
    Refusal::invalid_grant(format!("ID Token issued at {issued} is stale to sign-in."))
}

/// No JWT (seen so of Identity Platform, whose other words are the same).
pub(super) fn unparsable() -> Refusal {
    Refusal::invalid_grant("Unable to parse the ID Token.")
}

/// No key of the token's name, or none at all (seen so for an unknown `kid` of uploaded keys).
pub(super) fn no_key() -> Refusal {
    Refusal::invalid_grant("Error connecting to the given credential's issuer.")
}

/// A key that has not signed.
pub(super) fn wrong_signature() -> Refusal {
    Refusal::invalid_grant("Unable to verify the ID Token signature.")
}

fn invalid(name: &str) -> Refusal {
    Refusal::invalid_request(format!("Invalid value for \"{name}\"."))
}

/// `options` is an object of JSON in a text; google-auth escapes it once more. What it says is for workforces
/// (`userProject`), access boundaries and certificates, none of which there are here.
fn check_options(options: &str) -> Result<(), Refusal> {
    let plain = percent_decode_str(options).collect::<Vec<u8>>();
    let read = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes).is_ok();
    if read(options.as_bytes()) || read(&plain) { Ok(()) } else { Err(invalid("options")) }
}

/// Words with one space between each.
pub(super) fn words(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}
