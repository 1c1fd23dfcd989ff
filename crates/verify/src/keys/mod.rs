//! One issuer's keys: fetched, kept, refreshed before they run out, and fetched once more for a key that is not known.
//!
//! ```text
//!        fetched        due (70–80 %)      max-age              max-age + max_stale
//!           │ use            │ use, refresh    │ use; wait for one    │ 503
//!           │                │ in background   │ try, if none failed  │
//! ```
//!
//! Promises: at most one fetch at a time, whoever asks; nobody waits for a refresh that comes in time; a `kid` that is
//! not known costs the issuer one fetch per floor, however many come; of all issuers' fetches [`MOST_FETCHES`] go at once;
//! no wait is without end. The background task ends
//! with the last user of the keys.

mod attempt;
mod file;
mod timing;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokensmith_core::Clock;
use tokensmith_core::keys::PublishedKeys;
use tokensmith_core::supervise::to_its_end;
use tokensmith_core::tokens::jws::SignatureError;
use tokio::sync::{Semaphore, watch};

use super::error::KeysError;
use super::metrics::Metrics;
use super::{Fetch, Rejection, StaleKeys};
use attempt::{Discovery, Running};
pub(super) use timing::Moment;

/// One issuer's keys.
pub(super) struct IssuerKeys {
    issuer: Arc<str>,
    origin: Origin,
    keeping: Arc<Keeping>,
    current: ArcSwapOption<Current>,
    attempts: Mutex<Attempts>,
    /// The number of the last attempt that ended.
    ended: watch::Sender<u64>,
}

/// How many issuers are asked at a time.
pub(super) const MOST_FETCHES: usize = 16;

/// How the keys of all issuers are kept.
pub(super) struct Keeping {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) fetch: Arc<dyn Fetch>,
    /// For how long keys that ran out still count.
    pub(super) max_stale: Duration,
    /// How soon they may be fetched again for a `kid` that is not known.
    pub(super) floor: Duration,
    /// How long an attempt may take.
    pub(super) timeout: Duration,
    /// How long a request waits for keys.
    pub(super) wait: Duration,
    /// For attempts that ask an issuer.
    pub(super) places: Semaphore,
    pub(super) metrics: Arc<Metrics>,
}

/// Where the keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The issuer's own documents.
    Discovery,
    /// The same documents, read below another URL.
    DiscoveryAt(String),
    /// A key set on disk.
    File(PathBuf),
}

/// The keys as they are.
pub(super) struct Current {
    pub(super) keys: Arc<PublishedKeys>,
    /// Goes up when a key has left: what was signed before may not count any more. A key that is added takes nothing
    /// back.
    pub(super) generation: u64,
    /// When they were asked for: what they say is no older.
    asked: Moment,
    max_age: Duration,
    due: Duration,
    /// How soon a `kid` that is not known may have them fetched again.
    floor: Duration,
    etag: Option<String>,
    discovery: Discovery,
}

/// What was tried.
#[derive(Default)]
struct Attempts {
    /// Of the last one that was begun.
    number: u64,
    running: bool,
    /// When the last one ended.
    ended: Option<Moment>,
    /// In a row.
    failures: u32,
    /// After a failure: how long to leave the issuer alone.
    pause: Duration,
    /// Why the last one failed.
    error: Option<KeysError>,
    /// Whether the background task is there.
    kept: bool,
}

/// How far the keys have aged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Fresh,
    Due,
    /// Beyond their `max-age`.
    Stale,
    /// Beyond all patience.
    Gone,
}

/// What has the keys fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Age,
    UnknownKid,
}

/// What came of asking for an attempt.
enum Start {
    /// They were fetched a moment ago.
    Done,
    /// Not yet again, for so long.
    Later(Duration),
    /// The attempt of this number is on its way.
    Running { number: u64, failing: bool },
}

impl IssuerKeys {
    /// Nothing is fetched, and no task is begun, before somebody asks for the keys.
    pub(super) fn new(issuer: impl Into<Arc<str>>, origin: Origin, keeping: Arc<Keeping>) -> Arc<Self> {
        Arc::new(IssuerKeys {
            issuer: issuer.into(),
            origin,
            keeping,
            current: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            ended: watch::Sender::new(0),
        })
    }

