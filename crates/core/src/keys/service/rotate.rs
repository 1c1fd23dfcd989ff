//! Rotation by itself: what is due is carried out, on whichever replica comes first.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::generate::{Haste, generate};
use super::{ATTEMPTS, Keys, RING_KEY, ReserveError};
use crate::error::chain;
use crate::follow::{Backoff, Follower, News};
use crate::keys::journal::Cause;
use crate::keys::{Algorithm, KeySet, Origin, PrivateKey, Step};
use crate::store::Entry;

const RETRY: Duration = Duration::from_secs(1);
/// The ring is read no more often than that, however short the lag.
const SOON: Duration = Duration::from_millis(250);
const GONE: &str = "the key ring was deleted from the store: nothing is signed until it is restored";

impl Keys {
    /// Keeps the key set current and carries out what is due, for as long as the server runs.
    ///
    /// Neither waits for the other: the schedule goes by the clock, whatever the watch does, and what others do to the
    /// ring is seen while a busy machine makes a key slowly.
    pub async fn run(&self) {
        let _running = self.pulse.begin(&*self.clock);
        tokio::join!(self.keep_schedule(), self.follow(), self.reread());
    }

    /// When the ring will change next, if nothing else happens.
    pub fn next_change(&self) -> Option<OffsetDateTime> {
        self.policy.next(&self.current.load().ring)
    }

    async fn keep_schedule(&self) {
        let mut backoff = Backoff::default();
        loop {
            let done = self.tick().await;
            if let Err(cause) = &done {
                error!(cause = %chain(cause), "cannot carry out a change of the key ring that is due");
            }
            let (now, next) = (self.clock.now(), self.next_change());
            // A step that failed stays due.
            let pause = if done.is_err() || next.is_some_and(|next| next <= now) {
                backoff.pause().max(RETRY)
            } else {
                backoff.reset();
                self.look_again()
            };
            let due = async {
                match next {
                    Some(next) if next > now => self.clock.sleep_until(next).await,
                    _ => std::future::pending().await,
                }
            };
            // Said once the timer runs: a clock that moves in between would leave this task silent, and asleep.
            let pause = self.clock.sleep(pause);
            crate::supervise::turn();
            tokio::select! {
                () = due => {}
                () = pause => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Takes over what others write, as soon as the store tells.
    async fn follow(&self) {
        let mut follower = Follower::new(self.store.clone(), self.clock.clone(), RING_KEY);
        loop {
            match follower.next().await {
                News::Anew(listing) => {
                    match listing.entries.into_iter().find(|entry| entry.key == RING_KEY) {
                        Some(entry) => self.told(&entry),
                        None => error!("{GONE}"),
                    }
                }
                News::Changes(told) => {
                    for change in told.changes.iter().filter(|change| &*change.key == RING_KEY) {
                        match &change.value {
                            Some(value) => {
                                let (value, revision) = (value.clone(), change.revision);
                                self.told(&Entry { key: RING_KEY.into(), value, revision });
                            }
                            None => error!("{GONE}"),
                        }
                    }
                }
                News::Current => {}
            }
        }
    }

    /// Reads the ring so often that it is never older than the lag, whatever the watch says or does not say: only what
    /// was read counts as seen.
    async fn reread(&self) {
        let mut read = self.opened;
        loop {
            // Counted from the last one: it may be seen to have been, and the clock moved on, before this timer runs.
            self.clock.sleep_past(read.saturating_add(self.look_again())).await;
            read = self.clock.monotonic();
            if let Err(cause) = self.refresh().await {
                warn!(cause = %chain(&cause), "cannot read the key ring");
            }
        }
    }

    fn look_again(&self) -> Duration {
        self.policy.lag.div_f64(2.0).max(SOON)
    }

    fn told(&self, entry: &Entry) {
        if let Err(cause) = self.install(entry) {
            error!(cause = %chain(&cause), "the changed key ring is ignored");
        }
    }

    /// Carries out the steps that are due, until none is. A replica that loses the race looks again.
    ///
    /// # Errors
    /// The ring could not be read or written. What could not be done stays due.
    pub async fn tick(&self) -> Result<(), ReserveError> {
        // After a jump of the clock, what is in memory may be old; and readiness is asked as soon as this returns.
        if self.stale() {
            self.refresh().await?;
        }
        self.set_back().await?;
        for _ in 0..ATTEMPTS {
            // Keys are made before the lock is taken: a token request may be waiting for it.
            let made = self.make_missing().await;
            let _writing = self.writing.lock().await;
            let set = self.current();
            let now = self.clock.now();
            let mut ring = set.ring.clone();
            // Before requests come that would have to wait for it.
            for (algorithm, exp) in set.promises_due() {
                ring.promise(algorithm, exp);
            }
            let advanced = {
                let seal = self.seal.load();
                let made = |algorithm| {
                    made.get(&algorithm)?.as_ref().map(|key| seal.new_key(key, Origin::Generated))
                };
                // Never retire a key that signs for one that cannot.
                self.policy.advance(&mut ring, now, made, |id| set.can_sign_with(id))
            };
            for (step, cause) in &advanced.refused {
                self.fail(format!("{step:?} is due and cannot be done: {cause}"));
            }
            // What has become due while this one waited for the lock: its key has not been made yet.
            let late = |step: &Step| matches!(step, Step::Prepare { algorithm, .. } if !made.contains_key(algorithm));
            if ring == set.ring && self.policy.due(&ring, now).iter().any(late) {
                continue;
            }
            if ring == set.ring {
                self.post().await;
                return Ok(());
            }
            ring.log(Some(&set.ring), &Cause::schedule(), now);
            if self.write(ring, set.revision).await? {
                for step in &advanced.done {
                    info!(%step, "the key ring has changed");
                }
                self.post().await;
            }
        }
        Err(ReserveError::Busy)
    }

    /// Takes dates back that lie ahead, since the clock was. A write of its own, before anything is judged by them: what
    /// then waits has begun to, whatever becomes of the command that found it so.
    pub(super) async fn set_back(&self) -> Result<(), ReserveError> {
        for _ in 0..ATTEMPTS {
            let mended = |set: &KeySet| {
                let (now, mut ring) = (self.clock.now(), set.ring.clone());
                self.policy.set_back(&mut ring, now).then_some((ring, now))
            };
            // Nearly always nothing is to be done, and nobody waits.
            if mended(&self.current()).is_none() {
                return Ok(());
            }
            let _writing = self.writing.lock().await;
            let set = self.current();
            let Some((mut ring, now)) = mended(&set) else { return Ok(()) };
            ring.log(Some(&set.ring), &Cause::set_back(), now);
            if self.write(ring, set.revision).await? {
                warn!("the key ring was dated ahead: the clock was set back, and its waits begin anew");
                self.post().await;
                return Ok(());
            }
        }
        Err(ReserveError::Busy)
    }

    /// Makes the keys that are due. One that cannot be made (`None`) is a problem to tell; the others go on.
    async fn make_missing(&self) -> BTreeMap<Algorithm, Option<PrivateKey>> {
        let mut made = BTreeMap::new();
        for step in self.policy.due(&self.current.load().ring, self.clock.now()) {
            let Step::Prepare { algorithm, .. } = step else { continue };
            let key = generate(algorithm, Haste::Spare).await;
            if let Err(cause) = &key {
                self.fail(format!("no spare signing key could be made: {cause}"));
            }
            made.insert(algorithm, key.ok());
        }
        made
    }
}
