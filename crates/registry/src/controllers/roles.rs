//! ClusterRoles that gather the rules of others (`pkg/controller/clusterroleaggregation`).

use bytes::Bytes;
use serde_json::Value;
use tokensmith_objects::{Object, schema};

use super::Controllers;
use super::queue::{Done, Key};
use crate::{Request, Subresource, system};
use tokensmith_core::access::rbac::{aggregated_rules, aggregates};
use tokensmith_core::error::Error;
use tokensmith_core::store::Change;
use tokensmith_core::view::object_key;

pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

impl Controllers {
    /// Brings a role that gathers others up to date.
    pub(super) async fn role(&self, name: &str) -> Result<Done, Error> {
        let Some(kind) = schema::kind(GROUP, "clusterroles") else { return Ok(Done::default()) };
        let _one = self.gathering.lock().await;
        let snapshot = self.registry.snapshot();
        let role = snapshot.get(GROUP, "clusterroles", "", name).filter(|role| gathers(role));
        let Some(role) = role else { return Ok(Done::default()) };
        let all: Vec<_> = snapshot.list(GROUP, "clusterroles", "").map(|(_, role)| &**role).collect();
        let Some(rules) = aggregated_rules(role, all.iter().copied()) else { return Ok(Done::default()) };
        let rules: Vec<Value> = rules.iter().map(Value::from).collect();
        if role.get("rules").and_then(Value::as_array).map_or(rules.is_empty(), |there| *there == rules) {
            return Ok(Done::default());
        }
        let mut gathered = (**role).clone();
        gathered.set(&["rules"], rules);
        let user = system();
        let (request, part) = (&mut Request::by(&user), Subresource::None);
        self.registry.update(request, kind, "", name, part, gathered).await?;
        Ok(Done::wrote(true))
    }

    /// The roles that gather one that has changed, as it was or as it is.
    pub(super) fn gatherers(&self, change: &Change) -> Vec<Key> {
        let read = |value: &Option<Bytes>| {
            let value = serde_json::from_slice(value.as_ref()?).ok()?;
            Object::from_value(value)
        };
        let states = [read(&change.previous), read(&change.value)];
        let snapshot = self.registry.snapshot();
        let gather = snapshot.gatherers().filter(|role| states.iter().flatten().any(|o| aggregates(role, o)));
        gather.map(|role| object_key(GROUP, "clusterroles", "", role.name()).into()).collect()
    }
}

/// Whether a role gathers others.
pub(super) fn gathers(role: &Object) -> bool {
    role.get("aggregationRule").is_some()
}
