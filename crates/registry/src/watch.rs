//! Watch: what changes in a collection, seen through selectors (apiserver `storage/cacher`).

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::*;
use tokensmith_core::store::Change;
use tokensmith_core::view::collection_key;

/// A change, as the watcher's selectors see it: an object that begins to match is added, one that ceases to is deleted.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is there now.
    Added(Arc<Stored>),
    /// All that was there at this revision has been sent.
    Begun(Revision),
    /// It is gone; this is its last state, at the revision of the change.
    Deleted(Arc<Stored>),
    /// It has changed.
    Modified(Arc<Stored>),
}

impl Registry {
    /// Watches a collection: after `resourceVersion`, or with all that is there first when that is empty or `0`.
    ///
    /// # Errors
    /// 400 for a wrong selector or version; 410 when the history does not reach back that far.
    pub async fn watch(
        &self,
        kind: &Kind,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let prefix = collection_key(&kind.group, &kind.plural, namespace);
        let wanted = options.revision()?;
        let (first, after) = match wanted == 0 || options.send_initial_events {
            true => {
                let snapshot = self.snapshot();
                if wanted > snapshot.revision() {
                    return Err(Error::Ahead { wanted, current: snapshot.revision() });
                }
                let there =
                    snapshot.scan(prefix.clone(), None).map(|(_, o)| o).filter(|o| options.take(&***o));
                let mut first: Vec<_> = there.cloned().map(Event::Added).map(Ok).collect();
                if options.send_initial_events {
                    first.push(Ok(Event::Begun(snapshot.revision())));
                }
                (first, snapshot.revision())
            }
            false => (Vec::new(), wanted),
        };
        let changes = self.store.watch(&prefix, after).await.map_err(|e| failed(&e, after))?;
        let wish = options.clone();
        let changes = changes.map_ok(|told| stream::iter(told.changes).map(Ok)).try_flatten();
        let changes = changes.filter_map(move |change| {
            let event = match change {
                Ok(change) => event(&change, &wish).map(Ok),
                Err(e) => Some(Err(failed(&e, after))),
            };
            std::future::ready(event)
        });
        Ok(stream::iter(first).chain(changes).boxed())
    }
}

fn event(change: &Change, options: &ListOptions) -> Option<Event> {
    let read = |bytes: &Option<bytes::Bytes>| {
        bytes.clone().and_then(|json| Stored::read(json, change.revision)).map(Arc::new)
    };
    let old = read(&change.previous).filter(|o| options.take(&**o));
    let new = read(&change.value).filter(|o| options.take(&**o));
    match (old, new) {
        (None, Some(new)) => Some(Event::Added(new)),
        (Some(_), Some(new)) => Some(Event::Modified(new)),
        (Some(old), None) => Some(Event::Deleted(old)),
        (None, None) => None,
    }
}

fn failed(e: &StoreError, after: Revision) -> Error {
    match e {
        StoreError::Compacted { oldest } => {
            Error::Expired(format!("too old resource version: {after} ({oldest})"))
        }
        _ => Error::Unavailable("the watch broke off: begin again".into()),
    }
}
