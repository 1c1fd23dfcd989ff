//! The epoch in memory: what new tokens are marked with, and what the next revocation is told from them by.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// A number that grows with every revocation of more than one token, and never falls.
///
/// No token is marked with more than what is on disk as the limit. So after a crash, when the limit is the epoch, no
/// token has a mark of an epoch to come, also none from between a revocation and its write.
#[derive(Debug, Default)]
pub struct Epochs {
    current: AtomicU32,
    limit: AtomicU32,
}

/// The last one. No token is ever marked with it, so that a revocation can still be told from every token. With
/// [`ROOM`] a start and one a revocation, nobody gets there.
const LAST: u32 = u32::MAX;
/// So far ahead the limit is written.
const ROOM: u32 = 64;

impl Epochs {
    /// What was on disk as the limit is the epoch of the start.
    pub(super) fn new(limit: u32) -> Self {
        Epochs { current: limit.into(), limit: limit.into() }
    }

    /// What a token is marked with that is issued now.
    pub fn current(&self) -> u32 {
        self.current.load(SeqCst)
    }

    /// The epoch of a revocation that begins now: more than every mark there is. As far as the limit lets it, the
    /// current one is raised with it; else that waits for [`Epochs::reach`].
    pub(super) fn begin(&self) -> u32 {
        let limit = self.limit.load(SeqCst);
        let raised = self.current.fetch_update(SeqCst, SeqCst, |now| (now < limit).then_some(now + 1));
        // Where it was not raised it is the limit's, which is below the last.
        let (Ok(before) | Err(before)) = raised;
        before.saturating_add(1)
    }

    /// Raises the current one to at least this, if the limit lets it; says whether it did.
    pub(super) fn reach(&self, epoch: u32) -> bool {
        let reaches = epoch <= self.limit.load(SeqCst);
        if reaches {
            self.current.fetch_max(epoch, SeqCst);
        }
        reaches
    }

    /// The limit to write, if there is little room left beyond an epoch.
    pub(super) fn wanted(&self, epoch: u32) -> Option<u32> {
        let wanted = epoch.saturating_add(ROOM).min(LAST - 1);
        let limit = self.limit.load(SeqCst);
        (limit < wanted && limit < epoch.saturating_add(ROOM / 2)).then_some(wanted)
    }

    /// That limit is on disk.
    pub(super) fn extend(&self, limit: u32) {
        self.limit.fetch_max(limit, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_grows_as_far_as_the_limit_that_is_on_disk() {
        let epochs = Epochs::new(7);
        assert_eq!((epochs.begin(), epochs.current()), (8, 7), "nothing is marked with what a crash forgets");
        assert!(!epochs.reach(8));
        assert_eq!(epochs.wanted(8), Some(8 + ROOM));
        epochs.extend(8 + ROOM);
        assert!(epochs.reach(8));
        assert_eq!((epochs.begin(), epochs.current()), (9, 9));
        assert!(epochs.reach(3));
        assert_eq!((epochs.current(), epochs.wanted(9)), (9, None), "never down; there is room");
        assert_eq!(epochs.wanted(9 + ROOM / 2), Some(9 + ROOM / 2 + ROOM));
    }

    #[test]
    fn the_last_epoch_refuses_rather_than_lets_in() {
        let epochs = Epochs::new(LAST - 3);
        epochs.extend(epochs.wanted(LAST - 2).unwrap());
        assert_eq!((epochs.begin(), epochs.begin(), epochs.begin()), (LAST - 2, LAST - 1, LAST));
        assert_eq!((epochs.begin(), epochs.current()), (LAST, LAST - 1), "more than any mark");
        assert_eq!((epochs.wanted(LAST), epochs.reach(LAST)), (None, false));
    }
}
