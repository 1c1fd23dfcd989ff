//! The token ledger at work: which tokens there are, which are revoked, and until when a revocation must be kept.

mod elsewhere;
mod known;
mod marks;
mod own;
mod revoke;
mod settled;
mod standing;

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use time::{Duration, OffsetDateTime};

use super::claims::{Bound, Claims};
use super::revocations::{Revocations, Subject};
use super::times::LEEWAY;
use crate::clock::Clock;
use crate::error::Error;
use crate::keys::Keys;
use crate::ledger::{
    BoundTo, Counts, Filter, Issued, Ledger, LedgerError, Marks, NamespacedName, Page, Position, Revocation,
    What,
};
use crate::object_timestamp;
use crate::view::View;
pub use elsewhere::REQUESTER;
pub use known::{Known, shown};
pub use own::Own;
pub use revoke::Revoked;
use settled::Settled;
pub use standing::Standing;

/// What is written down (`--ledger`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LedgerMode {
    /// Every issued token, and revocations.
    #[default]
    Full,
    /// Nothing.
    Off,
    /// Revocations alone.
    Revocations,
}

impl LedgerMode {
    /// As the flag has it.
    pub fn as_str(self) -> &'static str {
        match self {
            LedgerMode::Full => "full",
            LedgerMode::Off => "off",
            LedgerMode::Revocations => "revocations",
        }
    }
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerOpenError {
    /// It cannot be read.
    #[error(
        "cannot read the ledger, and what is revoked would be accepted again without it: put the store back from a backup"
    )]
    Ledger(#[from] LedgerError),
    /// What revocations are told from new tokens by cannot be written.
    #[error(
        "cannot write the ledger, and new tokens could not be told from revoked ones without it: free space"
    )]
    Write(#[source] LedgerError),
    /// Without a ledger, what is revoked would be accepted again.
    #[error(
        "{}{}: with --ledger=off, what is revoked would be accepted again; start it with --ledger=revocations or --ledger=full",
        in_force(*count),
        until(*last)
    )]
    Revoked {
        /// How many revocations are in force.
        count: usize,
        /// The latest time until which one of them is kept, Unix seconds.
        last: i64,
    },
}

fn in_force(count: usize) -> String {
    if count == 1 { "a revocation is in force ".into() } else { format!("{count} revocations are in force ") }
}

fn until(last: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(last) {
        Ok(at) => format!("until {}", object_timestamp(at)),
        Err(_) => "for ever".into(),
    }
}

/// The ledger of one server.
pub struct TokenLedger {
    ledger: Arc<dyn Ledger>,
    mode: LedgerMode,
    revocations: Arc<Revocations>,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    view: Arc<View>,
    /// No token without a mark that was signed here expires later, Unix seconds.
    unmarked_until: AtomicI64,
    settled: Mutex<Settled>,
    /// No token that came of another one by exchange expires later, Unix seconds.
    exchanged_until: AtomicI64,
    /// Held while a revocation or the limit of marks is written, and no longer.
    writing: tokio::sync::Mutex<()>,
}

impl TokenLedger {
    /// Loads the revocations.
    ///
    /// # Errors
    /// The ledger cannot be read or written; or it has revocations in force, and `mode` would have nobody obey them.
    pub async fn open(
        ledger: Arc<dyn Ledger>,
        mode: LedgerMode,
        clock: Arc<dyn Clock>,
        keys: Arc<Keys>,
        view: Arc<View>,
    ) -> Result<Arc<Self>, LedgerOpenError> {
        let now = clock.unix();
        let mut stored = ledger.revocations().await?;
        // Those of tokens in Secrets are for ever, and cost nothing: they are obeyed in every mode.
        let counts = |r: &&Revocation| {
            !matches!(r.what, What::Sha256(_)) && r.until >= now.saturating_sub(LEEWAY.whole_seconds())
        };
        let in_force: Vec<_> = stored.iter().filter(counts).collect();
        if let (LedgerMode::Off, Some(last)) = (mode, in_force.iter().map(|r| r.until).max()) {
            return Err(LedgerOpenError::Revoked { count: in_force.len(), last });
        }
        let marks = marks::open(&*ledger, &mut stored, &keys.current(), now).await?;
        let mut settled = Settled::new(marks.settled, now, clock.monotonic());
        let kept_until = settled.look(now, clock.monotonic()).saturating_sub(KEEP.whole_seconds());
        stored.retain(|r| r.until >= kept_until);
        let opened = Arc::new(TokenLedger {
            ledger,
            mode,
            revocations: Arc::new(Revocations::new(stored, marks.limit)),
            clock,
            keys,
            view,
            unmarked_until: AtomicI64::new(marks.unmarked_until.unwrap_or(i64::MIN)),
            settled: Mutex::new(settled),
            exchanged_until: AtomicI64::new(marks.exchanged_until.unwrap_or(i64::MIN)),
            writing: Default::default(),
        });
        if mode != LedgerMode::Off {
            opened.make_first_room().await;
        }
        Ok(opened)
    }

    /// What is revoked.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// What is written down.
    pub fn mode(&self) -> LedgerMode {
        self.mode
    }

    /// How many records were written and lost.
    pub fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    /// What keeps the ledger from doing its work, for readiness. Tokens go on: they are signed and checked without it.
    pub fn problem(&self) -> Option<String> {
        let failed = self.mode != LedgerMode::Off && !self.ledger.healthy();
        failed.then(|| "the ledger cannot write: issue records will be lost".into())
    }

