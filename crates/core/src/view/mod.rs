//! The view: all objects in memory, fed by the store's watch; what the hot path reads.
//!
//! A reader takes a [`Snapshot`], which never changes and costs one atomic load; writers swap in the next one.
//! Nobody who reads touches the disk or waits for a lock. Who wants to know what changes asks the dispatcher behind it
//! ([`View::watch`]); from what that keeps, a snapshot of a while ago is made again ([`View::snapshot_at`]).

mod dispatch;
mod feed;
mod graph;
mod index;
mod moved;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

pub use dispatch::{Bounds, Subject, Watcher};
pub use moved::Moved;

use arc_swap::ArcSwap;
use imbl::OrdMap;
use tokensmith_objects::Stored;
use tokio::sync::watch;

use crate::access::rbac::{Aggregation, Policy};
use crate::clock::Clock;
use crate::pulse::{Ill, Pulse};
use crate::store::{Revision, Store, StoreError};
use dispatch::Dispatcher;

/// The store's key prefix for API objects. Keys are `/registry/RESOURCE/NS/NAME` (namespaced) or
/// `/registry/RESOURCE/NAME`; RESOURCE is `pods` in the core group, else `GROUP/RESOURCE`.
pub const REGISTRY: &str = "/registry/";

/// The key under which an object is stored. `group` and `namespace` may be empty.
pub fn object_key(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    let mut key = collection_key(group, resource, namespace);
    key.push_str(name);
    key
}

/// The prefix of a collection's keys: all namespaces when `namespace` is empty.
pub fn collection_key(group: &str, resource: &str, namespace: &str) -> String {
    let mut key = String::with_capacity(64);
    key.push_str(REGISTRY);
    if !group.is_empty() {
        key.push_str(group);
        key.push('/');
    }
    key.push_str(resource);
    key.push('/');
    if !namespace.is_empty() {
        key.push_str(namespace);
        key.push('/');
    }
    key
}

/// The groups without a domain: Kubernetes' oldest, and there will be no others.
const BARE: [&str; 4] = ["apps", "autoscaling", "batch", "policy"];

/// Takes apart what stands behind [`REGISTRY`] in a key: the group, the resource, and what is below it. No resource of the core
/// group has a dot in its name, or is called as a group is.
pub fn split_key(key: &str) -> (&str, &str, &str) {
    let (first, rest) = key.split_once('/').unwrap_or((key, ""));
    if !first.contains('.') && !BARE.contains(&first) {
        return ("", first, rest);
    }
    let (resource, rest) = rest.split_once('/').unwrap_or((rest, ""));
    (first, resource, rest)
}

/// What stands of the same in front of what is below it: the group, where it has one, and the resource.
pub fn collection_of(key: &str) -> &str {
    let (.., below) = split_key(key);
    key[..key.len() - below.len()].trim_end_matches('/')
}

/// All objects at one revision.
#[derive(Clone, Default)]
pub struct Snapshot {
    objects: OrdMap<Arc<str>, Arc<Stored>>,
    graph: graph::Graph,
    index: index::Index,
    policy: Policy,
    revision: Revision,
}

impl Snapshot {
    /// The store's revision that this shows.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The roles and bindings, by what they allow to whom.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// One object; `group` and `namespace` may be empty.
    pub fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<&Arc<Stored>> {
        self.objects.get(object_key(group, resource, namespace, name).as_str())
    }

