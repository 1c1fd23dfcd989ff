//! How an object reaches the store: with the revision that is expected there, and until the view shows it.

use std::sync::Arc;

use tokensmith_core::error::Error;
use tokensmith_core::store::{Entry, Expect, StoreError};
use tokensmith_core::view::object_key;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Object, Stored};

use super::{Registry, Request, normalise};

impl Registry {
    /// Writes an object as the server itself has changed it, unless that is nothing; gives what there is then, or would be.
    pub(super) async fn rewrite(
        &self,
        kind: &Kind,
        there: &Arc<Stored>,
        object: Object,
        dry_run: bool,
    ) -> Result<Arc<Stored>, Error> {
        let made = Stored::of(kind, &normalise(kind, object)?, there.revision());
        if made.json() == there.wire(kind).json() {
            return Ok(there.clone());
        }
        if dry_run {
            return Ok(Arc::new(made));
        }
        let expect = Expect::Unchanged(there.revision());
        self.written(kind, self.write(kind, &made, expect).await, there).await
    }

    /// What came of writing an object in the place of another one.
    pub(super) async fn written(
        &self,
        kind: &Kind,
        done: Result<Arc<Stored>, StoreError>,
        there: &Stored,
    ) -> Result<Arc<Stored>, Error> {
        match done {
            Ok(object) => Ok(object),
            Err(StoreError::Conflict(now)) => {
                // Whoever tries again sees what was faster.
                let revision = match now {
                    Some(entry) => entry.revision,
                    None => self.store.revision().await.map_err(backend)?,
                };
                self.view.reached(revision).await;
                Err(modified(kind, there.name()))
            }
            Err(e) => Err(backend(e)),
        }
    }

    /// Writes an object that a request has sent. Who manages it is forgotten before it is refused for its size, unless that is what
    /// is applied (`handlers/{create,update,patch}.go`, `isTooLargeError`).
    pub(super) async fn write_sent(
        &self,
        request: &Request<'_>,
        kind: &Kind,
        object: &Stored,
        expect: Expect,
    ) -> Result<Arc<Stored>, StoreError> {
        if object.json().len() <= LARGEST || request.options.applies() {
            return self.write(kind, object, expect).await;
        }
        let mut tree = object.object();
        tree.remove(tokensmith_fields::MANAGED);
        self.write(kind, &Stored::of(kind, &tree, 0), expect).await
    }

    /// Writes an object and waits until the view shows it.
    pub(super) async fn write(
        &self,
        kind: &Kind,
        object: &Stored,
        expect: Expect,
    ) -> Result<Arc<Stored>, StoreError> {
        let key = object_key(&kind.group, &kind.plural, object.namespace(), object.name());
        if object.json().len() > LARGEST {
            return Err(StoreError::TooLarge);
        }
        let revision = match self.store.put(&key, object.json().clone(), expect).await {
            Err(StoreError::Conflict(there)) => return Err(self.overtaken(there).await),
            other => other?,
        };
        self.view.reached(revision).await;
        Ok(Arc::new(object.at_revision(revision)))
    }

    /// Waits until the view shows what was faster: whoever tries again reads it there.
    pub(super) async fn overtaken(&self, there: Option<Entry>) -> StoreError {
        match &there {
            Some(there) => self.view.reached(there.revision).await,
            None => match self.store.revision().await {
                Ok(revision) => self.view.reached(revision).await,
                Err(e) => return e,
            },
        }
        StoreError::Conflict(there)
    }
}

/// No object grows beyond so many bytes of JSON, by however many patches, nor by what the server itself adds to it. etcd
/// refuses a request of more than 1.5 MiB; that is of protobuf, and JSON of the same texts is seldom three times as long.
const LARGEST: usize = 3 * (3 << 19);

/// Upstream answers 500 with etcd's text when its disk is full (`etcdserver: mvcc: database space exceeded`): who writes is
/// told why, since asking again does not help.
pub(super) fn backend(e: StoreError) -> Error {
    match e {
        StoreError::Refused(_) | StoreError::TooLarge => Error::internal(e.to_string(), e),
        _ => Error::internal("the store failed", e),
    }
}

pub(super) fn modified(kind: &Kind, name: &str) -> Error {
    let cause = "the object has been modified; please apply your changes to the latest version and try again";
    Error::conflict(&kind.group, &kind.plural, name, cause)
}
