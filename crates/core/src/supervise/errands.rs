//! What a request has begun, and what goes on without it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::Instrument;

/// Work of one server that goes on when who has begun it is gone: a change of the keys, a revocation, a label. It holds parts
/// of the server, and may wait for others, so it has an owner that ends it: [`Tasks`](super::Tasks) waits for it before a
/// server's tasks end, and aborts it when the server is dropped.
#[derive(Debug)]
pub struct Errands {
    /// None once the server has ended.
    running: Mutex<Option<JoinSet<()>>>,
}

impl Default for Errands {
    fn default() -> Self {
        Errands { running: Mutex::new(Some(JoinSet::new())) }
    }
}

impl Errands {
    /// Begins one, in the span of who does so. It goes on whether or not its result is waited for. There is no result if it panics, or if the server
    /// ends before it.
    pub fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        if let Some(running) = &mut *self.running() {
            while running.try_join_next().is_some() {}
            let work = async move {
                // Who began it may be gone.
                let _ = done.send(work.await);
            };
            running.spawn(work.in_current_span());
        }
        result
    }

    /// Takes no more of them, and waits for those that run. Given up, it aborts them.
    pub(super) async fn end(&self) {
        let Some(mut running) = self.running().take() else { return };
        while running.join_next().await.is_some() {}
    }

    /// Takes no more of them, and aborts those that run.
    pub(super) fn abort(&self) {
        drop(self.running().take());
    }

    fn running(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Supervisor, Tasks};
    use super::*;

    #[tokio::test]
    async fn an_errand_goes_on_without_who_began_it_and_is_waited_for_at_the_end() {
        let tasks = Tasks::new(Supervisor::alone());
        let (go, told) = oneshot::channel::<()>();
        let (done, result) = oneshot::channel();
        drop(tasks.errands().begin(async move {
            let _ = told.await;
            let _ = done.send(7);
        }));
        let errands = tasks.errands().clone();
        let ending = tokio::spawn(tasks.end());
        go.send(()).unwrap();
        ending.await.unwrap();
        assert_eq!(result.await, Ok(7));
        assert!(errands.begin(async { 7 }).await.is_err(), "the server has ended");
    }

    /// One that waits for what never comes held its server, and all that this stands on, for ever.
    #[tokio::test]
    async fn a_dropped_server_ends_its_errands_and_what_they_hold_is_free() {
        let tasks = Tasks::new(Supervisor::alone());
        let (part, errands) = (Arc::new(()), tasks.errands().clone());
        let held = part.clone();
        let result = errands.begin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        drop(tasks);
        assert!(result.await.is_err());
        assert_eq!(Arc::strong_count(&part), 1);
    }

    #[tokio::test]
    async fn an_end_that_is_given_up_aborts_its_errands() {
        let tasks = Tasks::new(Supervisor::alone());
        let result = tasks.errands().begin(std::future::pending::<()>());
        let ending = tokio::spawn(tasks.end());
        tokio::task::yield_now().await;
        ending.abort();
        assert!(result.await.is_err());
    }
}