    /// The generation of the keys, where nobody has to wait for them.
    pub(super) fn generation(self: &Arc<Self>, now: &Moment) -> Option<u64> {
        let current = self.current.load();
        let current = current.as_ref()?;
        match self.stage(current, now) {
            Stage::Fresh => {}
            Stage::Due => {
                self.start(now, Cause::Age);
            }
            Stage::Stale if self.failing() => {
                self.start(now, Cause::Age);
            }
            Stage::Stale | Stage::Gone => return None,
        }
        Some(current.generation)
    }

    /// The keys where they count, as they are: nothing is fetched.
    pub(super) fn kept(&self) -> Option<Arc<Current>> {
        let now = Moment::now(&*self.keeping.clock);
        self.current.load_full().filter(|current| self.stage(current, &now) != Stage::Gone)
    }

    /// The keys, fetched now if there are none that count.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<Current>, Rejection> {
        let now = Moment::now(&*self.keeping.clock);
        let current = self.current.load_full();
        let stage = current.as_ref().map_or(Stage::Gone, |current| self.stage(current, &now));
        if let (Some(current), Stage::Fresh) = (&current, stage) {
            return Ok(current.clone());
        }
        let start = self.start(&now, Cause::Age);
        match (current, stage, start) {
            (Some(current), Stage::Fresh | Stage::Due, _) => Ok(current),
            // Nobody was here for long, or the machine slept: one try is waited for, since keys may have left. While
            // tries fail, nobody waits.
            (Some(current), Stage::Stale, Start::Running { number, failing: false }) => {
                self.ended(number).await;
                Ok(self.current.load_full().unwrap_or(current))
            }
            (Some(current), Stage::Stale, Start::Done) => Ok(self.current.load_full().unwrap_or(current)),
            (Some(current), Stage::Stale, _) => Ok(current),
            (_, Stage::Gone, start) => {
                let left = match start {
                    Start::Running { number, .. } if !self.ended(number).await => Duration::ZERO,
                    Start::Running { .. } | Start::Done => self.pause(),
                    Start::Later(left) => left,
                };
                let now = Moment::now(&*self.keeping.clock);
                let fetched = self.current.load_full();
                let usable = fetched.filter(|current| self.stage(current, &now) != Stage::Gone);
                usable.ok_or_else(|| Rejection::keys_unavailable(left))
            }
            (None, ..) => Err(Rejection::keys_unavailable(Duration::ZERO)),
        }
    }

    /// The keys with one that was not among them, fetched again if that may be.
    pub(super) async fn with_kid(self: &Arc<Self>, kid: &str) -> Result<Arc<Current>, Rejection> {
        let now = Moment::now(&*self.keeping.clock);
        let (known, failing, left) = match self.start(&now, Cause::UnknownKid) {
            Start::Running { number, .. } => {
                if !self.ended(number).await {
                    return Err(Rejection::keys_unavailable(Duration::ZERO));
                }
                (self.current.load_full(), self.failing(), self.pause())
            }
            Start::Later(left) => (self.current.load_full(), self.failing(), left),
            Start::Done => (self.current.load_full(), false, Duration::ZERO),
        };
        match known.filter(|current| current.knows(kid)) {
            Some(current) => Ok(current),
            // The key may be there by now: nobody could tell.
            None if failing => Err(Rejection::keys_unavailable(left)),
            None => Err(SignatureError::NoKey.into()),
        }
    }

    /// Whether the keys are fresh; else why not, in one line.
    pub(super) fn health(&self) -> Result<(), StaleKeys> {
        let now = Moment::now(&*self.keeping.clock);
        let stage = self.current.load().as_ref().map(|current| self.stage(current, &now));
        match stage {
            Some(Stage::Fresh | Stage::Due) => Ok(()),
            stage => {
                let age = match stage {
                    None => "have not been fetched",
                    Some(Stage::Gone) => "ran out too long ago to be used",
                    Some(_) => "ran out",
                };
                Err(StaleKeys::new(&self.issuer, age, self.error()))
            }
        }
    }

    /// Why the last attempt failed, if it did.
    pub(super) fn error(&self) -> Option<KeysError> {
        self.lock().error.clone()
    }

    fn stage(&self, current: &Current, now: &Moment) -> Stage {
        let age = now.since(&current.asked);
        match () {
            () if age < current.due => Stage::Fresh,
            () if age < current.max_age => Stage::Due,
            () if age < current.max_age.saturating_add(self.keeping.max_stale) => Stage::Stale,
            () => Stage::Gone,
        }
    }

    /// Begins an attempt, unless one is on its way or it is too soon.
    fn start(self: &Arc<Self>, now: &Moment, cause: Cause) -> Start {
        let mut attempts = self.lock();
        if attempts.running {
            return Start::Running { number: attempts.number, failing: attempts.failures > 0 };
        }
        // Read under the lock: who ended an attempt has put its keys there before.
        let current = self.current.load_full();
        let since = attempts.ended.map_or(Duration::MAX, |ended| now.since(&ended));
        if attempts.failures > 0 && since < attempts.pause {
            return Start::Later(attempts.pause.saturating_sub(since));
        }
        if let Some(current) = &current {
            let age = now.since(&current.asked);
            match cause {
                // After a failure fresh keys are fetched all the same: one was missed, and they may have moved.
                Cause::Age if age < current.due && attempts.failures == 0 => return Start::Done,
                Cause::UnknownKid if age < current.floor => {
                    return Start::Later(current.floor.saturating_sub(age));
                }
                // A failure does not lift the floor.
                Cause::UnknownKid if attempts.failures > 0 && since < current.floor => {
                    return Start::Later(current.floor.saturating_sub(since));
                }
                _ => {}
            }
        }
        attempts.number += 1;
        attempts.running = true;
        let keep = !std::mem::replace(&mut attempts.kept, true);
        let (number, failing) = (attempts.number, attempts.failures > 0);
        drop(attempts);
        tokio::spawn(Running::new(self.clone(), number, current).run());
        if keep {
            let (keys, clock, ended) =
                (Arc::downgrade(self), self.keeping.clock.clone(), self.ended.subscribe());
            tokio::spawn(async move {
                let work = || keep_fresh(keys.clone(), clock.clone(), ended.clone());
                to_its_end("issuer-keys", &*clock, work).await;
            });
        }
        Start::Running { number, failing }
    }

    /// Whether an attempt has ended before patience has.
    async fn ended(&self, number: u64) -> bool {
        let mut ended = self.ended.subscribe();
        tokio::time::timeout(self.keeping.wait, ended.wait_for(|last| *last >= number)).await.is_ok()
    }

    fn failing(&self) -> bool {
        self.lock().failures > 0
    }

    /// How long the issuer is to be left alone.
    fn pause(&self) -> Duration {
        let attempts = self.lock();
        if attempts.failures > 0 { attempts.pause } else { Duration::ZERO }
    }

    /// When the keys want to be fetched by themselves; `None` while they are.
    fn next(&self) -> Option<time::OffsetDateTime> {
        let now = Moment::now(&*self.keeping.clock);
        let attempts = self.lock();
        let left = match (attempts.running, attempts.failures, &*self.current.load()) {
            (true, ..) => return None,
            (false, 1.., _) => {
                attempts.pause.saturating_sub(attempts.ended.map_or(Duration::MAX, |ended| now.since(&ended)))
            }
            (false, 0, Some(current)) => current.due.saturating_sub(now.since(&current.asked)),
            (false, 0, None) => return None,
        };
        Some(now.wall.saturating_add(left.try_into().unwrap_or(time::Duration::MAX)))
    }

    fn lock(&self) -> MutexGuard<'_, Attempts> {
        // What it guards is whole at any moment.
        self.attempts.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Current {
    pub(super) fn knows(&self, kid: &str) -> bool {
        !self.keys.candidates(kid).is_empty()
    }
}

/// Fetches when it is time. A wall clock that is set back delays this; then the next request sees that it is due.
async fn keep_fresh(keys: Weak<IssuerKeys>, clock: Arc<dyn Clock>, mut ended: watch::Receiver<u64>) {
    loop {
        let next = match keys.upgrade() {
            Some(keys) => keys.next(),
            None => return,
        };
        let sleep = async {
            match next {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {
                let Some(keys) = keys.upgrade() else { return };
                keys.start(&Moment::now(&*keys.keeping.clock), Cause::Age);
            }
            changed = ended.changed() => if changed.is_err() { return },
        }
    }
}
