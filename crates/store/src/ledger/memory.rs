//! A ledger that ends with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokensmith_core::ledger::{
    Counts, Filter, Issued, Ledger, LedgerError, Marks, NamespacedName, PAGE_BYTES, Page, Position,
    Revocation, What,
};

/// The `Ledger` port in memory.
#[derive(Default)]
pub struct MemoryLedger(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    issued: BTreeMap<Position, Issued>,
    revocations: BTreeMap<What, Revocation>,
    marks: Option<Marks>,
    written: u64,
}

impl MemoryLedger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn record(&self, issued: Issued) {
        let mut kept = self.kept();
        kept.issued.insert(issued.position(), issued);
        kept.written += 1;
    }

    async fn list(
        &self,
        filter: &Filter,
        limit: usize,
        after: Option<&Position>,
    ) -> Result<Page, LedgerError> {
        let kept = self.kept();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = kept
            .issued
            .range::<Position, _>((start, Bound::Unbounded))
            .filter(|(position, issued)| filter.reaches(position) && filter.matches(issued));
        let (mut page, mut bytes) = (Page::default(), 0);
        for (_, issued) in found {
            if page.records.len() == limit || bytes > PAGE_BYTES {
                page.more = true;
                break;
            }
            bytes += issued.size();
            page.records.push(issued.clone());
        }
        Ok(page)
    }

    async fn count(&self, filter: &Filter) -> Result<BTreeMap<NamespacedName, usize>, LedgerError> {
        let mut counts = BTreeMap::new();
        let kept = self.kept();
        let all = kept.issued.iter().filter(|(position, _)| filter.reaches(position));
        for (_, issued) in all.filter(|(_, issued)| filter.matches(issued)) {
            *counts.entry(issued.account.clone()).or_insert(0) += 1;
        }
        Ok(counts)
    }

    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), LedgerError> {
        self.kept().revocations.extend(revocations.iter().map(|r| (r.what.clone(), r.clone())));
        Ok(())
    }

    async fn revocations(&self) -> Result<Vec<Revocation>, LedgerError> {
        Ok(self.kept().revocations.values().cloned().collect())
    }

    async fn marks(&self) -> Result<Option<Marks>, LedgerError> {
        Ok(self.kept().marks)
    }

    async fn keep_marks(&self, marks: Marks) -> Result<(), LedgerError> {
        let mut kept = self.kept();
        kept.marks = Some(kept.marks.unwrap_or_default().join(marks));
        Ok(())
    }

    async fn prune(&self, expired: i64, kept_until: i64) -> Result<usize, LedgerError> {
        let mut kept = self.kept();
        let left = kept.issued.split_off(&Position { expires_at: expired, jti: String::new() });
        let gone = std::mem::replace(&mut kept.issued, left).len();
        kept.revocations.retain(|_, r| r.until >= kept_until);
        Ok(gone)
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn counts(&self) -> Counts {
        Counts { written: self.kept().written, ..Counts::default() }
    }

    fn healthy(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::ledger::contract::run(|| async { MemoryLedger::new() }).await;
    }
}
