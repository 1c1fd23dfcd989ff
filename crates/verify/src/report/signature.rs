//! Whose signature a token has, by what an issuer publishes. The check itself is core's, the one that server and
//! sidecar use; here is only told what came of it, and what could not be checked.

use tokensmith_core::keys::{Algorithm, JwkError, KeyError, PassedOver, PublicKey, PublishedKeys};
use tokensmith_core::tokens::Jws;

use super::{Remedy, Rule, UnverifiedToken};

const KEY: &str = "key";
const SIGNATURE: &str = "signature";

/// Which key made it, and whether it did.
pub(super) fn judge(token: &UnverifiedToken, keys: &PublishedKeys) -> [Rule; 2] {
    let named = match token.header.get("kid") {
        None => None,
        Some(serde_json::Value::String(kid)) => Some(kid.as_str()).filter(|kid| !kid.is_empty()),
        Some(_) => {
            return [
                Rule::fails(KEY, "the header's kid is no text"),
                Rule::unchecked(SIGNATURE, "there is no key to check it with"),
            ];
        }
    };
    let is_named = |kid: Option<&str>| named.is_none_or(|named| kid == Some(named));
    let candidates: Vec<&PublicKey> =
        keys.iter().filter(|(kid, _)| is_named(Some(kid))).map(|(_, key)| key).collect();
    let others: Vec<&PassedOver> =
        keys.passed_over().iter().filter(|entry| is_named(entry.kid.as_deref())).collect();
    let algorithm = token.parameter("alg");
    if let Some(problem) = header_problem(token, algorithm) {
        let key = match candidates.is_empty() {
            true => Rule::unchecked(KEY, "not looked for"),
            false => found(named),
        };
        return [key, Rule::fails(SIGNATURE, problem)];
    }
    // A member that is there twice, or of another type: its readers would differ on what was signed.
    let Some(jws) = Jws::parse(&token.text) else {
        return [
            Rule::unchecked(KEY, "not looked for"),
            Rule::fails(SIGNATURE, "its header can be read in more than one way, or in none"),
        ];
    };
    if let Ok(key) = jws.verify(candidates.iter().copied()) {
        return [found(named), Rule::holds(SIGNATURE, key.algorithm().as_str())];
    }
    match (candidates.as_slice(), others.as_slice()) {
        ([], []) => {
            [Rule::fails(KEY, unknown(named)), Rule::unchecked(SIGNATURE, "there is no key to check it with")]
        }
        ([], others) => without_key(named, others, algorithm),
        // One of the same name that cannot be read may have made it.
        (_, others) if others.iter().any(|entry| !unfit(&entry.why)) => {
            let why = format!("no key that can be read made it; {}", unused(others));
            [found(named), Rule::unchecked(SIGNATURE, why)]
        }
        (candidates, _) => [found(named), Rule::fails(SIGNATURE, wrong(candidates, algorithm))],
    }
}

fn found(named: Option<&str>) -> Rule {
    Rule::holds(KEY, named.unwrap_or("none named, every published one is tried"))
}

fn unknown(named: Option<&str>) -> String {
    match named {
        Some(kid) => {
            format!("the key set has no key {kid:?}: it signed elsewhere, or is no longer published")
        }
        None => "the token names no key, and the key set has none".into(),
    }
}

/// All keys of the name are of no use here: for one reason nobody may use them, for another we cannot.
fn without_key(named: Option<&str>, others: &[&PassedOver], algorithm: &str) -> [Rule; 2] {
    let key = match named {
        Some(_) if others.iter().all(|entry| unfit(&entry.why)) => Rule::fails(KEY, unused(others)),
        _ => Rule::unchecked(KEY, unused(others)),
    };
    let mut why = format!("{algorithm} cannot be checked here with that key set");
    if algorithm.parse::<Algorithm>().is_err() {
        why.push_str(": this program does not know the algorithm");
    }
    [key, Rule::unchecked(SIGNATURE, why).with(Remedy::AskServer)]
}

/// Whether a key must not be used by anyone: it is for something else, or too weak to prove anything (RFC 7518 §3.3).
fn unfit(why: &JwkError) -> bool {
    matches!(why, JwkError::NotForSignatures | JwkError::Key(KeyError::TooSmall { .. }))
}

fn unused(others: &[&PassedOver]) -> String {
    const SHOWN: usize = 3;
    let one = |entry: &&PassedOver| {
        let name = entry.kid.as_deref().unwrap_or_default();
        format!("key {name:?} of the set is not used: {}", entry.why)
    };
    let mut all: Vec<_> = others.iter().take(SHOWN).map(one).collect();
    if others.len() > SHOWN {
        all.push(format!("and {} more", others.len() - SHOWN));
    }
    all.join("; ")
}

/// What no key can mend.
fn header_problem(token: &UnverifiedToken, algorithm: &str) -> Option<String> {
    if token.header.contains_key("crit") {
        return Some(
            "its header demands (crit) what Kubernetes does not use and nobody here understands".into(),
        );
    }
    if token.header.get("b64").is_some_and(|b64| b64 != true) {
        return Some("its header says (b64) that the payload is not what is read here".into());
    }
    match token.header.get("alg") {
        None => return Some("its header names no algorithm".into()),
        Some(alg) if !alg.is_string() => return Some("its header's alg is no text".into()),
        Some(_) => {}
    }
    // Whoever has the public key could have made it, or anyone at all.
    let forged = algorithm.is_empty()
        || algorithm.eq_ignore_ascii_case("none")
        || algorithm.to_ascii_uppercase().starts_with("HS");
    forged.then(|| format!("{algorithm:?} proves nothing: it is no algorithm that Kubernetes signs with"))
}

fn wrong(candidates: &[&PublicKey], algorithm: &str) -> String {
    let fits = |key: &&PublicKey| key.algorithm().as_str() == algorithm;
    if candidates.iter().any(fits) {
        return "it does not verify: the text has been changed, or another key of that id made it".into();
    }
    let mut own: Vec<_> = candidates.iter().map(|key| key.algorithm().as_str()).collect();
    own.sort_unstable();
    own.dedup();
    format!("the header says {algorithm:?}, but the key is taken for {} alone", own.join(", "))
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
