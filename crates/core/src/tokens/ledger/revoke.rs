//! Revoking: what it covers, and until when it must be kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{LedgerMode, TokenLedger, failed};
use crate::error::{Error, Qualified};
use crate::keys::{Origin, ring::NEVER};
use crate::ledger::{Filter, LedgerError, NamespacedName, Revocation, What};
use crate::tokens::secrets;

/// A revocation that is in force, and what it covers.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// It.
    pub revocation: Arc<Revocation>,
    /// Unexpired tokens that it covers, by account; `None` when nobody has counted issued tokens.
    pub covered: Option<Vec<(NamespacedName, usize)>>,
    /// Tokens in Secrets that were revoked with it, by their bytes.
    pub secret_tokens: usize,
}

impl TokenLedger {
    /// Revokes. When this returns, no covered token is accepted any more, not even after a crash. What has been begun
    /// is finished even if the caller goes away.
    ///
    /// # Errors
    /// There is nothing of that name, or it is not on disk: in force, but only until a restart.
    pub async fn revoke(self: &Arc<Self>, what: What, by: String, reason: String) -> Result<Revoked, Error> {
        if self.mode == LedgerMode::Off {
            return Err(self.no_revocations());
        }
        let ledger = Arc::clone(self);
        let task = tokio::spawn(async move { ledger.finish(what, by, reason).await });
        task.await.map_err(|e| Error::internal("the revocation did not end", e))?
    }

    async fn finish(&self, what: What, by: String, reason: String) -> Result<Revoked, Error> {
        if let What::Key(kid) = &what
            && !self.keys.current().infos().iter().any(|k| k.id == *kid)
        {
            return Err(Error::NotFound { resource: Qualified::new("", "keys"), name: kid.clone() });
        }
        let mut revocation = self.enforce(what, by, reason);
        revocation.until = self.bound(&revocation.what).await;
        let digests = secrets::covered(&revocation.what, &self.view.snapshot(), &self.keys.current());
        let secret_tokens = digests.len();
        // The same bytes are the stolen token, whenever they come back.
        let of_secret =
            |digest| Revocation { what: What::Sha256(digest), until: NEVER, ..revocation.clone() };
        let mut all: Vec<_> = digests.into_iter().map(of_secret).collect();
        all.push(revocation.clone());
        let written = {
            all.iter().for_each(|r| drop(self.revocations.raise(r.clone())));
            // One at a time, and each as it is in memory then: what is written last has all that came before.
            let _one = self.writing.lock().await;
            let all: Vec<_> = all.into_iter().map(|r| (*self.revocations.raise(r)).clone()).collect();
            self.ledger.revoke(&all).await.map(|()| all)
        };
        let revocation = match written {
            Ok(mut all) => all.pop().unwrap_or(revocation),
            Err(e) => {
                failed(e);
                return Err(Error::Unavailable(NOT_ON_DISK.into()));
            }
        };
        // It stands. That what it covers could not be counted does not make it a failure.
        let covered = self.covered(&revocation.what, revocation.at).await.unwrap_or_else(|e| {
            tracing::warn!(cause = %e, "the tokens that a revocation covers could not be counted");
            None
        });
        Ok(Revoked { revocation: Arc::new(revocation), covered, secret_tokens })
    }

    /// Puts a revocation into memory, before anything that may wait: what is signed from here on is not given away if
    /// it is covered, and what was signed before has had its expiry promised, so the bound that is read next holds for
    /// all.
    fn enforce(&self, what: What, by: String, reason: String) -> Revocation {
        let raise = |at, revocation: Revocation| {
            // How long it is to be kept is not known yet; nothing is dropped as soon as it might be.
            (*self.revocations.raise(Revocation { at, until: at, ..revocation })).clone()
        };
        let now = self.clock.unix();
        let first = raise(now, Revocation { what, at: now, until: now, by, reason });
        // The clock may have gone back: what was issued before is covered all the same. Read when the revocation is in
        // memory, so that a token whose time is not seen here sees the revocation.
        raise(now.max(self.newest.load(Ordering::SeqCst)), first)
    }

    /// No covered token expires later.
    async fn bound(&self, what: &What) -> i64 {
        // The same bytes may come back whenever their Secret does.
        if matches!(what, What::Sha256(_)) {
            return NEVER;
        }
        if let What::Jti(jti) = what {
            let filter = Filter { jti: Some(jti.clone()), ..Filter::default() };
            let found = self.ledger.list(&filter, usize::MAX, None).await;
            let records = found.map(|page| page.records).unwrap_or_else(|e| {
                tracing::warn!(cause = %e, "the record of a revoked token could not be read");
                Vec::new()
            });
            if let Some(last) = records.iter().map(|r| r.expires_at).max() {
                return last;
            }
        }
        let keys = self.keys.current();
        let signed = keys.infos().iter().filter(|k| match what {
            What::Key(kid) => k.id == *kid,
            _ => true,
        });
        // A key that did not grow up here may have signed elsewhere, until whenever.
        let last = signed.map(|k| match k.origin {
            Some(Origin::Generated) => k.last_exp.unwrap_or(i64::MIN),
            Some(Origin::File | Origin::Imported) | None => NEVER,
        });
        last.max().unwrap_or(NEVER).max(self.clock.unix())
    }

    /// Which accounts have unexpired tokens of a key, and how many; `None` when nobody has counted.
    pub async fn accounts_with_tokens(
        &self,
        kid: &str,
    ) -> Result<Option<Vec<(NamespacedName, usize)>>, LedgerError> {
        self.covered(&What::Key(kid.to_owned()), i64::MAX).await
    }

    async fn covered(
        &self,
        what: &What,
        at: i64,
    ) -> Result<Option<Vec<(NamespacedName, usize)>>, LedgerError> {
        if self.mode != LedgerMode::Full {
            return Ok(None);
        }
        let filter = Filter::covered(what, at, self.clock.unix());
        let counts = self.ledger.count(&filter).await?;
        Ok(Some(counts.into_iter().collect()))
    }
}

const NOT_ON_DISK: &str = "the revocation is in force until a restart, but NOT on disk: free space, and revoke again; if \
    that does not help, restart and revoke again at once";
