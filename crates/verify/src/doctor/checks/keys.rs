//! The key set.

use std::collections::{BTreeMap, BTreeSet};

use tokensmith_core::keys::{JwkError, KeyError};

use super::Outcome;
use crate::doctor::facts::{Asked, Facts, KeySet, NoKeySet, PublishedKey};

const NONE: &str = "there are no keys to look at";

/// A rule that each key must keep.
fn each(facts: &Facts, good: &str, wrong: impl Fn(&PublishedKey) -> Option<String>) -> Outcome {
    let Some(set) = facts.published() else { return Outcome::unknown(NONE) };
    let found: Vec<String> = set.keys.iter().filter_map(wrong).collect();
    Outcome::without(&found, good)
}

pub(super) fn there(facts: &Facts) -> Outcome {
    let Some(Ok(answer)) = facts.keys.as_ref().map(|keys| &keys.plain) else {
        return Outcome::unknown("nothing was answered, or nothing says where it is");
    };
    let url = facts.keys.as_ref().map_or("", |keys: &Asked| keys.url.as_str());
    match (&facts.key_set, answer.status.as_u16()) {
        (_, 401 | 403) => Outcome::unknown("credentials are asked for"),
        (Some(Ok(_)), _) => Outcome::holds(url),
        (Some(Err(NoKeySet::Long(_))), _) => Outcome::unknown("it is too long to be read"),
        (Some(Err(why)), _) => Outcome::fails(format!("{url}: {why}")),
        (None, status) => Outcome::fails(format!("{url} answers {status}")),
    }
}

pub(super) fn some_key(facts: &Facts) -> Outcome {
    let Some(Ok(set)) = &facts.key_set else { return Outcome::unknown("there is no key set") };
    let plural = if set.count == 1 { "" } else { "s" };
    Outcome::when(set.count > 0, format!("{} key{plural}", set.count), "it holds no key")
}

/// Of each type, as AWS counts, or of all together.
pub(super) fn count(facts: &Facts, limit: usize, each: bool) -> Outcome {
    let set = match &facts.key_set {
        Some(Err(why @ NoKeySet::Long(_))) => return Outcome::fails(why.to_string()),
        Some(Ok(set)) => set,
        _ => return Outcome::unknown(NONE),
    };
    let mut of_type = BTreeMap::<&str, usize>::new();
    for key in &set.keys {
        *of_type.entry(key.text("kty").unwrap_or("?")).or_default() += 1;
    }
    let most = of_type.values().copied().max().unwrap_or_default();
    let unread = set.count > KeySet::MAX;
    let found = if each && !unread { most } else { set.count };
    Outcome::when(found <= limit, format!("{found}"), format!("there are {found}"))
}

pub(super) fn key_ids(facts: &Facts) -> Outcome {
    each(facts, "each key has one", |key| key.text("kid").is_none().then(|| key.name()))
}

pub(super) fn unique_key_ids(facts: &Facts) -> Outcome {
    let Some(set) = facts.published() else { return Outcome::unknown(NONE) };
    let mut seen = BTreeSet::new();
    let kids = set.keys.iter().filter_map(|key| key.text("kid"));
    let twice: BTreeSet<String> =
        kids.filter(|kid| !seen.insert(*kid)).map(|kid| format!("{kid:?} is there twice")).collect();
    Outcome::without(&twice.into_iter().collect::<Vec<_>>(), "no two keys have the same")
}

pub(super) fn for_signatures(facts: &Facts) -> Outcome {
    each(facts, "use and key_ops let each key check signatures", |key| {
        let usage = key.text("use").map(|usage| format!(" (use {usage:?})")).unwrap_or_default();
        (!key.for_signatures()).then(|| format!("{} is for something else{usage}", key.name()))
    })
}

pub(super) fn algorithm_named(facts: &Facts) -> Outcome {
    each(facts, "each key names its alg", |key| {
        key.text("alg").is_none().then(|| format!("{} does not", key.name()))
    })
}

pub(super) fn no_private_half(facts: &Facts) -> Outcome {
    each(facts, "no key has a private member", |key| {
        let secrets = key.secrets();
        (!secrets.is_empty()).then(|| format!("{} is published with its {}", key.name(), secrets.join(", ")))
    })
}

pub(super) fn no_secret_key(facts: &Facts) -> Outcome {
    each(facts, "no key has a private member", |key| {
        (key.text("kty") != Some("oct") && !key.secrets().is_empty())
            .then(|| format!("{} is read as a private key", key.name()))
    })
}

pub(super) fn rsa_size(facts: &Facts, least: usize) -> Outcome {
    each(facts, "no RSA key is shorter", |key| {
        let bits = key.rsa_bits().filter(|bits| *bits < least)?;
        Some(format!("{} has {bits} bits", key.name()))
    })
}

/// What another rule says of a key (its use, its size, its algorithm) is not said here.
pub(super) fn whole_keys(facts: &Facts) -> Outcome {
    each(facts, "each key can be read", |key| match &key.key {
        Ok(_)
        | Err(JwkError::NotForSignatures | JwkError::Type | JwkError::Algorithm(_))
        | Err(JwkError::Key(KeyError::TooSmall { .. } | KeyError::Unsupported { .. })) => None,
        Err(why) => Some(format!("{}: {why}", key.name())),
    })
}

pub(super) fn without_members(facts: &Facts, names: &[String]) -> Outcome {
    each(facts, "no key has one of them", |key| {
        let found: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| key.members.contains_key(*name)).collect();
        (!found.is_empty()).then(|| format!("{} has {}", key.name(), found.join(", ")))
    })
}

pub(super) fn one_type(facts: &Facts) -> Outcome {
    let Some(set) = facts.published() else { return Outcome::unknown(NONE) };
    let types: BTreeSet<&str> = set.keys.iter().filter_map(|key| key.text("kty")).collect();
    let list = types.iter().copied().collect::<Vec<_>>().join(", ");
    Outcome::when(types.len() < 2, list.clone(), format!("there are {list}"))
}

/// Whether tokens of these keys are taken. Where only some are, it depends on which of them signs.
pub(super) fn algorithms(facts: &Facts, accepted: &[String]) -> Outcome {
    let Some(set) = facts.published() else { return Outcome::unknown(NONE) };
    let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
    for key in set.keys.iter().filter(|key| key.for_signatures()) {
        let algorithm = key.algorithm().unwrap_or("no known algorithm");
        let side = if accepted.iter().any(|one| one == algorithm) { &mut good } else { &mut bad };
        side.insert(algorithm);
    }
    let list = |side: &BTreeSet<&str>| side.iter().copied().collect::<Vec<_>>().join(", ");
    match (good.is_empty(), bad.is_empty()) {
        (true, true) => Outcome::unknown("no key is for signatures"),
        (_, true) => Outcome::holds(list(&good)),
        (true, false) => Outcome::fails(format!("the keys are for {}", list(&bad))),
        (false, false) => Outcome::unknown(format!(
            "it takes tokens with {}, and not those with {}: which of them an audience gets is the issuer's to say",
            list(&good),
            list(&bad)
        )),
    }
}
