//! Whether keys can be changed without anyone noticing.

use std::collections::BTreeMap;

use tokensmith_api::duration::{exact, human};

use super::Outcome;
use crate::doctor::facts::{Facts, date, max_age as age, modified};

/// A key set that has changed so recently may still get its next key: a first start publishes it a moment after its first.
const NEW: i64 = 60;

/// One more key of each algorithm: the next, or the last one. Which of them it is, nobody outside can see.
pub(super) fn spare(facts: &Facts) -> Outcome {
    let Some(set) = facts.published() else { return Outcome::unknown("there are no keys to look at") };
    let mut of = BTreeMap::<&str, usize>::new();
    for key in set.keys.iter().filter(|key| key.for_signatures()) {
        *of.entry(key.algorithm().unwrap_or("?")).or_default() += 1;
    }
    if of.is_empty() {
        return Outcome::unknown("no key is for signatures");
    }
    let alone: Vec<String> =
        of.iter().filter(|(_, n)| **n < 2).map(|(algorithm, _)| format!("one key for {algorithm}")).collect();
    if let (Some(since), false) = (changed_ago(facts).filter(|since| *since < NEW), alone.is_empty()) {
        return Outcome::unknown(format!(
            "not yet: the key set has changed {} ago and has {}: look again in a minute",
            human(since.unsigned_abs()),
            alone.join(", ")
        ));
    }
    Outcome::without(&alone, "each algorithm has more than one key")
}

/// For how long the key set has been as it is, by what its server says of both; `None` where it does not.
fn changed_ago(facts: &Facts) -> Option<i64> {
    let answer = facts.keys.as_ref()?.good()?;
    let since = date(answer)?.saturating_sub(modified(answer)?);
    (since >= 0).then_some(since)
}

/// `limit` counts where nobody has said for how long keys are published before they sign.
pub(super) fn max_age(facts: &Facts, limit: u64) -> Outcome {
    let Some(answer) = facts.keys.as_ref().and_then(|keys| keys.good()) else {
        return Outcome::unknown("there is no key set");
    };
    let (limit, whose) = match facts.publish_before {
        Some(said) => (said, "keys are published before they sign"),
        None => (limit, "verifiers are known to keep keys"),
    };
    let limits = format!("{whose} for {}", exact(limit));
    match age(answer) {
        None => Outcome::fails("the key set has no max-age: caches keep it for as long as they like"),
        Some(age) => {
            let age_text = format!("max-age is {}, {limits}", exact(age));
            Outcome::when(age <= limit, age_text.clone(), age_text)
        }
    }
}
