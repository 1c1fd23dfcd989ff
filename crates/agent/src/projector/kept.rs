//! A projector that is followed by another one when it panics. The next one learns from the disk what was done.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokensmith_core::supervise;

use super::{Config, Monitor, Projector};
use crate::observe::{Observed, Unwell};
use crate::pod::PlanError;

/// Keeps a projector running, and tells how the one of this moment is. Cheap to clone.
#[derive(Clone)]
pub struct Kept(Arc<Inner>);

struct Inner {
    config: Config,
    /// How many hold the files while no projector does.
    holders: usize,
    monitor: Mutex<Monitor>,
    down: AtomicBool,
}

/// After a panic; then twice as long each time, unless it went well for so long.
const REST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// At the end, what a projector that has panicked was writing is waited for this often. A disk that hangs never writes it.
const LAST_RESTS: usize = 5;

impl Kept {
    /// The first projector, and what keeps it.
    ///
    /// # Errors
    /// A fixed pod that has no plan.
    pub fn new(config: Config) -> Result<(Self, Projector), PlanError> {
        let holders = Arc::strong_count(&config.files);
        let projector = Projector::new(config.clone())?;
        let (monitor, down) = (Mutex::new(projector.monitor()), AtomicBool::new(false));
        Ok((Kept(Arc::new(Inner { config, holders, monitor, down })), projector))
    }

    /// Has a projector do something until that is done; after a panic the next one does it again. `None`: none was at work
    /// when `end` came. Each clone of `end` is asked anew, also after one of them has come.
    ///
    /// # Errors
    /// A fixed pod that has no plan any more.
    pub async fn run<T>(
        &self,
        mut projector: Projector,
        end: impl Future<Output = ()> + Clone,
        mut work: impl AsyncFnMut(&mut Projector) -> T,
    ) -> Result<Option<T>, PlanError> {
        let Inner { config, holders, monitor, down } = &*self.0;
        let (clock, mut pause) = (&config.clock, REST);
        loop {
            let begun = clock.monotonic();
            if let Some(done) = supervise::attempt(work(&mut projector)).await {
                return Ok(Some(done));
            }
            // Before anybody can see it, and move a clock by the pause that follows.
            let at = clock.monotonic();
            down.store(true, Ordering::Relaxed);
            drop(projector);
            if at.saturating_sub(begun) >= LONGEST {
                pause = REST;
            }
            tracing::error!(?pause, "keeping the volumes has panicked, and is begun again");
            let written = || Arc::strong_count(&config.files) <= *holders;
            let rested = async {
                clock.sleep_past(at.saturating_add(pause)).await;
                // What was being written is written whole, and not by two at once.
                while !written() {
                    clock.sleep(REST).await;
                }
            };
            let ended = tokio::select! {
                biased;
                () = end.clone() => true,
                () = rested => false,
            };
            if ended {
                for _ in 0..LAST_RESTS {
                    if written() {
                        break;
                    }
                    clock.sleep(REST).await;
                }
                return Ok(None);
            }
            pause = pause.saturating_mul(2).min(LONGEST);
            projector = Projector::new(config.clone())?;
            *monitor.lock().unwrap_or_else(PoisonError::into_inner) = projector.monitor();
            down.store(false, Ordering::Relaxed);
        }
    }

    fn monitor(&self) -> Monitor {
        self.0.monitor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Observed for Kept {
    async fn health(&self) -> Result<(), Unwell> {
        match self.0.down.load(Ordering::Relaxed) {
            true => Err(Unwell::Panicked),
            false => Ok(self.monitor().health()?),
        }
    }

    fn metrics(&self) -> String {
        self.monitor().metrics()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("down", &self.0.down).finish_non_exhaustive()
    }
}
