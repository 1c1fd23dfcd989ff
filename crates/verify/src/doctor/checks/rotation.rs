//! Whether keys can be changed without anyone noticing.

use std::collections::BTreeMap;

use tokensmith_api::duration::two_units;

use super::Outcome;
use crate::doctor::facts::{Facts, max_age as age};

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
    Outcome::without(&alone, "each algorithm has more than one key")
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
    let limits = format!("{whose} for {}", two_units(limit));
    match age(answer) {
        None => Outcome::fails("the key set has no max-age: caches keep it for as long as they like"),
        Some(age) => {
            let age_text = format!("max-age is {}, {limits}", two_units(age));
            Outcome::when(age <= limit, age_text.clone(), age_text)
        }
    }
}
