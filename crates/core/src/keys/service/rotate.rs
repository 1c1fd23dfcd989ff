//! Rotation by itself: what is due is carried out, on whichever replica comes first.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use time::OffsetDateTime;
use tracing::{error, info, warn};

use super::generate::{Haste, generate};
use super::{ATTEMPTS, Keys, RING_KEY, ReserveError, chain};
use crate::keys::journal::Cause;
use crate::keys::{Algorithm, Origin, PrivateKey, Step};
use crate::store::{Change, Changes, Entry};

const RETRY: Duration = Duration::from_secs(1);

impl Keys {
    /// Keeps the key set current and carries out what is due, for as long as the server runs.
    pub async fn run(&self) {
        loop {
            match self.store.watch(RING_KEY, self.current.load().revision).await {
                Ok(changes) => self.follow(changes).await,
                Err(cause) => warn!(cause = %chain(&cause), "cannot watch the key ring"),
            }
            // The watch broke off or its start was compacted: begin again from what is there now.
            if let Err(cause) = self.refresh().await {
                warn!(cause = %chain(&cause), "cannot read the key ring");
            }
            self.clock.sleep_until(self.clock.now() + RETRY).await;
        }
    }

    /// When the ring will change next, if nothing else happens.
    pub fn next_change(&self) -> Option<OffsetDateTime> {
        self.policy.next(&self.current.load().ring)
    }

    /// Until the watch ends.
    async fn follow(&self, mut changes: Changes) {
        loop {
            let (mut tick, mut watching, mut seen) = (pin!(self.tick()), true, false);
            // A busy machine makes a key slowly: what others do to the ring is seen all the while.
            let done = loop {
                tokio::select! {
                    done = &mut tick => break done,
                    goes_on = self.look(&mut changes, None), if watching => (watching, seen) = (goes_on, true),
                }
            };
            if let Err(cause) = done {
                error!(cause = %chain(&cause), "cannot carry out a change of the key ring that is due");
            }
            // A step that failed stays due: wait before the next attempt.
            let wake = self.next_change().map(|due| due.max(self.clock.now() + RETRY));
            if !watching || (!seen && !self.look(&mut changes, wake).await) {
                return;
            }
        }
    }

    /// Waits for a change, or until it is time to look at the ring again, and takes over what there is; says whether the
    /// watch goes on.
    async fn look(&self, changes: &mut Changes, wake: Option<OffsetDateTime>) -> bool {
        let poll = self.clock.now() + self.policy.lag / 2;
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(change)) => self.changed(change),
                Some(Err(_)) | None => return false,
            },
            () = self.clock.sleep_until(wake.map_or(poll, |wake| wake.min(poll))) => {
                if let Err(cause) = self.refresh().await {
                    warn!(cause = %chain(&cause), "cannot read the key ring");
                }
            }
        }
        true
    }

    fn changed(&self, change: Change) {
        if change.key != RING_KEY {
            return;
        }
        let Some(value) = change.value else {
            error!("the key ring was deleted from the store: nothing is signed until it is restored");
            return;
        };
        let entry = Entry { key: change.key, value, revision: change.revision };
        if let Err(cause) = self.install(&entry) {
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
                    info!(?step, "the key ring has changed");
                }
                self.post().await;
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
