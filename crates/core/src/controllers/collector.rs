//! What waits for the collector of dependents (`pkg/controller/garbagecollector`): an object that was deleted with
//! `Foreground` goes after what it owns, one with `Orphan` after its dependents have forgotten it.
//!
//! Nobody else takes these finalizers away: without this, such an object, and the namespace that it is in, would stay
//! for ever.

use std::sync::Arc;

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokensmith_objects::Object;
use tokensmith_objects::schema::{Kind, kind};

use super::Controllers;
use crate::error::Error;
use crate::registry::{DeleteOptions, Request, Subresource, system};
use crate::view::REGISTRY;

/// As kube-controller-manager's, the collector comes a moment later: who has deleted sees what it waits for.
const MOMENT: Duration = Duration::seconds(5);
/// How soon dependents that hold their owner are looked at again.
const AGAIN: Duration = Duration::seconds(1);

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

impl Controllers {
    /// Does what an object waits for; says when to look again.
    pub(super) async fn collect(&self, path: &[&str]) -> Result<Option<OffsetDateTime>, Error> {
        let Some((kind, namespace, name)) = place(path) else { return Ok(None) };
        let Ok(object) = self.registry.get(kind, namespace, name) else { return Ok(None) };
        let Some(begun) = object.deletion_timestamp() else { return Ok(None) };
        let Some(policy) = object.finalizers().find(|f| *f == FOREGROUND || *f == ORPHAN) else {
            return Ok(None);
        };
        let now = self.clock.now();
        let due = begun.saturating_add(MOMENT);
        if now < due {
            return Ok(Some(due));
        }
        for (key, dependent) in self.dependents(object.uid()) {
            let path: Vec<&str> = key.split('/').collect();
            let Some((of, namespace, name)) = place(&path) else { continue };
            let done = match policy {
                ORPHAN => self.forget(of, &dependent, object.uid()).await,
                _ => {
                    let (user, options) = (system(), DeleteOptions::default().of(dependent.uid()));
                    let request = &mut Request::by(&user);
                    self.registry.delete(request, of, namespace, name, &options).await.map(drop)
                }
            };
            match done {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        let holds = |dependent: &Object| {
            owners(dependent).iter().any(|o| o["uid"] == object.uid() && o["blockOwnerDeletion"] == true)
        };
        if policy == FOREGROUND && self.dependents(object.uid()).iter().any(|(_, d)| holds(d)) {
            return Ok(Some(now + AGAIN));
        }
        let mut released = (*object).clone();
        let left: Vec<Value> = object.finalizers().filter(|f| *f != policy).map(Value::from).collect();
        released.set(&["metadata", "finalizers"], left);
        self.write(kind, &object, released).await.map(|()| None)
    }

    /// What an object owns, by key.
    fn dependents(&self, owner: &str) -> Vec<(String, Arc<Object>)> {
        let snapshot = self.registry.snapshot();
        let owned = |object: &Object| owners(object).iter().any(|o| o["uid"] == owner);
        let all = snapshot.scan(REGISTRY.to_owned(), None).filter(|(_, object)| owned(object));
        all.map(|(key, object)| (key.strip_prefix(REGISTRY).unwrap_or(key).to_owned(), object.clone()))
            .collect()
    }

    /// Takes an owner out of a dependent.
    async fn forget(&self, kind: &'static Kind, dependent: &Arc<Object>, owner: &str) -> Result<(), Error> {
        let mut orphan = (**dependent).clone();
        let left: Vec<Value> = owners(dependent).iter().filter(|o| o["uid"] != owner).cloned().collect();
        match left.is_empty() {
            true => drop(orphan.remove(&["metadata", "ownerReferences"])),
            false => orphan.set(&["metadata", "ownerReferences"], left),
        }
        self.write(kind, dependent, orphan).await
    }

    async fn write(&self, kind: &'static Kind, old: &Object, new: Object) -> Result<(), Error> {
        let user = system();
        let (request, part) = (&mut Request::by(&user), Subresource::None);
        self.registry.update(request, kind, old.namespace(), old.name(), part, new).await.map(drop)
    }
}

fn owners(object: &Object) -> &[Value] {
    object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Kind, namespace and name of a key's parts.
fn place<'a>(path: &[&'a str]) -> Option<(&'static Kind, &'a str, &'a str)> {
    let (group, rest) = match path {
        [group, rest @ ..] if group.contains('.') => (*group, rest),
        rest => ("", rest),
    };
    match *rest {
        [plural, name] => Some((kind(group, plural)?, "", name)),
        [plural, namespace, name] => Some((kind(group, plural)?, namespace, name)),
        _ => None,
    }
}
