//! A token: what its header and claims are like. Whether it was signed is core's to say.

use serde_json::Value;
use tokensmith_api::duration::exact;
use tokensmith_core::tokens::times::{LEEWAY, TimeError};
use tokensmith_core::tokens::{Jws, Times};

use super::Outcome;
use crate::doctor::facts::Facts;
use crate::report::UnverifiedToken;

/// A rule over the token, where there is one.
fn of(facts: &Facts, rule: impl FnOnce(&UnverifiedToken) -> Outcome) -> Outcome {
    facts.token.as_ref().map_or_else(|| Outcome::unknown("there is no token to look at"), rule)
}

pub(super) fn issuer(facts: &Facts) -> Outcome {
    of(facts, |token| {
        let iss = token.claim("iss");
        Outcome::when(iss == facts.issuer, iss, format!("iss is {iss:?}, not {:?}", facts.issuer))
    })
}

pub(super) fn key(facts: &Facts) -> Outcome {
    of(facts, |token| {
        let kid = token.parameter("kid");
        if kid.is_empty() {
            return Outcome::fails("its header has no kid");
        }
        let Some(set) = facts.published() else { return Outcome::unknown("there are no keys to look at") };
        if set.named(kid).next().is_some() {
            return Outcome::holds(kid);
        }
        match set.keys.iter().any(|key| key.text("kid").is_none()) {
            // Said by `key-ids`.
            true => Outcome::unknown("some keys have no kid to compare it with"),
            false => Outcome::fails(format!("no published key has the kid {kid:?}")),
        }
    })
}

pub(super) fn signature(facts: &Facts) -> Outcome {
    of(facts, |token| {
        let Some(set) = facts.published() else {
            return Outcome::unknown("there are no keys to check it with");
        };
        let usable: Vec<_> =
            set.named(token.parameter("kid")).filter_map(|key| key.key.as_ref().ok()).collect();
        if usable.is_empty() {
            return Outcome::unknown("no published key of its kid can be used");
        }
        match Jws::parse(&token.text).map(|jws| jws.verify(usable).is_ok()) {
            Some(true) => Outcome::holds("a published key has made it"),
            Some(false) => Outcome::fails("the published key has not made it"),
            None => Outcome::fails("it is no compact JWS"),
        }
    })
}

pub(super) fn algorithm(facts: &Facts, accepted: &[String]) -> Outcome {
    of(facts, |token| {
        let alg = token.parameter("alg");
        Outcome::when(accepted.iter().any(|one| one == alg), alg, format!("its alg is {alg:?}"))
    })
}

pub(super) fn audience_list(facts: &Facts) -> Outcome {
    of(facts, |token| match token.claims.get("aud") {
        Some(Value::Array(_)) => Outcome::holds("it is a list"),
        Some(Value::String(_)) => Outcome::fails("aud is one text"),
        Some(_) => Outcome::fails("aud is neither a list nor a text"),
        None => Outcome::fails("there is no aud"),
    })
}

pub(super) fn one_audience(facts: &Facts, azp: bool) -> Outcome {
    of(facts, |token| match token.audiences().len() {
        _ if azp && token.claims.contains_key("azp") => Outcome::holds("it has an azp"),
        1 => Outcome::holds("it has one"),
        n => Outcome::fails(format!("it has {n}")),
    })
}

pub(super) fn audience_length(facts: &Facts, limit: usize) -> Outcome {
    of(facts, |token| {
        let longest = token.audiences().iter().map(|aud| aud.chars().count()).max().unwrap_or_default();
        Outcome::when(
            longest <= limit,
            format!("{longest} characters"),
            format!("one has {longest} characters"),
        )
    })
}

pub(super) fn subject_length(facts: &Facts, limit: usize) -> Outcome {
    of(facts, |token| {
        let length = token.claim("sub").len();
        Outcome::when(length <= limit, format!("{length} bytes"), format!("sub has {length} bytes"))
    })
}

pub(super) fn claims(facts: &Facts, names: &[String]) -> Outcome {
    of(facts, |token| {
        let missing: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !token.claims.contains_key(*name)).collect();
        Outcome::when(missing.is_empty(), "all are there", format!("it lacks {}", missing.join(", ")))
    })
}

pub(super) fn without_claims(facts: &Facts, names: &[String]) -> Outcome {
    of(facts, |token| {
        let found: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| token.claims.contains_key(*name)).collect();
        Outcome::when(found.is_empty(), "it has none of them", format!("it has {}", found.join(", ")))
    })
}

pub(super) fn kubernetes_claims(facts: &Facts) -> Outcome {
    of(facts, |token| {
        let missing: Vec<String> =
            [&["namespace"][..], &["serviceaccount", "name"], &["serviceaccount", "uid"]]
                .iter()
                .filter(|path| token.private(path).is_empty())
                .map(|path| format!("kubernetes.io.{}", path.join(".")))
                .collect();
        // Those of a legacy Secret token are flat.
        let legacy = token.claims.contains_key("kubernetes.io/serviceaccount/service-account.uid");
        match missing.is_empty() || legacy {
            true => Outcome::holds("they are there"),
            false => Outcome::fails(format!("it lacks {}", missing.join(", "))),
        }
    })
}

pub(super) fn length(facts: &Facts, limit: usize) -> Outcome {
    of(facts, |token| {
        let length = token.text.len();
        Outcome::when(length <= limit, format!("{length} characters"), format!("it has {length} characters"))
    })
}

pub(super) fn lifetime(facts: &Facts, limit: i64) -> Outcome {
    of(facts, |token| match (token.time("iat"), token.time("exp")) {
        (Some(iat), Some(exp)) => {
            let life = exp.saturating_sub(iat);
            let text = exact(life.max(0).unsigned_abs());
            Outcome::when(life <= limit, text.clone(), format!("it lives for {text}"))
        }
        _ => Outcome::unknown("it has no iat, or no exp"),
    })
}

/// By the one check of times that there is, whose leeway is its minute: a verifier that is kinder, or less so, is asked as if it
/// were a little earlier or later.
/// Who has no `early` does not look at a token's beginning.
pub(super) fn in_force(facts: &Facts, expired: i64, early: Option<i64>) -> Outcome {
    of(facts, |token| {
        let minute = LEEWAY.whole_seconds();
        let ends = Times { expires_at: token.time("exp"), ..Times::default() };
        let begins =
            Times { not_before: token.time("nbf"), issued_at: token.time("iat"), ..Times::default() };
        let begun = early
            .map_or(Ok(()), |early| begins.check(facts.now.saturating_add(early.saturating_sub(minute))));
        match begun.and(ends.check(facts.now.saturating_sub(expired.saturating_sub(minute)))) {
            Ok(()) => Outcome::holds("now is within its time"),
            Err(TimeError::Expired) => Outcome::fails("it has expired"),
            Err(TimeError::IssuedInFuture) => Outcome::fails("its iat is ahead"),
            Err(TimeError::NotYetValid) => Outcome::fails("its nbf is ahead"),
        }
    })
}
