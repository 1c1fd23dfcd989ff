//! The objects that volumes are made of, as they were seen last. Each is followed once, for all volumes that use it,
//! for as long as one does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokensmith_objects::Object;

use super::feed::{Change, Feed};
use super::ids::{PodId, SourceId};
use crate::api::Resource;
use crate::pod::{Lookup, Objects, Reference, Unread};

#[derive(Debug, Default)]
pub(super) struct Sources {
    ids: HashMap<Reference, SourceId>,
    sources: HashMap<SourceId, Followed>,
    count: u64,
}

/// What a [`Reference`] stands for, while a pod uses it. (What a volume's manifest names is `pod::Source`.)
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) reference: Reference,
    pub(super) feed: Feed,
    pub(super) users: BTreeSet<PodId>,
    /// By name; `None` until they were read once.
    objects: Option<BTreeMap<String, Arc<Object>>>,
}

impl Sources {
    /// A pod uses an object. Gives the source if it is to be read first.
    pub(super) fn claim(&mut self, reference: Reference, user: PodId) -> Option<SourceId> {
        if let Some(source) = self.ids.get(&reference).and_then(|id| self.sources.get_mut(id)) {
            source.users.insert(user);
            return None;
        }
        self.count += 1;
        let id = SourceId(self.count);
        let feed = Feed::new(reference.resource(), reference.selection());
        let users = BTreeSet::from([user]);
        self.ids.insert(reference.clone(), id);
        self.sources.insert(id, Followed { reference, feed, users, objects: None });
        Some(id)
    }

    /// A pod no longer uses it. The last one ends the watch.
    pub(super) fn release(&mut self, reference: &Reference, user: PodId) {
        let Some(id) = self.ids.get(reference).copied() else { return };
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.users.remove(&user);
        if source.users.is_empty() {
            self.sources.remove(&id);
            self.ids.remove(reference);
        }
    }

    pub(super) fn get_mut(&mut self, id: SourceId) -> Option<&mut Followed> {
        self.sources.get_mut(&id)
    }

    /// Whether the first read is not over yet, one way or the other.
    pub(super) fn pending(&self, reference: &Reference) -> bool {
        self.find(reference).is_some_and(|s| s.objects.is_none() && s.feed.error().is_none())
    }

    /// The UID of an account, if accounts may be read.
    pub(super) fn account_uid(&self, reference: &Reference) -> Option<&str> {
        let (_, account) = self.find(reference)?.objects.as_ref()?.first_key_value()?;
        Some(account.uid())
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    fn find(&self, reference: &Reference) -> Option<&Followed> {
        self.sources.get(self.ids.get(reference)?)
    }
}

impl Followed {
    /// Whether anything is different now.
    pub(super) fn apply(&mut self, change: Change) -> bool {
        let objects = self.objects.take();
        let first = objects.is_none();
        let mut objects = objects.unwrap_or_default();
        let changed = match change {
            Change::Reset(items) => {
                let new: BTreeMap<_, _> =
                    items.into_iter().map(|o| (o.name().to_owned(), Arc::new(trimmed(o)))).collect();
                let changed = new != objects;
                objects = new;
                changed
            }
            Change::Applied(object) => {
                let object = Arc::new(trimmed(object));
                objects.insert(object.name().to_owned(), object.clone()).is_none_or(|old| old != object)
            }
            Change::Deleted(object) => objects.remove(object.name()).is_some(),
        };
        self.objects = Some(objects);
        first || changed
    }
}

impl Objects for Sources {
    fn get(&self, resource: Resource, namespace: Option<&str>, name: &str) -> Lookup {
        let namespace = namespace.map(str::to_owned);
        let reference = Reference::Named { resource, namespace, name: name.to_owned() };
        let Some(source) = self.find(&reference) else { return Lookup::Unknown(Unread::NotFollowed) };
        match &source.objects {
            Some(objects) => objects.get(name).map_or(Lookup::Missing, |o| Lookup::Found(o.clone())),
            None => Lookup::Unknown(source.unread()),
        }
    }

    fn trust_bundles(&self, signer_name: &str) -> Result<Vec<Arc<Object>>, Unread> {
        let reference = Reference::Signer(signer_name.to_owned());
        let Some(source) = self.find(&reference) else { return Err(Unread::NotFollowed) };
        match &source.objects {
            Some(objects) => Ok(objects.values().cloned().collect()),
            None => Err(source.unread()),
        }
    }
}

impl Followed {
    fn unread(&self) -> Unread {
        self.feed.error().cloned().map_or(Unread::NotYet, Unread::Api)
    }
}

/// Without the history of who set what, which no volume shows: it is often most of an object.
pub(super) fn trimmed(mut object: Object) -> Object {
    object.remove(&["metadata", "managedFields"]);
    object
}
