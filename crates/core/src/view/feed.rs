//! Feeding the view: one listing, then every change.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use tokensmith_objects::Object;

use super::{REGISTRY, Snapshot, View};
use crate::store::{Changes, Revision, Store, StoreError};

impl View {
    /// A view of what the store holds now.
    pub async fn load(store: &dyn Store) -> Result<View, StoreError> {
        load(store).await.map(View::new)
    }

    /// Keeps the view current; returns only when the store fails for good.
    ///
    /// Changes that are ready are applied together and published once, so a burst costs one swap. A gap in the
    /// history (this task was starved) is closed by a new listing.
    pub async fn feed(&self, store: &dyn Store) -> Result<(), StoreError> {
        loop {
            let mut snapshot = (*self.snapshot()).clone();
            let mut changes = match store.watch("/", snapshot.revision()).await {
                Ok(changes) => changes,
                Err(StoreError::Compacted { .. }) => {
                    self.publish(load(store).await?);
                    continue;
                }
                Err(e) => return Err(e),
            };
            while apply_ready(&mut snapshot, &mut changes).await? {
                self.publish(snapshot.clone());
            }
        }
    }
}

/// Waits for a change and takes all that are ready with it; false when the history has a gap.
async fn apply_ready(snapshot: &mut Snapshot, changes: &mut Changes) -> Result<bool, StoreError> {
    let mut next = changes.next().await;
    loop {
        match next {
            Some(Ok(change)) => {
                if change.key.starts_with(REGISTRY) {
                    let object = change.value.as_ref().and_then(|v| read(&change.key, v, change.revision));
                    snapshot.apply(&change.key, object, change.revision);
                } else {
                    snapshot.apply_elsewhere(change.revision);
                }
            }
            Some(Err(StoreError::Compacted { .. })) | None => return Ok(false),
            Some(Err(e)) => return Err(e),
        }
        match changes.next().now_or_never() {
            Some(ready) => next = ready,
            None => return Ok(true),
        }
    }
}

async fn load(store: &dyn Store) -> Result<Snapshot, StoreError> {
    let listing = store.list(REGISTRY, None, 0).await?;
    let mut snapshot = Snapshot::default();
    for entry in listing.entries {
        let object = read(&entry.key, &entry.value, entry.revision);
        snapshot.apply(&entry.key, object, entry.revision);
    }
    snapshot.revision = listing.revision;
    Ok(snapshot)
}

/// The object behind stored bytes, with its revision as `metadata.resourceVersion`.
fn read(key: &str, value: &Bytes, revision: Revision) -> Option<Arc<Object>> {
    let object = serde_json::from_slice::<Value>(value).ok().and_then(Object::from_value);
    let Some(mut object) = object else {
        tracing::error!(key, "a stored object cannot be read and is left out");
        return None;
    };
    object.set(&["metadata", "resourceVersion"], revision.to_string());
    Some(Arc::new(object))
}

/// The bytes under which an object is stored: without `metadata.resourceVersion`, which is the entry's revision.
pub fn stored_bytes(object: &Object) -> Bytes {
    let mut object = object.clone();
    object.remove(&["metadata", "resourceVersion"]);
    Bytes::from(tokensmith_api::json::to_vec(&object.into_value()))
}
