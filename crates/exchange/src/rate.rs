//! How often a subject may have tokens by a rule: so many at once, and one more each time that a share of the period has passed
//! (the generic cell rate algorithm). By the clock that no time server sets.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// `count` tokens in each `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) count: u32,
    pub(crate) per: Duration,
}

/// Who has had tokens lately. In pieces, so that one subject waits for few others.
pub(crate) struct Rates {
    hash: RandomState,
    pieces: Vec<Mutex<Piece>>,
}

#[derive(Default)]
struct Piece {
    /// When a subject will have had nothing lately.
    free_at: HashMap<Box<str>, Duration>,
    /// When those that are free were forgotten last.
    swept: Duration,
}

const PIECES: usize = 16;
/// As many subjects are remembered in each piece; each of them has shown a token that holds.
const MOST: usize = 1 << 16;
/// With fewer none is forgotten, and no more often than so.
const SOME: usize = 1024;
const SWEEP: Duration = Duration::from_secs(1);

impl Rates {
    pub(crate) fn new() -> Self {
        Rates { hash: RandomState::new(), pieces: (0..PIECES).map(|_| Mutex::default()).collect() }
    }

    /// Takes one. `Err`: how long to wait.
    pub(crate) fn take(&self, rate: Rate, rule: &str, subject: &str, now: Duration) -> Result<(), Duration> {
        let key: Box<str> = format!("{rule} {subject}").into();
        let share = rate.per.checked_div(rate.count).unwrap_or(rate.per);
        let at = usize::try_from(self.hash.hash_one(&key)).unwrap_or(0) % PIECES;
        let Some(piece) = self.pieces.get(at) else { return Ok(()) };
        let mut piece = piece.lock().unwrap_or_else(PoisonError::into_inner);
        let free_at = piece.free_at.get(&key).copied().unwrap_or(now).max(now);
        let next = free_at.saturating_add(share);
        if next > now.saturating_add(rate.per) {
            return Err(next.saturating_sub(now.saturating_add(rate.per)));
        }
        if piece.free_at.len() >= SOME && now.saturating_sub(piece.swept) >= SWEEP {
            piece.free_at.retain(|_, free_at| *free_at > now);
            piece.swept = now;
        }
        if piece.free_at.len() >= MOST && !piece.free_at.contains_key(&key) {
            // Nobody's rate is forgotten for somebody else's sake.
            return Err(rate.per);
        }
        piece.free_at.insert(key, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_by_one() {
        let (rates, rate) = (Rates::new(), Rate { count: 3, per: Duration::from_secs(30) });
        let take = |subject, at| rates.take(rate, "r", subject, Duration::from_secs(at));
        for _ in 0..3 {
            assert_eq!(take("a", 100), Ok(()));
        }
        assert_eq!(take("a", 100), Err(Duration::from_secs(10)));
        assert_eq!(take("b", 100), Ok(()), "another subject");
        assert_eq!(take("a", 109), Err(Duration::from_secs(1)));
        assert_eq!((take("a", 110), take("a", 110)), (Ok(()), Err(Duration::from_secs(10))));
        for _ in 0..3 {
            assert_eq!(take("a", 1000), Ok(()));
        }
        assert!(take("a", 1000).is_err());
    }

    #[test]
    fn memory_has_a_bound_and_those_who_are_in_it_go_on() {
        let (rates, rate) = (Rates::new(), Rate { count: 2, per: Duration::from_secs(60) });
        let take = |n: usize, at| rates.take(rate, "r", &n.to_string(), Duration::from_secs(at)).is_ok();
        let all = PIECES * MOST + PIECES * 1000;
        assert!((0..all).filter(|n| take(*n, 10)).count() <= PIECES * MOST);
        assert_eq!(rates.pieces.iter().map(|p| p.lock().unwrap().free_at.len()).max(), Some(MOST));
        assert!(take(0, 10) && !take(all + 1, 11));
        assert!(take(all + 1, 200), "what is free makes room");
    }
}
