//! Verification as an outsider does it: discovery document, key set, signature, claims. Who has no account at the
//! server cannot know whether the account and the bound object still exist: those rules stay unchecked.

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::Url;
use serde_json::Value;
use tokensmith_client::Web;
use tokensmith_core::Clock;

use super::report::{Report, Rule};
use super::token::Token;
use crate::client::flags::ClientFlags;
use crate::client::http::{self, Refusal};
use crate::client::target;
use crate::failure::Failure;
use crate::times;

/// What most verifiers and Kubernetes itself allow for clocks that differ.
const LEEWAY: i64 = 60;

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
    let discovery =
        web.get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).await?;
    let published = discovery["issuer"].as_str().unwrap_or_default();
    let jwks_uri = discovery["jwks_uri"].as_str().unwrap_or_default();
    let keys: JwkSet = serde_json::from_value(web.get(jwks_uri).await?)
        .map_err(|e| Failure::failed(format!("the key set at {jwks_uri} cannot be read: {e}")))?;
    let mut rules = vec![
        Rule::when(
            published == issuer,
            "discovery",
            format!("{issuer} publishes its documents"),
            format!("the document is for {published:?}, not for {issuer:?}: verifiers compare byte for byte"),
        ),
        Rule::when(
            token.claim("iss") == issuer,
            "issuer",
            issuer.to_owned(),
            format!("the token is from {:?}", token.claim("iss")),
        ),
    ];
    rules.extend(signature(token, &keys));
    rules.push(audience(token, audiences));
    rules.extend(lifetime(token, clock.unix()));
    rules.push(Rule::unchecked("account", "only the server knows: --server asks it"));
    rules.push(Rule::unchecked("bound object", "only the server knows: --server asks it"));
    Ok(Report { by: format!("the key set at {jwks_uri}"), rules })
}

fn signature(token: &Token, keys: &JwkSet) -> Vec<Rule> {
    let kid = token.parameter("kid");
    let candidates: Vec<&Jwk> = match kid {
        "" => keys.keys.iter().collect(),
        kid => keys.keys.iter().filter(|k| k.common.key_id.as_deref() == Some(kid)).collect(),
    };
    if candidates.is_empty() {
        let detail =
            format!("the key set has no key {kid:?}: it signed elsewhere, or is no longer published");
        return vec![
            Rule::fails("key", detail),
            Rule::unchecked("signature", "there is no key to check it with"),
        ];
    }
    let key =
        Rule::holds("key", if kid.is_empty() { "none named, every published one is tried" } else { kid });
    let name = token.parameter("alg");
    let algorithm = match name.parse::<Algorithm>() {
        // HS256 with a public key as the secret is the classic forgery; RSASSA-PSS no issuer of Kubernetes uses.
        Ok(algorithm @ (Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512)) => algorithm,
        Ok(algorithm @ (Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA)) => algorithm,
        _ if name == "ES512" || name.starts_with("ML-DSA-") => {
            let detail = format!("{name} cannot be checked here: --server can");
            return vec![key, Rule::unchecked("signature", detail)];
        }
        _ => {
            return vec![
                key,
                Rule::fails("signature", format!("{name:?} is no algorithm that Kubernetes signs with")),
            ];
        }
    };
    let verified = candidates.iter().any(|jwk| verifies(&token.text, jwk, algorithm));
    let signature = Rule::when(
        verified,
        "signature",
        name.to_owned(),
        "it does not verify: the text has been changed, or another key of that id made it".into(),
    );
    vec![key, signature]
}

fn verifies(text: &str, jwk: &Jwk, algorithm: Algorithm) -> bool {
    let Ok(key) = DecodingKey::from_jwk(jwk) else { return false };
    // Only the signature: the claims are judged one by one, each with its reason.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Value>(text, &key, &validation).is_ok()
}

fn audience(token: &Token, wanted: &[String]) -> Rule {
    let has = token.audiences();
    if wanted.is_empty() {
        return Rule::unchecked("audience", format!("it is for {}: --audience checks", has.join(", ")));
    }
    let common: Vec<_> = wanted.iter().map(String::as_str).filter(|w| has.contains(w)).collect();
    Rule::when(
        !common.is_empty(),
        "audience",
        common.join(", "),
        format!("it is for {has:?}, not for {wanted:?}"),
    )
}

