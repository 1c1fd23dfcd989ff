//! A listener's TLS settings, made anew before their certificate ends, and when its owner says so.

use std::error::Error;
use std::sync::Arc;

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::clock::Clock;
use tokensmith_core::error::chain;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_server::listener::{Tls, TlsSettings};
use tokio::sync::watch;

/// TLS settings, and when to make the next ones; never by themselves, where there is no such time.
pub type Made = (TlsSettings, Option<OffsetDateTime>);

type Cause = Box<dyn Error + Send + Sync>;
type Build = dyn Fn(OffsetDateTime) -> Result<Made, Cause> + Send + Sync;

/// How long what could not be made waits for the next try.
const RETRY: time::Duration = time::Duration::hours(1);

/// Keeps the settings of a listener current.
pub struct Renewal {
    build: Box<Build>,
    live: Tls,
    at: Option<OffsetDateTime>,
    clock: Arc<dyn Clock>,
}

impl Renewal {
    /// Makes the first settings. Clients check certificates by clocks of their own: `clock` is the machine's, never a
    /// test's.
    ///
    /// # Errors
    /// Those of `build`. Later ones are logged, and the settings stay as they were.
    pub fn begin<E: Into<Cause>>(
        clock: Arc<dyn Clock>,
        build: impl Fn(OffsetDateTime) -> Result<Made, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let (config, at) = build(clock.now())?;
        let live = Arc::new(ArcSwap::from_pointee(config));
        Ok(Renewal { build: Box::new(move |now| build(now).map_err(Into::into)), live, at, clock })
    }

    /// The settings, for a listener: it takes those of the moment for each connection.
    pub fn live(&self) -> Tls {
        self.live.clone()
    }

    /// Waits until they are to be made again.
    pub async fn due(&self) {
        match self.at {
            Some(at) => self.clock.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Makes them again.
    ///
    /// # Errors
    /// Why they stay as they were. What fails or panics is due again later.
    pub fn renew(&mut self, supervisor: &Supervisor) -> Result<(), String> {
        let built = supervisor.step(Task::Certificates, || (self.build)(self.clock.now()));
        match built.unwrap_or_else(|| Err("building them has panicked".into())) {
            Ok((config, next)) => {
                self.live.store(Arc::new(config));
                self.at = next;
                Ok(())
            }
            Err(e) => {
                self.at = self.at.map(|_| self.clock.now().plus(RETRY));
                Err(chain(&*e).to_string())
            }
        }
    }

    /// Makes them again because it is time. What fails is logged.
    pub fn renew_in_time(&mut self, supervisor: &Supervisor) {
        if let Err(cause) = self.renew(supervisor) {
            tracing::error!(cause, "the TLS settings stay as they were");
        }
    }

    /// Does so until the server is to stop, and has readiness see it.
    pub async fn run(mut self, supervisor: Arc<Supervisor>, mut stopping: watch::Receiver<bool>) {
        let _running = supervisor.begin(Task::Certificates);
        loop {
            tokio::select! {
                () = self.due() => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            self.renew_in_time(&supervisor);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use time::macros::datetime;
    use tokensmith_core::clock::ManualClock;

    use super::*;
    use crate::certificates::Authority;
    use crate::tls;

    const START: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

    /// Waits for a condition.
    async fn until(mut done: impl FnMut() -> bool) {
        let all = tokio::time::timeout(Duration::from_secs(10), async {
            while !done() {
                tokio::task::yield_now().await;
            }
        });
        all.await.unwrap();
    }

    #[tokio::test]
    async fn a_certificate_is_renewed_in_time_whatever_one_attempt_does() {
        let clock = Arc::new(ManualClock::new(START));
        let made = Arc::new(AtomicUsize::new(0));
        let (authority, count) = (Authority::make(START).unwrap(), made.clone());
        let renewal = Renewal::begin(clock.clone(), move |now| match count.fetch_add(1, Ordering::SeqCst) {
            1 => Err("the disk is full".to_owned()),
            2 => panic!("a bug"),
            _ => {
                let leaf = authority.serving(&["localhost".into()], now).unwrap();
                Ok((tls::server(leaf.chain, leaf.key, None).unwrap().into(), Some(leaf.renew_at)))
            }
        });
        let renewal = renewal.unwrap();
        let (live, first) = (renewal.live(), renewal.live().load_full());
        let supervisor = Supervisor::new(clock.clone());
        let (stop, stopping) = watch::channel(false);
        let running = tokio::spawn(renewal.run(supervisor.clone(), stopping));
        until(|| supervisor.health().len() == 1).await;
        assert_eq!(supervisor.problem(Task::Certificates), None);

        // Nothing is due yet.
        clock.advance(Duration::from_secs(59 * 86_400));
        tokio::task::yield_now().await;
        assert_eq!(made.load(Ordering::SeqCst), 1);
        for (span, attempts) in [(86_400, 2), (3600, 3)] {
            clock.advance(Duration::from_secs(span));
            until(|| made.load(Ordering::SeqCst) == attempts).await;
            assert!(Arc::ptr_eq(&first, &live.load_full()), "a failure leaves them as they were");
        }
        until(|| supervisor.problem(Task::Certificates).is_some()).await;
        let counted = supervisor.counts().find(|(name, _)| *name == Task::Certificates.name()).unwrap();
        assert_eq!(counted.1.panics, 1);
        clock.advance(Duration::from_secs(3600));
        until(|| !Arc::ptr_eq(&first, &live.load_full())).await;
        until(|| supervisor.problem(Task::Certificates).is_none()).await;

        stop.send_replace(true);
        running.await.unwrap();
    }
}
