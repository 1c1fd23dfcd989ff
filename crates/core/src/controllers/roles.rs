//! ClusterRoles that gather the rules of others (`pkg/controller/clusterroleaggregation`).

use serde_json::Value;
use tokensmith_objects::schema;

use super::Controllers;
use crate::access::rbac::aggregated_rules;
use crate::error::Error;
use crate::registry::{Request, Subresource, system};

const GROUP: &str = "rbac.authorization.k8s.io";

impl Controllers {
    /// Brings all of them up to date: any role may be part of any.
    pub(super) async fn roles(&self) -> Result<(), Error> {
        let Some(kind) = schema::kind(GROUP, "clusterroles") else { return Ok(()) };
        let user = system();
        let snapshot = self.registry.snapshot();
        let all: Vec<_> = snapshot.list(GROUP, "clusterroles", "").map(|(_, role)| &**role).collect();
        for role in &all {
            let Some(rules) = aggregated_rules(role, all.iter().copied()) else { continue };
            let rules: Vec<Value> = rules.iter().map(Value::from).collect();
            if role.get("rules").and_then(Value::as_array).map_or(rules.is_empty(), |there| *there == rules) {
                continue;
            }
            let mut gathered = (*role).clone();
            gathered.set(&["rules"], rules);
            self.registry
                .update(&mut Request::by(&user), kind, "", role.name(), Subresource::None, gathered)
                .await?;
        }
        Ok(())
    }
}
