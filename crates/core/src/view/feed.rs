//! Feeding the view: one listing, then every change.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokensmith_objects::Object;

use super::{REGISTRY, Snapshot, View};
use crate::clock::Clock;
use crate::follow::{Follower, News};
use crate::store::{Change, Listing, Revision, Store, StoreError};

impl View {
    /// A view of what the store holds now.
    pub async fn load(store: &dyn Store) -> Result<View, StoreError> {
        load(store).await.map(View::new)
    }

    /// Keeps the view current, for as long as the server runs.
    ///
    /// Changes that are ready are applied together and published once, so a burst costs one swap. Where changes may
    /// have been missed, all is read anew.
    pub async fn feed(&self, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
        let _running = self.pulse.begin(&*clock);
        let mut follower = Follower::new(store, clock.clone(), REGISTRY).after(self.snapshot().revision());
        loop {
            crate::supervise::turn();
            match follower.next().await {
                News::Anew(listing) => {
                    self.publish(shown(listing));
                    self.pulse.beat(clock.monotonic());
                }
                News::Changes(told) => {
                    let mut snapshot = (*self.snapshot()).clone();
                    told.changes.iter().for_each(|change| apply(&mut snapshot, change));
                    // What was written elsewhere, too.
                    snapshot.revision = told.revision;
                    self.publish(snapshot);
                }
                News::Current => self.pulse.beat(clock.monotonic()),
            }
        }
    }
}

fn apply(snapshot: &mut Snapshot, change: &Change) {
    let object = change.value.as_ref().and_then(|v| read(&change.key, v, change.revision));
    snapshot.apply(&change.key, object, change.revision);
}

async fn load(store: &dyn Store) -> Result<Snapshot, StoreError> {
    store.list(REGISTRY, None, 0).await.map(shown)
}

fn shown(listing: Listing) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for entry in listing.entries {
        let object = read(&entry.key, &entry.value, entry.revision);
        snapshot.apply(&entry.key, object, entry.revision);
    }
    snapshot.revision = listing.revision;
    snapshot
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
