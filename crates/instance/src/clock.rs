//! A server's clock that a test moves.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::clock::{Clock, ManualClock};
use tokensmith_core::keys::{Keys, ReserveError};
use tokensmith_core::view::View;
use tokensmith_core::{Moment, Supervisor};

/// Time as the server sees it: it stands until it is moved. TLS alone goes by the machine's clock, since its clients do.
#[derive(Clone)]
pub struct TestClock {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) view: Arc<View>,
    pub(crate) supervisor: Arc<Supervisor>,
}

impl TestClock {
    /// What it shows.
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Lets time pass. What is due by then is done when this returns.
    ///
    /// # Errors
    /// The keys cannot follow: the store does not answer.
    pub async fn advance(&self, span: Duration) -> Result<(), ReserveError> {
        self.set(self.now().plus(span)).await
    }

    /// Moves the clock, forwards (that time passes) or backwards.
    ///
    /// # Errors
    /// As [`TestClock::advance`].
    pub async fn set(&self, now: OffsetDateTime) -> Result<(), ReserveError> {
        self.clock.set(now);
        self.settle().await
    }

    /// Sets the wall clock alone, as a time server does: no time passes.
    ///
    /// # Errors
    /// As [`TestClock::advance`].
    pub async fn jump(&self, now: OffsetDateTime) -> Result<(), ReserveError> {
        self.clock.jump(now);
        self.settle().await
    }

    async fn settle(&self) -> Result<(), ReserveError> {
        self.keys.tick().await?;
        self.view.settled(&*self.clock).await;
        self.supervisor.settled().await;
        Ok(())
    }
}
