//! Revoking: what it covers, and until when it must be kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{LedgerMode, TokenLedger, failed};
use crate::error::{Error, Qualified};
use crate::keys::{Origin, ring::NEVER};
use crate::ledger::{Filter, Issued, LedgerError, NamespacedName, Revocation, What};
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
        let _one = self.revoking.lock().await;
        let before = self.revocations.get(&what);
        // A clock that was set back must not take back what was revoked.
        let at = self.clock.unix().max(before.as_ref().map_or(i64::MIN, |r| r.at));
        let mut revocation = Revocation { what, at, until: NEVER, by, reason };
        // In memory first: what is signed from here on is not given away if it is covered, and what was signed before
        // has had its expiry promised, so the bound that is read next holds for all.
        self.revocations.insert(revocation.clone());
        let done = async {
            let until = self.bound(&revocation.what).await?;
            revocation.until = until.max(before.as_ref().map_or(i64::MIN, |r| r.until));
            let digests = secrets::covered(&revocation.what, &self.view.snapshot(), &self.keys.current());
            let of = |digest| {
                let what = What::Sha256(digest);
                // The same bytes are the stolen token, whenever they come back.
                self.revocations.get(&what).map_or_else(
                    || Revocation { what, until: NEVER, ..revocation.clone() },
                    |known| (*known).clone(),
                )
            };
            let of_secrets: Vec<_> = digests.into_iter().map(of).collect();
            let mut all = of_secrets.clone();
            all.push(revocation.clone());
            self.ledger.revoke(&all).await.map(|()| of_secrets)
        };
        let of_secrets = match done.await {
            Ok(of_secrets) => of_secrets,
            Err(e) => {
                match before {
                    Some(before) => self.revocations.insert((*before).clone()),
                    None => self.revocations.remove(&revocation.what),
                }
                return Err(failed(e));
            }
        };
        let secret_tokens = of_secrets.len();
        of_secrets.into_iter().for_each(|r| self.revocations.insert(r));
        self.revocations.insert(revocation.clone());
        // It stands. That what it covers could not be counted does not make it a failure.
        let covered = self.covered(&revocation.what, at).await.unwrap_or_else(|e| {
            tracing::warn!(cause = %e, "the tokens that a revocation covers could not be counted");
            None
        });
        Ok(Revoked { revocation: Arc::new(revocation), covered, secret_tokens })
    }

    /// No covered token expires later.
    async fn bound(&self, what: &What) -> Result<i64, LedgerError> {
        if let What::Jti(jti) = what {
            let filter = Filter { jti: Some(jti.clone()), ..Filter::default() };
            let found = self.ledger.list(&filter, usize::MAX, None).await?;
            if let Some(last) = found.records.iter().map(|r| r.expires_at).max() {
                return Ok(last);
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
        Ok(last.max().unwrap_or(NEVER).max(self.clock.unix()))
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
        let (mut counts, mut after) = (BTreeMap::new(), None);
        loop {
            let page = self.ledger.list(&filter, PAGE, after.as_ref()).await?;
            after = page.records.last().map(Issued::position);
            for record in page.records {
                *counts.entry(record.account).or_insert(0) += 1;
            }
            if !page.more {
                return Ok(Some(counts.into_iter().collect()));
            }
        }
    }
}

/// Records that are read at once when all are counted.
const PAGE: usize = 4096;