    /// A collection in key order: one namespace's, or all when `namespace` is empty.
    pub fn list<'a>(
        &'a self,
        group: &str,
        resource: &str,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Stored>)> + use<'a> {
        self.scan(collection_key(group, resource, namespace), None)
    }

    /// Whether an object leads to a node: a pod that is bound to it uses the object, or the object names the node. What
    /// is asked for need not be there.
    pub fn leads(&self, node: &str, group: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let key = object_key(group, resource, namespace, name);
        self.graph.leads(key.strip_prefix(REGISTRY).unwrap_or(&key), node)
    }

    /// The aggregation rules of ClusterRoles, by the roles' names; without those that cannot be read.
    pub fn gatherers(&self) -> impl Iterator<Item = (&str, &Arc<Aggregation>)> {
        self.index.gatherers()
    }

    /// That of one ClusterRole.
    pub fn gatherer(&self, name: &str) -> Option<&Arc<Aggregation>> {
        self.index.gatherer(name)
    }

    /// The names of the Secrets that ask for a token of an account.
    pub fn token_secrets(&self, namespace: &str, account: &str) -> impl Iterator<Item = &str> + use<'_> {
        self.index.token_secrets(namespace, account)
    }

    /// Whether a service has a port of nodes.
    pub fn has_node_port(&self, port: u16) -> bool {
        self.index.has_node_port(port)
    }

    /// How many objects a collection has: one namespace's, or all when `namespace` is empty.
    pub fn count(&self, group: &str, resource: &str, namespace: &str) -> usize {
        self.index.count_of(&collection_key(group, resource, namespace))
    }

    /// The pods that are bound to a node and whose keys have a prefix, after a key (exclusive) when given.
    pub fn pods_of<'a>(
        &'a self,
        node: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Stored>)> + use<'a> {
        let (start, prefix) = (beginning(prefix, after), prefix.to_owned());
        let keys = self
            .index
            .pods_of(node)
            .into_iter()
            .flat_map(move |keys| keys.range((start.clone(), Bound::Unbounded)));
        let keys = keys.take_while(move |key| key.starts_with(&prefix));
        keys.filter_map(|key| self.objects.get_key_value(key).map(|(key, object)| (&**key, object)))
    }

    /// The entries under a key prefix, after a key (exclusive) when given.
    pub fn scan<'a>(
        &'a self,
        prefix: String,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Stored>)> + use<'a> {
        self.objects
            .range((beginning(&prefix, after), Bound::Unbounded))
            .map(|(k, v)| (&**k, v))
            .take_while(move |(k, _)| k.starts_with(&prefix))
    }

    /// What is under a key, if it is of that very revision.
    fn at(&self, key: &str, revision: Revision) -> Option<Arc<Stored>> {
        let found = self.objects.get(key)?;
        (found.revision() == revision).then(|| found.clone())
    }

    /// Objects that are all there is, each under a key of its own, at a revision.
    fn of(objects: Vec<(Arc<str>, Arc<Stored>)>, graph: graph::Graph, revision: Revision) -> Self {
        let index = index::Index::of(&objects);
        let mut snapshot = Snapshot { index, graph, revision, ..Snapshot::default() };
        for (key, object) in &objects {
            let vertex = key.strip_prefix(REGISTRY).unwrap_or(key);
            snapshot.policy.change(vertex, None, Some(object));
        }
        snapshot.objects = objects.into_iter().collect();
        snapshot
    }

    /// The snapshot after one more change: `object` is `None` for a delete. What was there before.
    pub fn apply(
        &mut self,
        key: &str,
        object: Option<Arc<Stored>>,
        revision: Revision,
    ) -> Option<Arc<Stored>> {
        let key: Arc<str> = key.into();
        let old = match &object {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&*key),
        };
        let vertex = key.strip_prefix(REGISTRY).unwrap_or(&key);
        self.graph.change(vertex, old.as_deref(), object.as_deref());
        self.index.change(&key, old.as_deref(), object.as_deref());
        self.policy.change(vertex, old.as_deref(), object.as_deref());
        self.revision = revision;
        old
    }
}

fn beginning(prefix: &str, after: Option<&str>) -> Bound<Arc<str>> {
    match after {
        Some(key) if key >= prefix => Bound::Excluded(key.into()),
        _ => Bound::Included(prefix.into()),
    }
}

/// Hands out snapshots and tells when a revision has arrived.
pub struct View {
    current: ArcSwap<Snapshot>,
    revision: watch::Sender<Revision>,
    dispatcher: Arc<Dispatcher>,
    /// Of the task that feeds it; it beats when the view is known to be current.
    pulse: Pulse,
}

/// Readiness fails when the view has not been known to be current for longer.
const SILENT: Duration = Duration::from_secs(60);

