//! A store whose watches and writes misbehave as they are told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use tokensmith_core::store::{Changes, Entry, Expect, Listing, Revision, Store, StoreError};
use tokio::sync::watch as channel;

/// How watches behave that are opened from now on, and all changes of those that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Breaks off with an error at once.
    Breaks,
    /// Is refused: the history does not reach back that far.
    Compacted,
    /// Ends at once.
    Ends,
    /// Tells nothing until [`Unruly::comes`].
    Late,
    /// Tells of every second change only.
    Leaky,
    /// Makes who opens it panic.
    Panics,
    /// Is refused by a store that fails.
    Refused,
    /// Says nothing, for ever.
    Silent,
    /// Works.
    Works,
}

impl Watch {
    /// All that are of no use.
    pub const USELESS: [Watch; 6] =
        [Watch::Breaks, Watch::Compacted, Watch::Ends, Watch::Leaky, Watch::Refused, Watch::Silent];
}

/// How reads or writes of the key ring behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    Fail,
    Hang,
    Work,
}

pub struct Unruly {
    pub inner: Arc<dyn Store>,
    watch: Mutex<Watch>,
    reads: Mutex<Calls>,
    writes: Mutex<Calls>,
    /// How many watches were asked for.
    pub opened: AtomicUsize,
    came: channel::Sender<bool>,
}

impl Unruly {
    pub fn new(inner: Arc<dyn Store>, watch: Watch) -> Arc<Self> {
        Arc::new(Unruly {
            inner,
            watch: Mutex::new(watch),
            reads: Mutex::new(Calls::Work),
            writes: Mutex::new(Calls::Work),
            opened: AtomicUsize::new(0),
            came: channel::Sender::new(false),
        })
    }

    /// Lets go of what late watches have to tell.
    pub fn comes(&self) {
        self.came.send_replace(true);
    }

    pub fn watches(&self, watch: Watch) {
        *self.watch.lock().unwrap() = watch;
    }

    pub fn reads(&self, calls: Calls) {
        *self.reads.lock().unwrap() = calls;
    }

    pub fn writes(&self, calls: Calls) {
        *self.writes.lock().unwrap() = calls;
    }

    async fn obey(&self, calls: &Mutex<Calls>) -> Result<(), StoreError> {
        let calls = *calls.lock().unwrap();
        match calls {
            Calls::Fail => Err(failed()),
            Calls::Hang => std::future::pending().await,
            Calls::Work => Ok(()),
        }
    }
}

fn failed() -> StoreError {
    StoreError::Backend("the disk is on fire".into())
}

#[async_trait]
impl Store for Unruly {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.obey(&self.reads).await?;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError> {
        self.obey(&self.reads).await?;
        self.inner.list(prefix, after, limit).await
    }

    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError> {
        self.obey(&self.writes).await?;
        self.inner.put(key, value, expect).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError> {
        self.obey(&self.writes).await?;
        self.inner.delete(key, expect).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let watch = *self.watch.lock().unwrap();
        Ok(match watch {
            Watch::Breaks => stream::iter([Err(failed())]).boxed(),
            Watch::Compacted => return Err(StoreError::Compacted { oldest: after + 1 }),
            Watch::Ends => stream::empty().boxed(),
            Watch::Late => {
                let (all, mut came) = (self.inner.watch(prefix, after).await?, self.came.subscribe());
                let wait = async move { drop(came.wait_for(|came| *came).await) };
                wait.map(|()| all).flatten_stream().boxed()
            }
            Watch::Leaky => {
                let all = self.inner.watch(prefix, after).await?;
                let half = all.enumerate().filter(|(n, _)| std::future::ready(n % 2 == 1));
                half.map(|(_, change)| change).boxed()
            }
            Watch::Panics => panic!("a test's"),
            Watch::Refused => return Err(failed()),
            Watch::Silent => stream::pending().boxed(),
            Watch::Works => self.inner.watch(prefix, after).await?,
        })
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }
}
