//! The ledger port: which tokens were issued, and which of them are revoked.
//!
//! No object and no part of the [`Store`](crate::store::Store): no revisions and no watch, so that minting never moves
//! `resourceVersion`. An issue record is handed over and on disk within 100 ms, as long as a write to it takes less than
//! 35 ms; a revocation is on disk before it is acknowledged. Who decides what a revocation covers is [`tokens::revocations`](crate::tokens::revocations).
//! The contract suite in `tokensmith-store` runs on every backend.

mod issued;
pub mod jti;
mod marks;
mod revocation;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use issued::{BoundTo, Covered, Exchanged, Filter, Issued, PAGE_BYTES, Page, Position};
pub use marks::Marks;
pub use revocation::{Age, NamespacedName, NotNamespaced, Revocation, What};

/// Why the ledger could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The backend failed; nothing was acknowledged.
    #[error("the ledger failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored makes no sense.
    #[error("the ledger holds what cannot be read")]
    Corrupt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not all that was recorded is on disk.
    #[error("the ledger cannot write")]
    Failed,
}

/// What has become of the issue records since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Brought to disk.
    pub written: u64,
    /// Lost, since the disk could not be written.
    pub dropped: u64,
    /// Found on disk and damaged: left out of every answer.
    pub damaged: u64,
}

/// Persistent issue records and revocations.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Takes down an issued token. Waits for room in the queue, never for the disk.
    async fn record(&self, issued: Issued);

    /// The records that the filter lets through and that come after `after`, by [`Position`], at most `limit` of them,
    /// and fewer where they are large ([`PAGE_BYTES`]).
    /// Shows everything that was recorded before the call and could be written.
    async fn list(
        &self,
        filter: &Filter,
        limit: usize,
        after: Option<&Position>,
    ) -> Result<Page, LedgerError>;

    /// How many records the filter lets through, by account. Takes memory for the accounts alone.
    async fn count(&self, filter: &Filter) -> Result<BTreeMap<NamespacedName, usize>, LedgerError>;

    /// Writes revocations, all or none, each in the place of any other of the same [`What`]. They are on disk when this
    /// returns.
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), LedgerError>;

    /// All revocations, in no particular order.
    async fn revocations(&self) -> Result<Vec<Revocation>, LedgerError>;

    /// What was kept of the marks; `None` before the first time.
    async fn marks(&self) -> Result<Option<Marks>, LedgerError>;

    /// Keeps that, [joined](Marks::join) with what was kept before. On disk when this returns; nothing forgets it.
    async fn keep_marks(&self, marks: Marks) -> Result<(), LedgerError>;

    /// Forgets the records that expired before one time, and the revocations that were to be kept until before another
    /// (Unix seconds). Says how many records went.
    async fn prune(&self, expired: i64, kept_until: i64) -> Result<usize, LedgerError>;

    /// Brings to disk what has been recorded; for tests and the end.
    async fn flush(&self) -> Result<(), LedgerError>;

    /// How many records were written and lost.
    fn counts(&self) -> Counts;

    /// Whether the last write succeeded. One that failed is tried again.
    fn healthy(&self) -> bool;
}
