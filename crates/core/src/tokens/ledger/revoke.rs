//! Revoking: what it covers, and until when it must be kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{LedgerMode, TokenLedger, failed};
use crate::error::{Error, Qualified};
use crate::keys::{KeyInfo, Origin, ring::NEVER};
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
    /// Whether tokens without a mark may be out, of which some may be refused that were issued later.
    pub unmarked: bool,
}

impl TokenLedger {
    /// Revokes. When this returns, no covered token is accepted any more, not even after a crash. Whoever's caller may go away
    /// has it run as an errand ([`Errands`](crate::supervise::Errands)): dropped on its way, it may be in force and not on disk.
    ///
    /// # Errors
    /// There is nothing of that name, or it is not on disk: in force, but only until a restart.
    pub async fn revoke(&self, what: What, by: String, reason: String) -> Result<Revoked, Error> {
        if self.mode == LedgerMode::Off {
            return Err(self.no_revocations());
        }
        if let What::Key(kid) = &what
            && !self.keys.current().infos().iter().any(|k| k.id == *kid)
        {
            return Err(Error::NotFound { resource: Qualified::new("", "keys"), name: kid.clone() });
        }
        let mut revocation = self.enforce(what, by, reason);
        let bound = self.bound(&revocation.what).await;
        revocation.ahead = revocation.is_bulk().then(|| self.promised(&revocation.what));
        revocation.until = bound.max(self.latest());
        let digests = secrets::covered(&revocation.what, &self.view.snapshot(), &self.keys.current());
        let secret_tokens = digests.len();
        // The same bytes are the stolen token, whenever they come back.
        let of_secret = |digest| Revocation {
            what: What::Sha256(digest),
            until: NEVER,
            epoch: None,
            ahead: None,
            ..revocation.clone()
        };
        let mut all: Vec<_> = digests.into_iter().map(of_secret).collect();
        all.push(revocation.clone());
        let written = {
            all.iter().for_each(|r| drop(self.revocations.raise(r.clone())));
            // One at a time, and each as it is in memory then: what is written last has all that came before.
            let _one = self.writing.lock().await;
            if let Some(epoch) = revocation.epoch {
                // Where this fails, tokens that are covered wait for it.
                if let Err(e) = self.make_room(epoch).await {
                    tracing::warn!(cause = %e, "the limit of the tokens' marks could not be written");
                }
                self.epochs().reach(epoch);
            }
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
        let covered = Filter::covered(&revocation, self.epoch(), self.clock.unix());
        let covered = self.count(covered).await.unwrap_or_else(|e| {
            tracing::warn!(cause = %e, "the tokens that a revocation covers could not be counted");
            None
        });
        let unmarked = revocation.is_bulk() && (bound == NEVER || self.may_be_unmarked());
        Ok(Revoked { revocation: Arc::new(revocation), covered, secret_tokens, unmarked })
    }

    /// Puts a revocation into memory, before anything that may wait: what is signed from here on is not given away if
    /// it is covered, and what was signed before has had its expiry promised, so the bound that is read next holds for
    /// all.
    fn enforce(&self, what: What, by: String, reason: String) -> Revocation {
        let at = self.clock.unix();
        // How long it is to be kept is not known yet; nothing is dropped as soon as it might be.
        let mut revocation = Revocation { what, at, until: at, by, reason, epoch: None, ahead: None };
        revocation.epoch = revocation.is_bulk().then(|| self.epochs().begin());
        (*self.revocations.raise(revocation)).clone()
    }

    /// No covered token expires later, nor one that comes from it by exchange ([`Self::descends`]).
    async fn bound(&self, what: &What) -> i64 {
        self.own_bound(what).await.max(self.exchanged_until.load(Ordering::SeqCst))
    }

    /// No covered token expires later.
    async fn own_bound(&self, what: &What) -> i64 {
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
        let signed = keys.infos().iter().filter(|k| may_have_signed(what, k));
        // A key that did not grow up here may have signed elsewhere, until whenever.
        let last = signed.map(|k| match k.origin {
            Some(Origin::Generated) => k.last_exp.unwrap_or(i64::MIN),
            Some(Origin::File | Origin::Imported) | None => NEVER,
        });
        last.max().unwrap_or(NEVER).max(self.clock.unix())
    }

    /// No token without a mark that was signed here so far expires later, so one that does is newer. What another issuer
    /// signs with a key that it shares goes by its time: if its end counted too, nothing of it would be good any more.
    fn promised(&self, what: &What) -> i64 {
        let keys = self.keys.current();
        let signed = keys.infos().iter().filter(|k| may_have_signed(what, k));
        signed.filter_map(|k| k.last_exp).max().unwrap_or(i64::MIN).max(self.clock.unix())
    }

    /// Which accounts have unexpired tokens of a key, and how many; `None` when nobody has counted.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn accounts_with_tokens(
        &self,
        kid: &str,
    ) -> Result<Option<Vec<(NamespacedName, usize)>>, LedgerError> {
        let filter = Filter { key: Some(kid.to_owned()), ..Filter::default() };
        self.count(Filter { expires_from: Some(self.clock.unix()), ..filter }).await
    }

    async fn count(&self, filter: Filter) -> Result<Option<Vec<(NamespacedName, usize)>>, LedgerError> {
        if self.mode != LedgerMode::Full {
            return Ok(None);
        }
        Ok(Some(self.ledger.count(&filter).await?.into_iter().collect()))
    }
}

fn may_have_signed(what: &What, key: &KeyInfo) -> bool {
    match what {
        What::Key(kid) => key.id == *kid,
        What::Account(_) | What::Jti(_) | What::Pod(_) | What::Sha256(_) => true,
    }
}

const NOT_ON_DISK: &str = "the revocation is in force until a restart, but NOT on disk: free space, and revoke again; if \
    that does not help, restart and revoke again at once";
