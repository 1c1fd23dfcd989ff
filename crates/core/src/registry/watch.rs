//! Watch: what changes in a collection, seen through selectors (apiserver `storage/cacher`).

use futures::stream::{self, BoxStream, StreamExt};
use tokensmith_objects::selector::{FieldSelector, LabelSelector};

use super::list::ListOptions;
use super::*;
use crate::store::Change;
use crate::view::collection_key;

/// A change, as the watcher's selectors see it: an object that begins to match is added, one that ceases to is deleted.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is there now.
    Added(Arc<Object>),
    /// All that was there at this revision has been sent.
    Begun(Revision),
    /// It is gone; this is its last state, at the revision of the change.
    Deleted(Arc<Object>),
    /// It has changed.
    Modified(Arc<Object>),
}

struct Selectors {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selectors {
    fn take(&self, object: &Object) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }
}

impl Registry {
    /// Watches a collection: after `resourceVersion`, or with all that is there first when that is empty or `0`.
    ///
    /// # Errors
    /// 400 for a wrong selector or version; 410 when the history does not reach back that far.
    pub async fn watch(
        &self,
        kind: &'static Kind,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let selectors = Selectors {
            labels: LabelSelector::parse(&options.label_selector).map_err(Error::BadRequest)?,
            fields: FieldSelector::parse(kind, &options.field_selector).map_err(Error::BadRequest)?,
        };
        let prefix = collection_key(&kind.group, &kind.plural, namespace);
        let bad = |_| Error::BadRequest(format!("invalid resource version: {}", options.resource_version));
        let wanted = match options.resource_version.as_str() {
            "" => 0,
            text => text.parse::<Revision>().map_err(bad)?,
        };
        if options.send_initial_events && options.resource_version_match != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            let error = tokensmith_objects::FieldError::forbidden("resourceVersionMatch", detail);
            return Err(Error::invalid("meta.k8s.io", "ListOptions", "", vec![error]));
        }
        let (first, after) = match wanted == 0 || options.send_initial_events {
            true => {
                let snapshot = self.snapshot();
                if wanted > snapshot.revision() {
                    let text =
                        format!("Too large resource version: {wanted}, current: {}", snapshot.revision());
                    return Err(Error::Unavailable(text));
                }
                let there = snapshot.scan(prefix.clone(), None).map(|(_, o)| o).filter(|o| selectors.take(o));
                let mut first: Vec<_> = there.cloned().map(Event::Added).map(Ok).collect();
                if options.send_initial_events {
                    first.push(Ok(Event::Begun(snapshot.revision())));
                }
                (first, snapshot.revision())
            }
            false => (Vec::new(), wanted),
        };
        let changes = self.store.watch(&prefix, after).await.map_err(|e| failed(&e, after))?;
        let changes = changes.filter_map(move |change| {
            let event = match change {
                Ok(change) => event(&change, &selectors).map(Ok),
                Err(e) => Some(Err(failed(&e, after))),
            };
            std::future::ready(event)
        });
        Ok(stream::iter(first).chain(changes).boxed())
    }
}

fn event(change: &Change, selectors: &Selectors) -> Option<Event> {
    let read = |bytes: &Option<bytes::Bytes>| {
        let object =
            bytes.as_ref().and_then(|b| serde_json::from_slice(b).ok()).and_then(Object::from_value)?;
        Some(Arc::new(with_revision(&object, change.revision)))
    };
    let old = read(&change.previous).filter(|o| selectors.take(o));
    let new = read(&change.value).filter(|o| selectors.take(o));
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
