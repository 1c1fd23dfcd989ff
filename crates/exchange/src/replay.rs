//! Assertions that count once (RFC 7523 §3, item 7): the ids of those that were used, until they expire. In memory: a restart
//! forgets them, and so does a replica.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

/// What was used.
pub(crate) struct Used {
    hash: RandomState,
    pieces: Vec<Mutex<Piece>>,
}

#[derive(Default)]
struct Piece {
    /// By the hash of issuer and id, until when it could be used.
    until: HashMap<[u8; 32], i64>,
    /// When those that have expired were forgotten last.
    swept: i64,
}

const PIECES: usize = 16;
/// As many are remembered in each piece. Beyond that none is taken: what is forgotten could come back.
const MOST: usize = 1 << 16;
/// With fewer none is forgotten.
const SOME: usize = 1024;

/// What becomes of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It has not been used.
    First,
    /// It has.
    Again,
    /// There is no room to remember it.
    Full,
}

impl Used {
    pub(crate) fn new() -> Self {
        Used { hash: RandomState::new(), pieces: (0..PIECES).map(|_| Mutex::default()).collect() }
    }

    /// Uses one that counts until a time, Unix seconds.
    pub(crate) fn note(&self, issuer: &str, id: &str, until: i64, now: i64) -> Use {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, format!("{}\n{issuer}\n{id}", issuer.len()).as_bytes()).as_ref());
        let at = usize::try_from(self.hash.hash_one(key)).unwrap_or(0) % PIECES;
        let Some(piece) = self.pieces.get(at) else { return Use::Full };
        let mut piece = piece.lock().unwrap_or_else(PoisonError::into_inner);
        if piece.until.get(&key).is_some_and(|until| *until >= now) {
            return Use::Again;
        }
        // By the wall clock, which may be set back.
        if piece.until.len() >= SOME && piece.swept != now {
            piece.until.retain(|_, until| *until >= now);
            piece.swept = now;
        }
        if piece.until.len() >= MOST {
            return Use::Full;
        }
        piece.until.insert(key, until);
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7523_3_7_an_id_counts_once_until_its_end() {
        let used = Used::new();
        assert_eq!((used.note("i", "a", 10, 1), used.note("i", "a", 10, 10)), (Use::First, Use::Again));
        assert_eq!((used.note("j", "a", 10, 1), used.note("i", "b", 10, 1)), (Use::First, Use::First));
        assert_eq!(used.note("i", "a", 30, 11), Use::First, "what has expired is refused by its time");
    }

    #[test]
    fn memory_has_a_bound_and_none_in_it_counts_again() {
        let used = Used::new();
        let all = PIECES * MOST + PIECES * 1000;
        let first = (0..all).filter(|n| used.note("i", &n.to_string(), 100, 1) == Use::First).count();
        assert!(first <= PIECES * MOST);
        assert_eq!(used.pieces.iter().map(|p| p.lock().unwrap().until.len()).max(), Some(MOST));
        assert_eq!((used.note("i", "0", 100, 2), used.note("i", "new", 100, 2)), (Use::Again, Use::Full));
        assert_eq!(used.note("i", "new", 300, 101), Use::First, "what has expired makes room");
    }
}
