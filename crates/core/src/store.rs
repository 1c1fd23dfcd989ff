//! The Store port: bytes with revisions.
//!
//! One revision counter serves the whole store (it is the API's `resourceVersion`); it grows by one with
//! each change and is never reused, not even after a crash. A write that was acknowledged is on disk.
//! The contract suite in `tokensmith-store` runs on every backend.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// A place in the store's single history of changes; 0 is before the first.
pub type Revision = u64;

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// The bytes that were put.
    pub value: Bytes,
    /// The revision of the last change.
    pub revision: Revision,
}

/// Part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In key order.
    pub entries: Vec<Entry>,
    /// The store's revision that the listing shows.
    pub revision: Revision,
    /// Whether entries follow after the last one.
    pub more: bool,
}

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No value under the key.
    Absent,
    /// Whatever is there.
    Any,
    /// A value, last changed at this revision.
    Unchanged(Revision),
}

/// One change in the store's history. Made once, and shared by all who are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which key changed.
    pub key: Arc<str>,
    /// The new value; `None` when the key was deleted.
    pub value: Option<Bytes>,
    /// The value before; `None` when there was none. On a delete this is the last value.
    pub previous: Option<Bytes>,
    /// When.
    pub revision: Revision,
}

/// What a watch tells at once: all that happened under its prefix between two revisions.
///
/// Where nothing did, there are no changes, and it still says how far the store has come: so nobody is left behind by the
/// history because of what happens elsewhere. etcd's answers to a watch have this form, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Up to here all was told before. Who has not heard that much has missed something.
    pub after: Revision,
    /// Each change under the prefix from there on, in order.
    pub changes: Vec<Arc<Change>>,
    /// Up to here there are no others. Greater than `after`.
    pub revision: Revision,
}

/// Why a store call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What the write expected does not hold; carries what is there.
    #[error("the value has changed")]
    Conflict(Option<Entry>),
    /// The history before this revision is gone: list again and watch from there.
    #[error("the requested revision has been compacted, the oldest kept is {oldest}")]
    Compacted {
        /// The oldest revision that a watch may start after.
        oldest: Revision,
    },
    /// The value is larger than any may be; in etcd's words.
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// The store takes no writes just now; this one was not acknowledged.
    #[error("the store takes no writes: {0}")]
    Refused(Cow<'static, str>),
    /// The backend failed; nothing was acknowledged.
    #[error("the store failed")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Every change after a revision, in order, none twice; ends with an error when the watcher fell behind. Each item goes on
/// where the one before it has ended, and what is ready together is told together, up to a bound.
pub type Changes = BoxStream<'static, Result<Told, StoreError>>;

/// Persistent bytes with revisions, optimistic writes and a history to watch.
#[async_trait]
pub trait Store: Send + Sync {
    /// The value under a key, `None` if there is none.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// The entries whose keys start with `prefix` and come after `after` (exclusive, when given), in key
    /// order, at most `limit` of them (0 = all).
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Listing, StoreError>;

    /// Writes a value. Returns its revision once it is on disk.
    async fn put(&self, key: &str, value: Bytes, expect: Expect) -> Result<Revision, StoreError>;

    /// Deletes a value. Returns the revision of the deletion once it is on disk, `None` if there was no value
    /// (and `expect` allowed that).
    async fn delete(&self, key: &str, expect: Expect) -> Result<Option<Revision>, StoreError>;

    /// Every change to keys with `prefix` after revision `after`, and how far the store has come where there is none.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, StoreError>;

    /// The revision of the last change.
    async fn revision(&self) -> Result<Revision, StoreError>;
}
