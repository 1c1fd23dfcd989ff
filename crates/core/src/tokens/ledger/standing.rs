//! How a token on record stands: what a review would say of it, asked of the same things.

use time::OffsetDateTime;

use super::{REQUESTER, TokenLedger};
use crate::keys::KeySet;
use crate::ledger::Issued;
use crate::tokens::claims::{Private, Reference};
use crate::tokens::live;
use crate::tokens::revocations::Subject;
use crate::view::Snapshot;

/// How a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is accepted.
    Accepted,
    /// An API server elsewhere issued it, and decides.
    Elsewhere,
    /// Its account, what it is bound to, or its key is gone. Why, in a review's words where there are some.
    Refused(String),
    /// It is revoked.
    Revoked,
}

/// The moment at which tokens are judged, the same for all of a page.
pub struct Moment<'a> {
    objects: std::sync::Arc<Snapshot>,
    keys: std::sync::Arc<KeySet>,
    now: OffsetDateTime,
    ledger: &'a TokenLedger,
}

impl TokenLedger {
    /// Now.
    pub fn moment(&self) -> Moment<'_> {
        Moment {
            objects: self.view.snapshot(),
            keys: self.keys.current(),
            now: self.clock.now(),
            ledger: self,
        }
    }
}

impl Moment<'_> {
    /// How a token stands that was issued and has not expired.
    pub fn standing(&self, issued: &Issued) -> Standing {
        let subject = Subject {
            jti: &issued.jti,
            namespace: &issued.account.namespace,
            account: &issued.account.name,
            pod: issued.pod(),
            kid: &issued.kid,
            issued_at: issued.issued_at,
            expires_at: issued.expires_at,
        };
        if self.ledger.revocations.covering(&subject).is_some() {
            return Standing::Revoked;
        }
        if self.keys.candidates(Some(&issued.kid)).next().is_none() {
            return Standing::Refused("its key is revoked or gone".into());
        }
        if issued.requester == REQUESTER {
            return Standing::Elsewhere;
        }
        let held = match &issued.exchanged {
            None => live::check(&private(issued), &self.objects, self.now),
            Some(of) => of.tie.check(&self.objects, &self.keys, &self.ledger.revocations, self.now),
        };
        match held {
            Ok(()) => Standing::Accepted,
            Err(refused) => Standing::Refused(refused.to_string()),
        }
    }
}

fn private(issued: &Issued) -> Private {
    let bound = |kind: &str| {
        let to = issued.bound.as_ref().filter(|to| to.kind == kind)?;
        Some(Reference::new(to.name.as_str(), to.uid.as_str()))
    };
    Private {
        namespace: issued.account.namespace.clone(),
        node: bound("Node"),
        pod: bound("Pod"),
        secret: bound("Secret"),
        account: Reference::new(issued.account.name.as_str(), issued.uid.as_str()),
        warn_after: None,
    }
}