    /// Takes down a token that was signed and not yet given away. Asked after signing, so that a revocation that came
    /// meanwhile counts too: then nothing is taken down, and the token is to be signed again, with the mark that this
    /// gives or a later one.
    pub(super) async fn issued(&self, requester: &str, claims: &Claims<'_>, kid: &str) -> Option<u32> {
        if self.mode == LedgerMode::Off {
            return None;
        }
        let subject = Subject {
            jti: claims.id,
            namespace: claims.namespace,
            account: &claims.account.name,
            pod: match claims.bound {
                Some(Bound::Pod { pod, .. }) => Some(&pod.name),
                _ => None,
            },
            kid,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
        };
        if let Some(epoch) = self.revocations.beyond(&subject) {
            return Some(epoch);
        }
        if self.mode == LedgerMode::Full {
            let issued = Issued {
                jti: claims.id.to_owned(),
                account: NamespacedName::new(claims.namespace, claims.account.name.as_str()),
                uid: claims.account.uid.clone(),
                bound: claims.bound.map(BoundTo::from),
                audiences: claims.audiences.to_vec(),
                audiences_cut: false,
                kid: kid.to_owned(),
                issued_at: claims.issued_at,
                expires_at: claims.expires_at,
                requester: requester.to_owned(),
                exchanged: None,
            };
            self.ledger.record(issued.bounded()).await;
        }
        None
    }

    /// The same of a token that another one was exchanged for: what it is revoked by, and its record, if it has an account.
    pub(super) async fn exchanged(&self, subject: &Subject<'_>, record: Option<Issued>) -> Option<u32> {
        if self.mode == LedgerMode::Off {
            return None;
        }
        if let Some(epoch) = self.revocations.beyond(subject) {
            return Some(epoch);
        }
        if let (LedgerMode::Full, Some(record)) = (self.mode, record) {
            self.ledger.record(record.bounded()).await;
        }
        None
    }

    /// Unexpired tokens.
    ///
    /// # Errors
    /// Nobody writes issued tokens down in this mode, or the ledger cannot be read.
    pub async fn list(
        &self,
        mut filter: Filter,
        limit: usize,
        after: Option<&Position>,
    ) -> Result<Page, Error> {
        if self.mode != LedgerMode::Full {
            return Err(self.unwritten("issued tokens", "--ledger=full"));
        }
        filter.expires_from = Some(self.clock.unix());
        self.ledger.list(&filter, limit, after).await.map_err(failed)
    }

    /// Brings to disk what has been recorded: at the end.
    ///
    /// # Errors
    /// Some of it could not be written.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        self.ledger.flush().await
    }

    /// Forgets what has expired, for as long as the server runs.
    pub async fn run(&self) {
        let mut written = None;
        loop {
            // Before the turn is told: a clock that moves in between is looked at again.
            let seen = self.clock.now();
            crate::supervise::turn();
            let (settled, due) = self.settled(written);
            if let Some(time) = due {
                match self.ledger.keep_marks(Marks { settled: Some(time), ..Marks::default() }).await {
                    Ok(()) => written = Some(time),
                    Err(e) => tracing::warn!(cause = %e, "which time has come could not be written down"),
                }
            }
            let (expired, kept_until) = (settled - LEEWAY.whole_seconds(), settled - KEEP.whole_seconds());
            self.revocations.prune(kept_until);
            match self.ledger.prune(expired, kept_until).await {
                Ok(0) => {}
                Ok(gone) => tracing::debug!(gone, "expired issue records are forgotten"),
                Err(e) => tracing::warn!(cause = %e, "expired issue records stay: they cannot be removed"),
            }
            self.clock.look_again(seen, PRUNE_EVERY).await;
        }
    }

    /// Which time has come for sure, and whether that is to be written down.
    fn settled(&self, written: Option<i64>) -> (i64, Option<i64>) {
        let mut settled = self.settled.lock().unwrap_or_else(|e| e.into_inner());
        let time = settled.look(self.clock.unix(), self.clock.monotonic());
        (time, settled.due(written))
    }

    /// The latest time that has come for sure. A revocation is kept beyond it, also by a clock that is behind now and that
    /// will soon be right.
    fn latest(&self) -> i64 {
        self.settled.lock().unwrap_or_else(|e| e.into_inner()).latest()
    }

    /// What to say who asks about revocations where there are none.
    pub fn no_revocations(&self) -> Error {
        self.unwritten("revocations", "--ledger=revocations or --ledger=full")
    }

    fn unwritten(&self, what: &str, mend: &str) -> Error {
        let mode = self.mode.as_str();
        Error::Disabled(format!(
            "the server runs with --ledger={mode}, which keeps no {what}: start it with {mend}"
        ))
    }
}

/// How long a revocation is kept beyond its time: a clock that jumps ahead and is set right within a day makes no
/// revoked token good again ([`settled`]).
const KEEP: Duration = Duration::days(1);
const PRUNE_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

fn failed(error: LedgerError) -> Error {
    tracing::error!(cause = %error, source = ?std::error::Error::source(&error), "the ledger failed");
    Error::Unavailable("the token ledger cannot be read".into())
}
