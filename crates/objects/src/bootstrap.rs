//! The RBAC objects that a fresh cluster has.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Object;
use crate::schema::Schema;

/// The bootstrap roles and bindings as full objects, from the same data as the schema table, with those that come with
/// an API that is off by default and is served.
pub fn rbac(schema: &Schema) -> Vec<Object> {
    let mut rows: Vec<Map<String, Value>> =
        serde_json::from_str(include_str!("../schema/kubernetes-1.36/rbac-bootstrap.json"))
            .expect("the file is part of the source and tested");
    let off: OffByDefault =
        serde_json::from_str(include_str!("../schema/kubernetes-1.36/off-by-default.json"))
            .expect("the file is part of the source and tested");
    for (_, api) in off.apis.into_iter().filter(|(api_version, _)| schema.serves(api_version)) {
        for row in rows.iter_mut().filter(|row| row["kind"] == "ClusterRole") {
            let more = row.get("name").and_then(Value::as_str).and_then(|name| api.added_rules.get(name));
            if let (Some(more), Some(rules)) = (more, row.get_mut("rules").and_then(Value::as_array_mut)) {
                rules.extend(more.iter().cloned());
            }
        }
        rows.extend(api.bootstrap);
    }
    rows.into_iter().map(object).collect()
}

#[derive(Deserialize)]
struct OffByDefault {
    /// By `GROUP/VERSION`.
    apis: BTreeMap<String, Api>,
}

#[derive(Deserialize)]
struct Api {
    #[serde(rename = "rbac-bootstrap")]
    bootstrap: Vec<Map<String, Value>>,
    /// What roles that are there without it get besides.
    #[serde(rename = "rbac-added-rules")]
    added_rules: BTreeMap<String, Vec<Value>>,
}

fn object(mut row: Map<String, Value>) -> Object {
    let mut metadata = Map::new();
    for key in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = row.shift_remove(key) {
            metadata.insert(key.into(), value);
        }
    }
    let kind = row.shift_remove("kind").unwrap_or_default();
    let mut out = json!({"kind": kind, "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata});
    if let Value::Object(map) = &mut out {
        map.extend(row);
    }
    Object::from_value(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Expected, FieldValidation, decode_value};

    #[test]
    fn every_bootstrap_object_is_valid() {
        let all = rbac(&Schema::serving(["api/all"]).unwrap());
        assert!(all.len() > 100);
        for object in all {
            let kind = Schema::builtin().kind("rbac.authorization.k8s.io", "v1", object.kind()).unwrap();
            assert_eq!(kind.namespaced, !object.namespace().is_empty(), "{object:?}");
            decode_value(object.clone().into_value(), &Expected::kind(kind), FieldValidation::Strict)
                .unwrap();
        }
    }

    #[test]
    fn an_api_brings_its_roles() {
        let name = "system:cluster-trust-bundle-discovery";
        let read = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["get", "list", "watch"]});
        for (entries, served) in [(&[][..], false), (&["api/beta"], true)] {
            let all = rbac(&Schema::serving(entries.iter().copied()).unwrap());
            let found: Vec<_> = all.iter().filter(|o| o.name() == name).map(Object::kind).collect();
            let want = if served { vec!["ClusterRole", "ClusterRoleBinding"] } else { Vec::new() };
            assert_eq!(found, want);
            let node = all.iter().find(|o| o.kind() == "ClusterRole" && o.name() == "system:node").unwrap();
            assert_eq!(node.get("rules").unwrap().as_array().unwrap().contains(&read), served);
        }
    }
}
