//! The discovery document.

use super::Outcome;
use crate::doctor::facts::Facts;

const NONE: &str = "there is no discovery document";

pub(super) fn there(facts: &Facts) -> Outcome {
    let answer = match &facts.discovery.plain {
        Err(_) => return Outcome::unknown("nothing was answered"),
        Ok(answer) => answer,
    };
    match (answer.status.as_u16(), &facts.document) {
        // Said by `open`.
        (401 | 403, _) => Outcome::unknown("credentials are asked for"),
        (200, _) if answer.cut => Outcome::fails("it is far too long, and was not read to its end"),
        (200, Some(document)) if document.jwks_uri().is_some() => {
            Outcome::holds(facts.discovery.url.as_str())
        }
        (200, Some(_)) => Outcome::fails("it has no jwks_uri"),
        (200, None) => Outcome::fails(format!("{} is no JSON object", facts.discovery.url)),
        (status, _) => Outcome::fails(format!("{} answers {status}", facts.discovery.url)),
    }
}

pub(super) fn exact_issuer(facts: &Facts) -> Outcome {
    let Some(document) = &facts.document else { return Outcome::unknown(NONE) };
    match document.issuer() {
        Some(issuer) if issuer == facts.issuer => Outcome::holds(issuer),
        Some(issuer) => Outcome::fails(format!("it is of {issuer:?}, not of {:?}", facts.issuer)),
        None => Outcome::fails("it names no issuer"),
    }
}

pub(super) fn keys_https(facts: &Facts) -> Outcome {
    let uri = facts.document.as_ref().and_then(|document| document.jwks_uri());
    let Some(uri) = uri else { return Outcome::unknown("no jwks_uri is known") };
    let https = uri.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    // Said by `https` where the issuer itself is not.
    let own = facts.url.as_ref().is_some_and(|url| url.scheme() == "http");
    match (https, own) {
        (true, _) => Outcome::holds(uri),
        (false, true) => Outcome::unknown("the issuer itself is not over https"),
        (false, false) => Outcome::fails(format!("jwks_uri is {uri:?}")),
    }
}

pub(super) fn members(facts: &Facts, names: &[String]) -> Outcome {
    let Some(document) = &facts.document else { return Outcome::unknown(NONE) };
    let missing: Vec<String> = names.iter().filter(|name| !document.has(name)).cloned().collect();
    match missing.is_empty() {
        true => Outcome::holds("all are there"),
        false => Outcome::fails(format!("it lacks {}", missing.join(", "))),
    }
}

pub(super) fn uncut_path(facts: &Facts) -> Outcome {
    match &facts.uncut {
        None => Outcome::holds("the issuer has no slash at its end"),
        Some(Ok(answer)) if answer.status == 200 => Outcome::holds("it is there, too"),
        Some(Ok(answer)) => Outcome::fails(format!(
            "{}//… answers {}",
            facts.issuer.trim_end_matches('/'),
            answer.status.as_u16()
        )),
        Some(Err(trouble)) => Outcome::unknown(trouble.to_string()),
    }
}

/// `fallback` is what who finds no list takes; without one the list itself is wanted.
pub(super) fn algorithms_listed(facts: &Facts, fallback: Option<&str>) -> Outcome {
    let Some(document) = &facts.document else { return Outcome::unknown(NONE) };
    let list = match (document.algorithms(), fallback) {
        (Some(list), _) => list,
        (None, Some(fallback)) => vec![fallback],
        (None, None) => return Outcome::fails("it has no id_token_signing_alg_values_supported"),
    };
    let Some(set) = facts.published() else {
        return Outcome::unknown("there are no keys to compare it with");
    };
    let used = set.keys.iter().filter(|key| key.for_signatures()).filter_map(|key| key.algorithm());
    let mut unlisted: Vec<&str> = used.filter(|algorithm| !list.contains(algorithm)).collect();
    unlisted.sort_unstable();
    unlisted.dedup();
    match unlisted.is_empty() {
        true => Outcome::holds(list.join(", ")),
        false => Outcome::fails(format!(
            "{} is published, and only {} listed",
            unlisted.join(", "),
            list.join(", ")
        )),
    }
}
