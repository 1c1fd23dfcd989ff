//! Feeding the view: one listing, then every change.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use tokensmith_objects::Stored;

use super::moved::Moved;
use super::{REGISTRY, Snapshot, View, graph};
use crate::clock::Clock;
use crate::follow::{Follower, News};
use crate::store::{Change, Entry, Listing, Revision, Store, StoreError};

impl View {
    /// A view of what the store holds now.
    ///
    /// # Errors
    /// The store cannot be read. An object that cannot is left out, and logged.
    pub async fn load(store: &dyn Store) -> Result<View, StoreError> {
        load(store).await.map(View::new)
    }

    /// Keeps the view current, for as long as the server runs.
    ///
    /// Changes that are ready are applied together and published once, so a burst costs one swap. Where changes may
    /// have been missed, all is read anew, and whoever watches is told to begin anew, too: what has happened to an object
    /// cannot be learnt from two states of it, least of all that it was deleted and made again. Their clients list and compare.
    pub async fn feed(&self, store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
        let _running = self.pulse.begin(&*clock);
        let shown = self.snapshot().revision();
        // If an earlier turn of this task has panicked between the two.
        self.dispatcher.restart(shown, || ()).1.wake();
        let mut follower = Follower::new(store, clock.clone(), REGISTRY).after(shown);
        loop {
            crate::supervise::turn();
            let news = tokio::select! {
                biased;
                news = follower.next() => news,
                () = self.dispatcher.rest() => {
                    self.dispatcher.ring().wake();
                    continue;
                }
            };
            match news {
                News::Anew(listing) => {
                    self.restart(listed(listing));
                    self.pulse.beat(clock.monotonic());
                }
                News::Changes(told) => {
                    let mut snapshot = (*self.snapshot()).clone();
                    let made = self.dispatcher.made();
                    let moved = told.changes.iter().filter_map(|change| apply(&mut snapshot, change, made));
                    let moved = moved.collect();
                    // What was written elsewhere, too.
                    snapshot.revision = told.revision;
                    self.publish(snapshot, moved);
                }
                News::Current => self.pulse.beat(clock.monotonic()),
            }
        }
    }
}

/// Applies a change; what has moved by it.
fn apply(snapshot: &mut Snapshot, change: &Change, made: &Arc<AtomicUsize>) -> Option<Arc<Moved>> {
    let Change { key, value, previous, revision } = change;
    let new = value.as_ref().and_then(|value| read(key, value, *revision));
    let shown = snapshot.apply(key, new.clone(), *revision);
    // A listing may have been ahead of its revision: then what was there before is not what it shows.
    let old = shown.filter(|old| old.revision() < *revision);
    let old = old.or_else(|| previous.as_ref().and_then(|value| read(key, value, 0)));
    let moved = old.is_some() || new.is_some();
    moved.then(|| Moved::new((key.clone(), *revision), (old, new), made))
}

async fn load(store: &dyn Store) -> Result<Snapshot, StoreError> {
    store.list(REGISTRY, None, 0).await.map(listed)
}

fn listed(listing: Listing) -> Snapshot {
    let mut graph = graph::Reading::begin();
    let read = |Entry { key, value, revision }: Entry| {
        let object = told(&key, graph.read(&key, &value, revision))?;
        Some((Arc::from(key), object))
    };
    let objects = listing.entries.into_iter().filter_map(read).collect();
    Snapshot::of(objects, graph.done(), listing.revision)
}

/// The object behind stored bytes. A revision of 0 is one that is not known.
pub(super) fn read(key: &str, value: &Bytes, revision: Revision) -> Option<Arc<Stored>> {
    told(key, Stored::read(value.clone(), revision))
}

fn told(key: &str, object: Option<Stored>) -> Option<Arc<Stored>> {
    if object.is_none() {
        tracing::error!(key, "a stored object cannot be read and is left out");
    }
    object.map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/registry/pods/n/x";

    fn json(phase: &str) -> Bytes {
        let text = format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"x","namespace":"n"}},"status":{{"phase":"{phase}"}}}}"#
        );
        text.into()
    }

    /// A store may read what it lists after the revision that it tells.
    #[test]
    fn what_a_listing_was_ahead_of_is_told_as_it_was() {
        let change = |value: Option<&str>, revision| Change {
            key: KEY.into(),
            value: value.map(json),
            previous: Some(json("Pending")),
            revision,
        };
        let phase =
            |object: &Option<Arc<Stored>>| object.as_ref().map(|o| o.text(&["status", "phase"]).into_owned());
        let (mut gone, made) = (Snapshot::default(), Arc::default());
        let moved = apply(&mut gone, &change(None, 5), &made).expect("it is gone");
        assert_eq!((phase(&moved.old), phase(&moved.new)), (Some("Pending".into()), None));
        let mut ahead = Snapshot::default();
        ahead.apply(KEY, read(KEY, &json("Running"), 5), 5);
        let moved = apply(&mut ahead, &change(Some("Running"), 5), &made).expect("it has changed");
        assert_eq!((phase(&moved.old), phase(&moved.new)), (Some("Pending".into()), Some("Running".into())));
        let moved = apply(&mut ahead, &change(Some("Failed"), 6), &made).expect("it has changed");
        assert_eq!(
            (phase(&moved.old), moved.old.as_ref().map(|o| o.revision())),
            (Some("Running".into()), Some(5))
        );
    }
}
