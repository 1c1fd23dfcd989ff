//! A token as a client's assertion: what Entra asks of it (RFC 7523 §2.2 and
//! <https://learn.microsoft.com/en-us/entra/workload-id/workload-identity-federation>).
//!
//! The federated credential is found before the issuer is asked for its keys, as the answers tell: nobody is asked whom no
//! credential names.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokensmith_api::moment;

use super::config::{Application, Credential};
use super::refusal::Refusal;
use crate::token::{self, Unverified};

/// By how much clocks may differ
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/claims-validation>: five minutes).
pub(super) const LEEWAY: i64 = 300;

/// Takes an assertion apart and judges its form.
pub(super) fn read(token: &str) -> Result<Unverified, Refusal> {
    let read = Unverified::parse(token);
    let read = read.ok_or_else(|| {
        Refusal::malformed("it is no JWT: three parts, of which two are objects without a name twice")
    })?;
    if let Some(kind) = read.header.get("typ") {
        let known = kind.as_str().is_some_and(|kind| {
            kind.eq_ignore_ascii_case("JWT") || kind == "http://openid.net/specs/jwt/1.0"
        });
        if !known {
            return Err(Refusal::header_type());
        }
    }
    // Only RS256 is supported
    // (https://learn.microsoft.com/en-us/entra/workload-id/workload-identity-federation-considerations).
    match read.header("alg") {
        Some("RS256") => {}
        alg => return Err(Refusal::algorithm(alg.unwrap_or_default())),
    }
    if read.header("kid").is_none() {
        return Err(Refusal::no_key_id());
    }
    for name in ["iss", "aud"] {
        if read.claims.get(name).is_none_or(Value::is_null) {
            return Err(Refusal::missing_claim(name));
        }
    }
    // A claim of another type than RFC 7519 §4.1 has is no claim.
    let claims = &read.claims;
    if let Some(name) = ["iss", "sub"].into_iter().find(|name| read.text(name).is_none()) {
        return Err(Refusal::malformed(format_args!("{name} is missing, or no text")));
    }
    if token::audiences(claims).is_none_or(|all| all.is_empty()) {
        return Err(Refusal::malformed("aud is neither a text nor a list of texts"));
    }
    let date =
        |name: &&str| token::date(claims, name).is_some() || (*name != "exp" && !claims.contains_key(*name));
    match ["exp", "nbf", "iat"].into_iter().find(|name| !date(name)) {
        Some(name) => Err(Refusal::malformed(format_args!("{name} is missing, or no number"))),
        None => Ok(read),
    }
}

/// The credential that an assertion is for: issuer, subject and audience are compared letter by letter.
pub(super) fn matching<'a>(
    application: &'a Application,
    client: &str,
    claims: &Map<String, Value>,
) -> Result<&'a Credential, Refusal> {
    let all = &application.credentials;
    if all.is_empty() {
        return Err(Refusal::no_federation(client, &application.name));
    }
    let text = |name| token::text(claims, name).unwrap_or_default();
    let (issuer, subject) = (text("iss"), text("sub"));
    let of_issuer = || all.iter().filter(|one| one.issuer == issuer);
    if of_issuer().next().is_none() {
        return Err(Refusal::issuer(issuer));
    }
    // One at most: the pair is there once.
    let Some(found) = of_issuer().find(|one| one.subject == subject) else {
        let lower = subject.to_lowercase();
        let case = of_issuer().any(|one| one.subject.to_lowercase() == lower);
        return Err(if case { Refusal::subject_case(subject) } else { Refusal::subject(subject) });
    };
    let audiences = token::audiences(claims).unwrap_or_default();
    if audiences.contains(&found.audience.as_str()) {
        Ok(found)
    } else {
        let why = format!("aud is {audiences:?}, and the credential's audience is {:?}", found.audience);
        Err(Refusal::audience(&audiences.join(", ")).because(why))
    }
}

/// Whether it is neither too early nor too late.
pub(super) fn in_time(claims: &Map<String, Value>, now: OffsetDateTime) -> Result<(), Refusal> {
    let seconds = now.unix_timestamp();
    let issued = token::date(claims, "iat");
    let from = token::date(claims, "nbf").or(issued).unwrap_or(seconds);
    let until = token::date(claims, "exp").unwrap_or_default();
    let early = from.max(issued.unwrap_or(from)) > seconds.saturating_add(LEEWAY);
    if early || seconds >= until.saturating_add(LEEWAY) {
        return Err(outside(claims, now));
    }
    Ok(())
}

/// What is said of one that is not in time.
pub(super) fn outside(claims: &Map<String, Value>, now: OffsetDateTime) -> Refusal {
    let date = |name| token::date(claims, name);
    let from = date("nbf").or_else(|| date("iat")).unwrap_or_default();
    Refusal::times(now, moment::from_unix(from), moment::from_unix(date("exp").unwrap_or_default()))
}
