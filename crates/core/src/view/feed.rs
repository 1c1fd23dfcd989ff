//! Feeding the view: one listing, then every change.

use std::sync::Arc;

use bytes::Bytes;
use tokensmith_objects::Stored;

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

/// The object behind stored bytes.
fn read(key: &str, value: &Bytes, revision: Revision) -> Option<Arc<Stored>> {
    let object = Stored::read(value.clone(), revision);
    if object.is_none() {
        tracing::error!(key, "a stored object cannot be read and is left out");
    }
    object.map(Arc::new)
}
