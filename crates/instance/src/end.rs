//! The end of a server that has a store: within its grace time, whatever the disk does. A thread that hangs in a write is
//! left behind: whoever waits for it has not been told that it was written.

use std::sync::Arc;
use std::time::Duration;

use tokensmith_core::ledger::Ledger;
use tokensmith_core::store::Store;
use tokensmith_server::audit::Audit;
use tokio::sync::oneshot;

use crate::error::EndError;

/// How long what is left may take, once no request is served any more.
pub const GRACE: Duration = Duration::from_secs(5);

/// Does the last work, then closes what is left on a thread of its own, since that may join others.
///
/// # Errors
/// It took too long, or panicked: the caller is to end the process, and its exit code tells. Or what `close` says.
pub async fn within(
    grace: Duration,
    work: impl Future<Output = ()>,
    close: impl FnOnce() -> Result<(), EndError> + Send + 'static,
) -> Result<(), EndError> {
    let mut close = Some(close);
    let done = tokio::time::timeout(grace, async {
        work.await;
        match close.take() {
            Some(close) => aside(close).await.unwrap_or(Err(EndError::Broken)),
            None => Ok(()),
        }
    });
    let done = done.await;
    if let Some(close) = close {
        // Nobody waits for the very thread that hangs.
        drop(aside(close));
    }
    done.unwrap_or(Err(EndError::Hangs { seconds: grace.as_secs() }))
}

/// Does it on a thread of its own: one of the runtime's would be missed.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    let work = move || {
        // Who began it may be gone.
        let _ = done.send(work());
    };
    if let Err(e) = std::thread::Builder::new().name("end".into()).spawn(work) {
        tracing::warn!(cause = %e, "no thread could be begun to close a server: it was closed in place");
    }
    result
}

/// What a server stands on, whose last owner joins threads that wait for the disk. Dropped, it hands itself to a thread, which
/// waits until it is that last owner: tasks that were aborted, and connections, may hold parts for a moment longer, and would
/// else stop one of the runtime's threads.
pub(crate) struct Ground(Option<Held>);

struct Held {
    store: Arc<dyn Store>,
    ledger: Arc<dyn Ledger>,
    audit: Option<Arc<Audit>>,
}

/// So long whoever still has a part of it is waited for. Who keeps one for longer has its own reason, and closes it.
const OTHERS: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

impl Ground {
    pub(crate) fn new(store: &Arc<dyn Store>, ledger: &Arc<dyn Ledger>, audit: Option<&Arc<Audit>>) -> Self {
        Ground(Some(Held { store: store.clone(), ledger: ledger.clone(), audit: audit.cloned() }))
    }

    /// Somebody else sees to it.
    pub(crate) fn hand_over(mut self) {
        self.0 = None;
    }

    /// Closes it, and says whether nobody has any of it any more. Waits for others, and for the disk.
    pub(crate) fn close(mut self) -> Result<(), EndError> {
        self.0.take().map_or(Ok(()), |held| held.close(OTHERS))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            drop(aside(move || held.close(OTHERS)));
        }
    }
}

impl Held {
    fn alone(&self) -> bool {
        let Held { store, ledger, audit } = self;
        let audit = audit.as_ref().is_none_or(|audit| Arc::strong_count(audit) == 1);
        audit && Arc::strong_count(store) == 1 && Arc::strong_count(ledger) == 1
    }

    fn close(self, mut left: Duration) -> Result<(), EndError> {
        while !self.alone() && !left.is_zero() {
            std::thread::park_timeout(PAUSE);
            left = left.saturating_sub(PAUSE);
        }
        let (store, ledger) = (Arc::downgrade(&self.store), Arc::downgrade(&self.ledger));
        drop(self);
        match store.strong_count() == 0 && ledger.strong_count() == 0 {
            true => Ok(()),
            false => Err(EndError::Held),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokensmith_store::{MemoryLedger, MemoryStore};

    use super::*;

    /// Joined by its drop, as the store's writer.
    struct Joins(Option<std::thread::JoinHandle<()>>);

    impl Drop for Joins {
        fn drop(&mut self) {
            if let Some(thread) = self.0.take() {
                let _ = thread.join();
            }
        }
    }

    fn thread() -> (mpsc::Sender<()>, impl FnOnce() -> Result<(), EndError>) {
        let (end, ended) = mpsc::channel();
        let joins = Joins(Some(std::thread::spawn(move || {
            let _ = ended.recv();
        })));
        (end, move || {
            drop(joins);
            Ok(())
        })
    }

    #[tokio::test]
    async fn a_thread_that_hangs_does_not_keep_the_process() {
        let short = Duration::from_millis(50);
        let (_hangs, rest) = thread();
        let late = within(short, std::future::pending(), rest).await.unwrap_err();
        assert!(late.to_string().contains("the disk has not answered"), "{late}");
        let (_hangs, rest) = thread();
        assert!(within(short, std::future::ready(()), rest).await.is_err());
        let (ends, rest) = thread();
        drop(ends);
        assert!(within(GRACE, std::future::ready(()), rest).await.is_ok());
        let broken = within(GRACE, std::future::ready(()), || panic!("a test's")).await;
        assert!(matches!(broken, Err(EndError::Broken)));
    }

    fn ground() -> (Arc<dyn Store>, Held) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let held = Held { store: store.clone(), ledger: Arc::new(MemoryLedger::new()), audit: None };
        (store, held)
    }

    #[test]
    fn who_still_has_the_store_is_waited_for_and_then_told_of() {
        let (store, held) = ground();
        assert!(matches!(held.close(PAUSE), Err(EndError::Held)));
        drop(store);
        let (store, held) = ground();
        let closing = std::thread::spawn(move || held.close(GRACE));
        drop(store);
        assert!(closing.join().unwrap().is_ok());
    }
}
