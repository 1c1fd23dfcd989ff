//! Checks tokens and counts what comes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokensmith_tests::jws::Key;

use super::keys::{Times, read};
use super::verifier::Kind;

/// What a verifier ought to do with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ought {
    /// Take it.
    Accept,
    /// Either: its key was published so short a time before, without a wait, that the verifier may not know it.
    MayNotKnow,
    /// Refuse it: its key was revoked, and what makes the verifier fetch has happened since.
    Past,
    /// Refuse it: it is forged or has expired.
    Refuse,
    /// Either: its key was revoked, and nothing has made sure that the verifier has noticed.
    Within,
    /// The same, longer than `max-age` after.
    WithinLong,
}

/// One check.
pub struct Check {
    pub kind: Kind,
    pub token: Arc<str>,
    /// The key that the verifier found for it, if it found one.
    pub key: Option<Arc<Key>>,
    pub now: i64,
    pub ought: Ought,
}

/// What has been found about one kind of verifier.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub checks: u64,
    pub valid_refused: u64,
    /// Good tokens that were refused while the verifier could not know their key.
    pub unknown: u64,
    pub within: u64,
    /// Those of them that were taken when `max-age` had been over for long.
    pub long: u64,
    pub past: u64,
    /// Forged or expired tokens that were taken: the model of the verifier would be worthless.
    pub blind: u64,
}

impl Counts {
    /// Counts one answer.
    pub fn add(&mut self, ought: Ought, accepted: bool) {
        self.checks += 1;
        match (ought, accepted) {
            (Ought::Accept, false) => self.valid_refused += 1,
            (Ought::Past, true) => self.past += 1,
            (Ought::Refuse, true) => self.blind += 1,
            (Ought::MayNotKnow, false) => self.unknown += 1,
            (Ought::Within, true) => self.within += 1,
            (Ought::WithinLong, true) => (self.within, self.long) = (self.within + 1, self.long + 1),
            (Ought::Accept | Ought::MayNotKnow, true) => {}
            (Ought::Past | Ought::Refuse | Ought::Within | Ought::WithinLong, false) => {}
        }
    }
}

/// The key, and what a token says under it if it may be believed.
type Read = (Arc<Key>, Option<Times>);

/// Checks and counts.
pub struct Tally {
    /// What was found of a token under a key, by the token and the address of the key, which is kept so that no other
    /// comes to be there. Arithmetic that is done once need not be done again; the times are looked at each time.
    read: HashMap<(Arc<str>, usize), Read>,
    /// By kind.
    pub counts: BTreeMap<Kind, Counts>,
    /// The first answers that were wrong.
    pub wrong: Vec<String>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        Tally { read: HashMap::new(), counts: BTreeMap::new(), wrong: Vec::new() }
    }

    /// Makes a check.
    pub fn add(&mut self, check: Check) {
        const SHOWN: usize = 5;
        let Check { kind, token, key, now, ought } = check;
        let accepted = key.as_ref().is_some_and(|key| {
            let place = (token, Arc::as_ptr(key).addr());
            let read = || (key.clone(), read(&place.0, key));
            let (_, times) = self.read.entry(place.clone()).or_insert_with(read);
            times.is_some_and(|times| times.cover(now))
        });
        self.counts.entry(kind).or_default().add(ought, accepted);
        let either = matches!(ought, Ought::MayNotKnow | Ought::Within | Ought::WithinLong);
        let fits = either || accepted == (ought == Ought::Accept);
        if !fits && self.wrong.len() < SHOWN {
            let found = if key.is_some() { "has its key" } else { "does not have its key" };
            self.wrong.push(format!("{kind:?} at {now}: {ought:?}, accepted: {accepted}; it {found}"));
        }
    }
}