fn lifetime(token: &Token, now: i64) -> [Rule; 3] {
    let away = |unix: i64| times::length(unix.abs_diff(now));
    let not_before = match token.time("nbf") {
        Some(nbf) if nbf > now.saturating_add(LEEWAY) => {
            Rule::fails("not before", format!("it becomes valid in {}; are both clocks right?", away(nbf)))
        }
        Some(_) => Rule::holds("not before", ""),
        None => Rule::unchecked("not before", "the token does not say"),
    };
    let expiry = match token.time("exp") {
        Some(exp) if exp < now.saturating_sub(LEEWAY) => {
            Rule::fails("expiry", format!("it expired {} ago", away(exp)))
        }
        Some(exp) if exp < now => {
            Rule::holds("expiry", format!("expired {} ago, within the leeway", away(exp)))
        }
        Some(exp) => Rule::holds("expiry", format!("{} left", away(exp))),
        None => Rule::fails("expiry", "the token never expires (is it a legacy Secret token?)"),
    };
    let issued = match token.time("iat") {
        Some(iat) if iat > now.saturating_add(LEEWAY) => {
            Rule::fails("issued at", format!("it is from {} ahead; are both clocks right?", away(iat)))
        }
        Some(iat) => Rule::holds("issued at", format!("{} ago", away(iat.min(now)))),
        None => Rule::unchecked("issued at", "the token does not say"),
    };
    [not_before, expiry, issued]
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

    async fn get(&self, url: &str) -> Result<Value, Failure> {
        let url = target::parse_url(url)
            .map_err(|_| Failure::failed(format!("the issuer's document names {url:?}, which is no URL")))?;
        let own = url.scheme() == "https" && url.origin() == self.origin.origin();
        let bearer = self.token.as_ref().filter(|_| own).map(|token| http::secret(token)).transpose()?;
        let page = self.web.get(&url, bearer, None, MAX_DOCUMENT).await?;
        if page.status.is_success() {
            let value = serde_json::from_slice(&page.body).ok();
            return value
                .ok_or_else(|| Failure::failed(format!("{url} answers with something that is not JSON")));
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::json;
    use tokensmith_core::tokens::jws;

    use super::super::report::Verdict;
    use super::super::token::tests::token;
    use super::*;

    fn verdicts(claims: Value) -> Vec<Verdict> {
        lifetime(&token(claims), 1000).iter().map(|r| r.verdict).collect()
    }

    #[test]
    fn times_have_a_minutes_leeway() {
        use Verdict::{Fails, Holds, Unchecked};
        assert_eq!(verdicts(json!({ "nbf": 1060, "exp": 940, "iat": 1060 })), [Holds, Holds, Holds]);
        assert_eq!(verdicts(json!({ "nbf": 1061, "exp": 939, "iat": 1061 })), [Fails, Fails, Fails]);
        assert_eq!(verdicts(json!({})), [Unchecked, Fails, Unchecked]);
        assert_eq!(
            verdicts(json!({ "nbf": i64::MAX, "exp": i64::MIN, "iat": i64::MAX })),
            [Fails, Fails, Fails]
        );
    }

    #[test]
    fn one_audience_must_match() {
        let token = token(json!({ "aud": ["a", "b"] }));
        assert_eq!(audience(&token, &[]).verdict, Verdict::Unchecked);
        assert_eq!(audience(&token, &["c".into(), "b".into()]), Rule::holds("audience", "b"));
        assert_eq!(audience(&token, &["c".into()]).verdict, Verdict::Fails);
    }

    #[test]
    fn an_algorithm_that_is_not_kubernetes_is_refused() {
        let keys: JwkSet = serde_json::from_value(json!({ "keys": [
            { "use": "sig", "kty": "EC", "kid": "k1", "crv": "P-256", "alg": "ES256",
              "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" },
        ]})).unwrap();
        let mut token = token(json!({}));
        token.header.insert("alg".into(), "HS256".into());
        assert_eq!(signature(&token, &keys)[1].verdict, Verdict::Fails);
        token.header.insert("alg".into(), "ES512".into());
        assert_eq!(signature(&token, &keys)[1].verdict, Verdict::Unchecked);
        token.header.insert("kid".into(), "k2".into());
        assert_eq!(signature(&token, &keys)[0].verdict, Verdict::Fails);
    }

    #[test]
    fn what_a_profile_signs_with_is_checked() {
        use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey};
        for algorithm in [Algorithm::RS384, Algorithm::EdDSA] {
            let keys = [algorithm, algorithm].map(|a| PrivateKey::generate(a).unwrap());
            let signer = LocalSigner::new(&keys[0]).unwrap();
            let text = jws::sign(&signer, br#"{"iss":"i"}"#).now_or_never().unwrap().unwrap();
            let token = Token::parse(&text).unwrap();
            // A key of a kind that is not known yet does not make the set unreadable.
            let set = |key: &PrivateKey| -> JwkSet {
                let jwk = key.public().jwk().replace(key.public().key_id(), signer.public().key_id());
                let other = r#"{"kty":"AKP","alg":"ML-DSA-44","kid":"k2","pub":"AAAA"}"#;
                serde_json::from_str(&format!(r#"{{"keys":[{other},{jwk}]}}"#)).unwrap()
            };
            assert_eq!(signature(&token, &set(&keys[0]))[1].verdict, Verdict::Holds, "{algorithm}");
            assert_eq!(signature(&token, &set(&keys[1]))[1].verdict, Verdict::Fails, "{algorithm}");
        }
    }
}
