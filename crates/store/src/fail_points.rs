//! Fail points for tests of crashes: the process kills itself just before or just after a chosen write.
//!
//! Compiled with debug assertions only: no release binary can be told to do this.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};

use crate::history::holds;
use crate::moment::Moment;

/// At which step the process ends. Steps are counted from 1, over all who share this value.
#[derive(Debug)]
pub struct KillAt {
    moment: Moment,
    step: u64,
    begun: AtomicU64,
    groups: AtomicU64,
}

/// A text names no fail point.
#[derive(Debug, thiserror::Error)]
#[error("a fail point is before:N or after:N, or of a group or a start {groups}, not {0:?}", groups = others())]
pub struct NoFailPoint(String);

fn others() -> String {
    Moment::ALL[2..].iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// `before:N` or `after:N`, or a moment of a group or of a start.
impl FromStr for KillAt {
    type Err = NoFailPoint;

    fn from_str(text: &str) -> Result<Self, NoFailPoint> {
        let wrong = || NoFailPoint(text.to_owned());
        let (moment, step) = text.split_once(':').ok_or_else(wrong)?;
        let (_, moment) = Moment::ALL.into_iter().find(|(name, _)| *name == moment).ok_or_else(wrong)?;
        let step = step.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        Ok(KillAt { moment, step, begun: AtomicU64::new(0), groups: AtomicU64::new(0) })
    }
}

impl KillAt {
    /// A step begins; gives its number. Does not return if the process is to end here.
    pub fn begin(&self) -> u64 {
        let step = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.reach(Moment::Before, step);
        step
    }

    /// A step is done, and nobody has been told. Does not return if the process is to end here.
    pub fn end(&self, step: u64) {
        self.reach(Moment::After, step);
    }

    /// A moment of a group or of a start has come. Does not return if the process is to end here.
    pub(crate) fn group(&self, moment: Moment) {
        if self.moment == moment && self.groups.fetch_add(1, Ordering::SeqCst) + 1 == self.step {
            die();
        }
    }

    /// Whether the process is to end when this moment is reached next.
    pub(crate) fn is_next(&self, moment: Moment) -> bool {
        self.moment == moment && self.groups.load(Ordering::SeqCst) + 1 == self.step
    }

    fn reach(&self, moment: Moment, step: u64) {
        if (moment, step) == (self.moment, self.step) {
            die();
        }
    }
}

/// SIGKILL, as the kernel's or an operator's: nothing is flushed, no destructor runs.
fn die() -> ! {
    let kill = format!("kill -9 {}", std::process::id());
    // If there is no shell, an abort runs no destructor either; the test will notice the other signal.
    if std::process::Command::new("sh").args(["-c", &kill]).status().is_err() {
        std::process::abort();
    }
    loop {
        std::thread::park();
    }
}

/// A store whose changes of keys with a prefix are steps.
pub struct FailPoints {
    inner: Arc<dyn Store>,
    prefix: &'static str,
    at: Arc<KillAt>,
}

impl FailPoints {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>, prefix: &'static str, at: Arc<KillAt>) -> Self {
        FailPoints { inner, prefix, at }
    }

    /// Begins a step, if this write is one. What is going to be refused changes nothing and is none.
    async fn begin(&self, key: &str, expect: Expect) -> Option<u64> {
        if !key.starts_with(self.prefix) {
            return None;
        }
        let found = self.inner.get(key).await.ok()?.map(|entry| entry.revision);
        holds(expect, found, || None).ok().map(|()| self.at.begin())
    }

    fn end(&self, step: Option<u64>) {
        if let Some(step) = step {
            self.at.end(step);
        }
    }
}

#[async_trait]
impl Store for FailPoints {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        let step = self.begin(key, expect).await;
        let done = self.inner.put(key, value, expect).await;
        self.end(step);
        done
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        let step = self.begin(key, expect).await;
        let done = self.inner.delete(key, expect).await;
        self.end(step);
        done
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.inner.watch(prefix, after).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, contract};

    #[tokio::test]
    async fn keeps_the_contract() {
        contract::run(|| async {
            let at = Arc::new("before:1000000".parse().unwrap());
            FailPoints::new(Arc::new(MemoryStore::new()), "/", at)
        })
        .await;
    }

    #[test]
    fn a_fail_point_is_a_moment_and_a_step() {
        for wrong in ["", "before", "before:", "before:0", "during:1", "after:x", "after:-1"] {
            assert!(
                wrong.parse::<KillAt>().unwrap_err().to_string().contains("before:N or after:N"),
                "{wrong}"
            );
        }
        let at: KillAt = "after:3".parse().unwrap();
        assert_eq!((at.moment, at.step), (Moment::After, 3));
        assert_eq!((at.begin(), at.begin()), (1, 2), "steps count up");
        at.end(2);
    }
}
