//! The marks of tokens: what must outlive the process, and how older data comes to have them.
//!
//! Why no covered token can be given away once its revocation has returned, and none that is issued after it is covered:
//!
//! 1. A revocation takes an epoch that is more than every mark there is, raises the current one to it, and is in memory,
//!    before it waits for anything. Whoever signs with a mark that was read before is covered from then on: for every
//!    check of a token, and for the last look before it is given away, which comes after signing
//!    ([`TokenLedger::issued`]). Then it is signed again, with the mark of the new epoch.
//! 2. A mark that is read after that is not below the revocation's epoch, so what is signed with it is not covered.
//! 3. No mark is beyond the limit on disk ([`Epochs`]), and a restart begins with that limit, or with the latest epoch of
//!    a stored revocation where that is more: so 1 holds for what was signed before a crash, too, even between a
//!    revocation and its write.
//!
//! [`Epochs`]: crate::tokens::revocations::Revocations::epochs

use std::sync::atomic::Ordering;

use super::{LedgerError, LedgerMode, LedgerOpenError, TokenLedger};
use crate::error::Error;
use crate::keys::{KeySet, ring::NEVER};
use crate::ledger::{Ledger, Marks, Revocation};
use crate::tokens::epochs::Epochs;
use crate::tokens::times::LEEWAY;

/// What is kept of the marks, and of revocations that are older than marks.
///
/// Those have no epoch. All marks there are were set before them: only a version that knows marks sets some, and it gives
/// each revocation that it finds an epoch before it does. So they get the next one. What has no mark stays theirs by
/// `iat`, as it was meant.
pub(super) async fn open(
    ledger: &dyn Ledger,
    stored: &mut [Revocation],
    keys: &KeySet,
    now: i64,
) -> Result<Marks, LedgerOpenError> {
    let kept = ledger.marks().await?;
    let first = || Marks { unmarked_until: last_expiry(keys), settled: Some(now), ..Marks::default() };
    let mut marks = kept.unwrap_or_else(first);
    marks.limit = stored.iter().filter_map(|r| r.epoch).fold(marks.limit, u32::max);
    let mut older: Vec<_> = stored.iter_mut().filter(|r| r.is_bulk() && r.epoch.is_none()).collect();
    let write = async |marks| ledger.keep_marks(marks).await.map_err(LedgerOpenError::Write);
    if older.is_empty() && kept.is_none() {
        write(marks).await?;
    }
    if !older.is_empty() {
        marks.limit = marks.limit.saturating_add(1);
        older.iter_mut().for_each(|r| r.epoch = Some(marks.limit));
        let older: Vec<_> = older.into_iter().map(|r| r.clone()).collect();
        // First the limit: whatever a crash leaves of this is done anew.
        write(marks).await?;
        ledger.revoke(&older).await.map_err(LedgerOpenError::Write)?;
    }
    Ok(marks)
}

/// No token that was signed here with a known key expires later; `None` when none was signed.
fn last_expiry(keys: &KeySet) -> Option<i64> {
    let last = |undated, last_exp: Option<i64>| if undated { Some(NEVER) } else { last_exp };
    keys.infos().iter().filter_map(|k| last(k.undated, k.last_exp)).max()
}

impl TokenLedger {
    /// What a token is marked with that is signed now.
    pub(in crate::tokens) fn epoch(&self) -> u32 {
        self.epochs().current()
    }

    pub(super) fn epochs(&self) -> &Epochs {
        self.revocations.epochs()
    }

    /// Brings it about that tokens are marked with this epoch at least, which a revocation has. Nearly always they are;
    /// else the limit must be written first.
    pub(in crate::tokens) async fn reach(&self, epoch: u32) -> Result<(), Error> {
        if self.epochs().reach(epoch) {
            return Ok(());
        }
        let _one = self.writing.lock().await;
        if let Err(e) = self.make_room(epoch).await {
            super::failed(e);
        }
        match self.epochs().reach(epoch) {
            true => Ok(()),
            false => Err(Error::Unavailable(CANNOT_MARK.into())),
        }
    }

    /// Writes the limit ahead of an epoch if it is near. Under `writing`.
    pub(super) async fn make_room(&self, epoch: u32) -> Result<(), LedgerError> {
        if let Some(limit) = self.epochs().wanted(epoch) {
            self.ledger.keep_marks(Marks { limit, ..Marks::default() }).await?;
            self.epochs().extend(limit);
        }
        Ok(())
    }

    /// Makes room for the first revocations. On a full disk tokens go on, and those of an account that is revoked wait.
    pub(super) async fn make_first_room(&self) {
        if let Err(e) = self.make_room(self.epoch()).await {
            tracing::warn!(cause = %e, "the ledger cannot write: after the next revocation, its account gets no tokens until it can");
        }
    }

    /// A token without a mark is about to be given away: that is kept, so that revocations can say so. A day ahead, so
    /// that it is rarely written.
    pub(super) async fn unmarked(&self, expires_at: i64) {
        if expires_at <= self.unmarked_until.load(Ordering::SeqCst) {
            return;
        }
        let ahead = expires_at.saturating_add(DAY);
        let marks = Marks { unmarked_until: Some(ahead), ..Marks::default() };
        match self.ledger.keep_marks(marks).await {
            Ok(()) => drop(self.unmarked_until.fetch_max(ahead, Ordering::SeqCst)),
            // It is signed and good all the same, and covered by what its key has promised.
            Err(e) => tracing::warn!(cause = %e, "that tokens without a mark are out could not be written"),
        }
    }

    /// A token is about to be exchanged for one that expires then: that is kept, in every mode, so that what it comes from stays revoked
    /// for as long, whether or not tokens are exchanged by the time it is revoked. A day ahead, so that it is rarely written. Before it is
    /// signed: whoever revokes what it comes from after the last look at that has read this. And where records are kept that cannot be
    /// written just now, this is tried again, since the token's would be lost.
    ///
    /// # Errors
    /// It is not on disk: a revocation could be forgotten before its time, or the token's record.
    pub(in crate::tokens) async fn descends(&self, expires_at: i64) -> Result<(), Error> {
        let known = || {
            let recorded = self.mode != LedgerMode::Full || self.ledger.healthy();
            recorded && expires_at <= self.exchanged_until.load(Ordering::SeqCst)
        };
        if known() {
            return Ok(());
        }
        let _one = self.writing.lock().await;
        if known() {
            return Ok(());
        }
        let ahead = expires_at.saturating_add(DAY);
        let marks = Marks { exchanged_until: Some(ahead), ..Marks::default() };
        self.ledger.keep_marks(marks).await.map_err(|e| {
            super::failed(e);
            Error::Unavailable(
                "the token ledger cannot be written, and exchanged tokens could not be kept track of".into(),
            )
        })?;
        self.exchanged_until.fetch_max(ahead, Ordering::SeqCst);
        Ok(())
    }

    /// Whether tokens without a mark may be out, that were signed here.
    pub(super) fn may_be_unmarked(&self) -> bool {
        self.unmarked_until.load(Ordering::SeqCst) >= self.clock.unix() - LEEWAY.whole_seconds()
    }
}

const DAY: i64 = 86_400;

const CANNOT_MARK: &str = "tokens of this account, pod or key have just been revoked, and new ones cannot be told from them \
    while the token ledger cannot be written: free space";
