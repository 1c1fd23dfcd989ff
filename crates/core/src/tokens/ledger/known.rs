//! What is known of something that is to be revoked: asked before, so that a name that nobody has is not called revoked.
//! An emergency waits for no count: only what decides is looked up.

use super::{LedgerMode, REQUESTER, TokenLedger, failed};
use crate::error::{Error, Qualified};
use crate::keys::Origin;
use crate::ledger::{Filter, What};
use crate::tokens::times::LEEWAY;

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whether an unexpired token of it is on record; `None` where nobody has looked.
    pub on_record: Option<bool>,
    /// Whether the account or the pod is there now; `None` for what is no object.
    pub object: Option<bool>,
    /// Why a token could be out without being on record, one line; `None` when each one is on record.
    pub unsure: Option<String>,
}

impl TokenLedger {
    /// What is known of it now.
    ///
    /// # Errors
    /// The ledger is off. One that cannot be read keeps nothing from being revoked: then nobody knows.
    pub async fn known(&self, what: &What) -> Result<Known, Error> {
        if self.mode == LedgerMode::Off {
            return Err(self.no_revocations());
        }
        let there = |resource: &str, namespace: &str, name: &str| {
            Some(self.view.snapshot().get("", resource, namespace, name).is_some())
        };
        let object = match what {
            What::Account(a) => there("serviceaccounts", &a.namespace, &a.name),
            What::Pod(p) => there("pods", &p.namespace, &p.name),
            What::Jti(_) | What::Key(_) | What::Sha256(_) => None,
        };
        // Of one that is there it does not matter.
        let matters = object == Some(false) || matches!(what, What::Jti(_));
        let found = match self.mode {
            LedgerMode::Full if matters => self.ledger.list(&self.unexpired(what), 1, None).await.map(Some),
            LedgerMode::Full | LedgerMode::Off | LedgerMode::Revocations => Ok(None),
        };
        let found = found.map_err(|e| failed(e).to_string());
        let on_record = found.as_ref().ok().and_then(Option::as_ref).map(|page| !page.records.is_empty());
        Ok(Known { on_record, object, unsure: found.err().or_else(|| self.unsure()) })
    }

    /// How many of its unexpired tokens an API server elsewhere has issued, with this server's signature, as far as is on
    /// record. It never asks here, so it goes on taking them.
    pub async fn elsewhere(&self, what: &What) -> usize {
        if self.mode != LedgerMode::Full {
            return 0;
        }
        let filter = Filter { requester: Some(REQUESTER.into()), ..self.unexpired(what) };
        match self.ledger.count(&filter).await {
            Ok(counts) => counts.values().sum(),
            Err(e) => {
                tracing::warn!(cause = %e, "the tokens that were issued elsewhere could not be counted");
                0
            }
        }
    }

    fn unexpired(&self, what: &What) -> Filter {
        // A clock that differs takes it for a minute more.
        let from = self.clock.unix().saturating_sub(LEEWAY.whole_seconds());
        let mut filter = Filter { expires_from: Some(from), ..Filter::default() };
        match what {
            What::Account(account) => filter.account = Some(account.clone()),
            What::Jti(jti) => filter.jti = Some(jti.clone()),
            What::Key(key) => filter.key = Some(key.clone()),
            What::Pod(pod) => filter.pod = Some(pod.clone()),
            // Tokens in Secrets leave no records.
            What::Sha256(_) => filter.jti = Some(String::new()),
        }
        filter
    }

    fn unsure(&self) -> Option<String> {
        if self.mode != LedgerMode::Full {
            return Some(format!(
                "the server runs with --ledger={}, which keeps no records",
                self.mode.as_str()
            ));
        }
        let counts = self.ledger.counts();
        if counts.dropped > 0 {
            return Some(format!("{} records could not be written and are lost", counts.dropped));
        }
        if counts.damaged > 0 {
            return Some(format!("{} records are damaged", counts.damaged));
        }
        let keys = self.keys.current();
        let strange = |k: &&crate::keys::KeyInfo| k.phase != "revoked" && k.origin != Some(Origin::Generated);
        keys.infos().iter().find(strange).map(|key| {
            format!("key {} was not made here, and what it has signed elsewhere has no record here", key.id)
        })
    }
}

impl Known {
    /// Refuses what nobody has: to call it revoked would say what is not so. `strict` also refuses an account or a pod that
    /// is not there and has no token; without, its name covers what it may have had.
    ///
    /// # Errors
    /// There is nothing of that name.
    pub fn require(&self, what: &What, strict: bool) -> Result<(), Error> {
        let missing = |resource: &str, name: &str| {
            Err(Error::NotFound { resource: Qualified::new("", resource), name: name.to_owned() })
        };
        if self.on_record == Some(true) {
            return Ok(());
        }
        match what {
            What::Jti(jti) if self.unsure.is_none() => missing("tokens", shown(jti)),
            What::Account(account) if strict && self.object == Some(false) => {
                missing("serviceaccounts", &account.name)
            }
            What::Pod(pod) if strict && self.object == Some(false) => missing("pods", &pod.name),
            _ => Ok(()),
        }
    }
}

/// An id for answers and audit lines. What is longer than any may be a secret that was pasted.
pub fn shown(jti: &str) -> &str {
    const UUID: usize = 36;
    if jti.len() <= UUID { jti } else { "" }
}
