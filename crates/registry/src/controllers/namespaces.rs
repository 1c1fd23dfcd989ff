//! Namespaces: furnished while they are open, emptied and removed once they are deleted
//! (`pkg/controller/namespace/deletion`).
//!
//! A closing namespace tells once what it holds; each object is then a key of its own, which is deleted, and which looks
//! whether anything is left when it has gone. So a namespace costs as much as it holds, and none holds up another.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokensmith_objects::schema::{Kind, Schema};

use super::Controllers;
use super::place::Place;
use super::queue::{Done, Key};
use crate::{DeleteOptions, Request, system};
use tokensmith_core::error::Error;
use tokensmith_core::view::collection_key;

/// The closing namespaces whose content has been told, by name: their UIDs.
#[derive(Default)]
pub(super) struct Closing {
    by_name: HashMap<String, String>,
    /// At so many those that are gone are forgotten.
    sweep: usize,
}

/// So many closing namespaces are remembered at most, or twice as many as are still there.
const REMEMBERED: usize = 1_000;

impl Closing {
    /// Remembers one; whether that is news. `there`: whether a namespace still is. However many close at once, each is asked
    /// for a few times.
    fn add(&mut self, name: &str, uid: &str, mut there: impl FnMut(&str) -> bool) -> bool {
        if self.by_name.len() >= self.sweep.max(REMEMBERED) {
            self.by_name.retain(|name, _| there(name));
            self.sweep = self.by_name.len().saturating_mul(2);
        }
        self.by_name.insert(name.to_owned(), uid.to_owned()).is_none_or(|before| before != uid)
    }
}

impl Controllers {
    pub(super) async fn namespace(&self, name: &str) -> Result<Done, Error> {
        let mut done = Done::wrote(self.registry.furnish(name).await?);
        let Ok(namespace) = self.registry.get(&self.registry.core("namespaces"), "", name) else {
            return Ok(done);
        };
        done = done.and(self.empty(name).await?);
        // It is told once, so nothing that may fail comes after it.
        if namespace.deletion_timestamp().is_some() && self.closes(name, namespace.uid()) {
            done.also.extend(self.content_of(name));
        }
        Ok(done)
    }

    /// An object of a namespace that closes goes; once it has gone, so may the namespace.
    pub(super) async fn content(&self, place: &Place<'_>) -> Result<Done, Error> {
        let Place { kind, namespace, name } = *place;
        let closing = {
            let snapshot = self.registry.snapshot();
            match snapshot.get("", "namespaces", "", namespace) {
                _ if namespace.is_empty() => false,
                Some(there) => there.deletion_timestamp().is_some(),
                // It was made by who had seen the namespace open.
                None => self.closed(namespace),
            }
        };
        if !closing {
            return Ok(Done::default());
        }
        match self.registry.get(kind, namespace, name) {
            Ok(object) if object.deletion_timestamp().is_none() => {
                let (user, options) = (system(), DeleteOptions::default().of(object.uid()));
                self.registry.delete(&mut Request::by(&user), kind, namespace, name, &options).await?;
                Ok(Done::wrote(true))
            }
            Ok(_) => Ok(Done::default()),
            Err(_) => self.empty(namespace).await,
        }
    }

    /// Removes a closing namespace that holds nothing any more.
    async fn empty(&self, name: &str) -> Result<Done, Error> {
        let kind = &self.registry.core("namespaces");
        let Ok(namespace) = self.registry.get(kind, "", name) else { return Ok(Done::default()) };
        if namespace.deletion_timestamp().is_none() || self.holds_something(name) {
            return Ok(Done::default());
        }
        if !namespace.finalizers().is_empty() {
            return Ok(Done::default());
        }
        let others = namespace.value(&["spec", "finalizers"]);
        if others.as_ref().and_then(Value::as_array).into_iter().flatten().any(|f| f != "kubernetes") {
            return Ok(Done::default());
        }
        self.registry.remove(kind, &namespace).await?;
        // A create that saw the namespace open may have been on its way.
        Ok(Done { wrote: true, also: self.content_of(name), again: None })
    }

    fn content_of(&self, namespace: &str) -> Vec<Key> {
        let (snapshot, schema) = (self.registry.snapshot(), self.registry.schema());
        let of = |kind: &Arc<Kind>| snapshot.scan(collection_key(&kind.group, &kind.plural, namespace), None);
        namespaced(&schema).flat_map(of).map(|(key, _)| key.into()).collect()
    }

    fn holds_something(&self, namespace: &str) -> bool {
        let (snapshot, schema) = (self.registry.snapshot(), self.registry.schema());
        namespaced(&schema).any(|kind| snapshot.list(&kind.group, &kind.plural, namespace).next().is_some())
    }

    /// Remembers that a namespace closes; whether that is news.
    fn closes(&self, name: &str, uid: &str) -> bool {
        let mut closing = self.closing.lock().unwrap_or_else(|e| e.into_inner());
        let snapshot = self.registry.snapshot();
        closing.add(name, uid, |name| snapshot.get("", "namespaces", "", name).is_some())
    }

    /// Whether a namespace that is not there was closed here. What has lost its namespace in any other way, such as by a
    /// damaged database, is nobody's to delete.
    fn closed(&self, name: &str) -> bool {
        self.closing.lock().unwrap_or_else(|e| e.into_inner()).by_name.contains_key(name)
    }
}

/// What can be in a namespace.
fn namespaced(schema: &Schema) -> impl Iterator<Item = &Arc<Kind>> {
    schema.kinds().filter(|kind| kind.stored && kind.namespaced && !kind.is_view())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_namespaces_close_at_once_each_costs_a_few_looks() {
        let (mut closing, mut looks) = (Closing::default(), 0);
        let there = |looks: &mut usize| {
            *looks += 1;
            true
        };
        for at in 0..20_000 {
            assert!(closing.add(&format!("n{at}"), "u", |_| there(&mut looks)));
        }
        assert!(
            !closing.add("n0", "u", |_| there(&mut looks)) && closing.add("n0", "v", |_| there(&mut looks))
        );
        assert!(looks < 3 * 20_000, "{looks} looks");
        // They go, and others come: no more are remembered than twice as many as were there.
        for at in 0..200_000 {
            closing.add(&format!("m{at}"), "u", |name| name == format!("m{at}"));
        }
        assert!(closing.by_name.len() <= REMEMBERED, "{} are remembered", closing.by_name.len());
    }
}
