//! What happens when, drawn by lot around what is known of the keys.
//!
//! ```text
//!  a turn, from the moment at which a key begins to sign to the moment at which the next one does:
//!  |from: mint, check |+few s |+a cache's time | later: mint, check, review |…  mint, check: -few s |-1 s |to
//!   the next key is published here                         some verifiers start anew right before ──┘
//! ```

use std::collections::BTreeSet;

use super::seeded::Seeded;
use super::verifier::{Kind, MAX_AGE};

/// The longest life of a token, seconds.
pub const DAY: i64 = 86_400;

/// What happens at a moment, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A verifier starts anew.
    Restart(usize),
    /// The operator revokes the key that signs, too early.
    RevokeTooEarly,
    /// The operator revokes the key that signs.
    RevokeActive,
    /// The operator revokes the key that signs, and a key that nobody knows takes its place.
    RevokeFresh,
    /// The operator revokes the key that signed before.
    RevokeRetired,
    /// Somebody asks for a token of so many seconds.
    Mint(i64),
    /// The operator shows every verifier a token with an unknown `kid`.
    Poke,
    /// Every verifier sees every token.
    Check,
    /// The server reviews tokens.
    Review,
    /// A token's last second.
    End(u64),
}

/// The moments to come.
pub struct Agenda {
    moments: BTreeSet<(i64, What)>,
    seeded: Seeded,
    verifiers: usize,
}

impl Agenda {
    /// Nothing yet, for so many verifiers.
    pub fn new(seed: u64, verifiers: usize) -> Self {
        Agenda { moments: BTreeSet::new(), seeded: Seeded::new(seed), verifiers }
    }

    /// When something happens next.
    pub fn next(&self) -> Option<i64> {
        self.moments.first().map(|(at, _)| *at)
    }

    /// Takes the next one off.
    pub fn pop(&mut self) -> Option<(i64, What)> {
        self.moments.pop_first()
    }

    /// What is drawn by lot elsewhere.
    pub fn seeded(&mut self) -> &mut Seeded {
        &mut self.seeded
    }

    /// Adds one.
    pub fn add(&mut self, at: i64, what: What) {
        self.moments.insert((at, what));
    }

    /// A turn: a key signs from `from` to `to`.
    pub fn turn(&mut self, from: i64, to: i64) {
        let few = from + self.seeded.within(1..=60);
        let later = self.seeded.within(from + 3700..=to - 400);
        let before = to - self.seeded.within(2..=300);
        for (at, mints_once_in) in [(from, 1), (few, 2), (later, 1), (before, 2)] {
            if self.seeded.once_in(mints_once_in) {
                let any = self.seeded.within(600..=DAY);
                let seconds = self.seeded.one_of(&[600, 3600, any, DAY]);
                self.add(at, What::Mint(seconds));
            }
            self.add(at, What::Check);
        }
        self.add(later, What::Review);
        let keeps = self.seeded.one_of(&Kind::ALL).keeps().unwrap_or(MAX_AGE);
        let edge = keeps + self.seeded.within(-1..=1);
        self.add(from + edge.min(later - from), What::Check);
        // The last token of a key is the one for whose sake it stays published.
        self.add(to - 1, What::Mint(DAY));
        self.add(to - 1, What::Check);
        // Who fetches now is the last to hear of the key that is published at `to`.
        for which in 0..self.verifiers {
            if self.seeded.once_in(2) {
                self.add(to - 1, What::Restart(which));
            }
        }
    }

    /// A revocation at `at`: every verifier has fetched right before, and is asked around the end of its time.
    pub fn revocation(&mut self, at: i64, what: What) {
        for which in 0..self.verifiers {
            self.add(at - 1, What::Restart(which));
        }
        self.add(at - 1, What::Check);
        self.add(at, what);
        self.add(at, What::Mint(3600));
        self.add(at, What::Check);
        self.add(at, What::Review);
        for keeps in Kind::ALL.into_iter().filter_map(Kind::keeps) {
            self.add(at + keeps - 2, What::Check);
            self.add(at + keeps, What::Check);
        }
        self.add(at + 2 * MAX_AGE, What::Check);
    }

    /// The operator pokes after a revocation: at once, and as soon as it must have an effect on each kind.
    pub fn pokes(&mut self, at: i64) {
        for wait in Kind::ALL.into_iter().filter_map(Kind::asks_after) {
            for (moment, what) in [(0, What::Poke), (0, What::Check), (1, What::Check)] {
                self.add(at + wait + moment, what);
            }
        }
    }
}