impl View {
    /// A view that starts with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        View::keeping(Bounds::default(), snapshot)
    }

    /// The same, with as much of the past for who watches.
    pub fn keeping(bounds: Bounds, snapshot: Snapshot) -> Self {
        let revision = watch::Sender::new(snapshot.revision);
        let dispatcher = Dispatcher::new(bounds, snapshot.revision);
        View { current: ArcSwap::from_pointee(snapshot), revision, dispatcher, pulse: Pulse::default() }
    }

    /// The latest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The snapshot of an earlier revision; `None` when that is no longer kept, or still to come. The changes since are taken
    /// back one by one: a snapshot for each of ten thousand revisions would take more room than all objects, and few are ever
    /// asked for.
    pub fn snapshot_at(&self, revision: Revision) -> Option<Arc<Snapshot>> {
        let (changes, current) = self.dispatcher.since(revision, || self.snapshot())?;
        if current.revision <= revision {
            return (current.revision == revision).then_some(current);
        }
        let mut snapshot = (*current).clone();
        for moved in changes {
            snapshot.apply(&moved.key, moved.old.clone(), revision);
        }
        snapshot.revision = revision;
        Some(Arc::new(snapshot))
    }

    /// The oldest revision for which [`View::snapshot_at`] has an answer.
    pub fn oldest(&self) -> Revision {
        self.dispatcher.listable()
    }

    /// Watches a subject after a revision. Where that is before what is kept, as after a restart, what happened since comes
    /// from the store, which must be the one that feeds this view.
    ///
    /// # Errors
    /// [`StoreError::Compacted`]: the history does not reach back that far; or the store cannot be read.
    pub async fn watch(
        &self,
        from: (&dyn Store, &dyn Clock),
        subject: &Subject,
        after: Revision,
    ) -> Result<Watcher, StoreError> {
        self.dispatcher.watch(from, &self.snapshot(), subject, after).await
    }

    /// Replaces the snapshot by one that these changes lead to.
    fn publish(&self, snapshot: Snapshot, changes: Vec<Arc<Moved>>) {
        let revision = snapshot.revision;
        let snapshot = Arc::new(snapshot);
        let (_old, woken) = self.dispatcher.tell(changes, revision, || self.current.swap(snapshot));
        // Who has written goes on before those who watch.
        self.revision.send_replace(revision);
        woken.wake();
    }

    /// Replaces the snapshot where it is not known what has led to it.
    fn restart(&self, snapshot: Snapshot) {
        let revision = snapshot.revision;
        let snapshot = Arc::new(snapshot);
        let (_old, woken) = self.dispatcher.restart(revision, || self.current.swap(snapshot));
        self.revision.send_replace(revision);
        woken.wake();
    }

    /// Waits until the view shows `revision`, so that who has written reads their own write.
    pub async fn reached(&self, revision: Revision) {
        let mut changes = self.revision.subscribe();
        // The sender lives in `self`: it cannot be gone.
        let _ = changes.wait_for(|r| *r >= revision).await;
    }

    /// After a leap of a test's clock: waits until the view is known to be current again.
    pub async fn settled(&self, clock: &dyn Clock) {
        if let Some(Ill::Silent(_)) = self.pulse.ill(clock, SILENT) {
            self.pulse.beaten(clock.monotonic()).await;
        }
    }

    /// What keeps the view from being current, for readiness; `None` when it is.
    pub fn problem(&self, clock: &dyn Clock) -> Option<String> {
        Some(match self.pulse.ill(clock, SILENT)? {
            Ill::Ended => "the task that keeps the objects current has ended".into(),
            Ill::Silent(span) => {
                format!("the objects have not been known to be current for {} s", span.as_secs())
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;
    use tokensmith_objects::Object;

    use super::*;

    /// Of each kind that is stored: a group without a domain is easily taken for a resource.
    #[test]
    fn keys_are_taken_apart_as_they_were_put_together() {
        for kind in tokensmith_objects::schema::Schema::builtin().kinds().filter(|kind| kind.stored) {
            for (namespace, below) in [("", "x"), ("n", "n/x")] {
                let key = object_key(&kind.group, &kind.plural, namespace, "x");
                let parts = split_key(key.strip_prefix(REGISTRY).unwrap());
                assert_eq!(parts, (kind.group.as_str(), kind.plural.as_str(), below), "{key}");
            }
        }
        assert_eq!(split_key("pods"), ("", "pods", ""));
        assert_eq!(split_key("apps"), ("apps", "", ""));
    }

    /// Puts an object where it belongs.
    pub(crate) fn put(objects: &mut Snapshot, group: &str, plural: &str, value: Value) {
        let object = Object::from_value(value).unwrap();
        let key = object_key(group, plural, object.namespace(), object.name());
        objects.apply(&key, Some(object.into()), 1);
    }
}
