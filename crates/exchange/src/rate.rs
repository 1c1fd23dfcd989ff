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
    /// At so many those that are free are forgotten.
    sweep: usize,
}

const PIECES: usize = 16;
/// As many subjects are remembered in each piece; each of them has shown a token that holds.
const MOST: usize = 1 << 16;

impl Rates {
    pub(crate) fn new() -> Self {
        Rates { hash: RandomState::new(), pieces: (0..PIECES).map(|_| Mutex::default()).collect() }
    }

    /// Takes one. `Err`: how long to wait.
    pub(crate) fn take(&self, rate: Rate, rule: &str, subject: &str, now: Duration) -> Result<(), Duration> {
        let key: Box<str> = format!("{rule} {subject}").into();
        let share = rate.per / rate.count.max(1);
        let at = usize::try_from(self.hash.hash_one(&key)).unwrap_or(0) % PIECES;
        let Some(piece) = self.pieces.get(at) else { return Ok(()) };
        let mut piece = piece.lock().unwrap_or_else(PoisonError::into_inner);
        let free_at = piece.free_at.get(&key).copied().unwrap_or(now).max(now);
        let next = free_at.saturating_add(share);
        if next > now.saturating_add(rate.per) {
            return Err(next.saturating_sub(now.saturating_add(rate.per)));
        }
        if piece.free_at.len() >= piece.sweep.max(1024) {
            piece.free_at.retain(|_, free_at| *free_at > now);
            piece.sweep = piece.free_at.len().saturating_mul(2);
            if piece.free_at.len() >= MOST {
                // Nobody's rate is forgotten for somebody else's sake.
                return Err(rate.per);
            }
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
}
