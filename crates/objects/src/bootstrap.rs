//! The RBAC objects that a fresh cluster has.

use serde_json::{Map, Value, json};

use crate::Object;

/// The bootstrap roles and bindings as full objects, from the same data as the schema table.
pub fn rbac() -> Vec<Object> {
    let rows: Vec<Map<String, Value>> =
        serde_json::from_str(include_str!("../schema/kubernetes-1.36/rbac-bootstrap.json"))
            .expect("the file is part of the source and tested");
    rows.into_iter().map(object).collect()
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
    use crate::schema::kind_of;

    #[test]
    fn every_bootstrap_object_is_valid() {
        let all = rbac();
        assert!(all.len() > 100);
        for object in all {
            let kind = kind_of("rbac.authorization.k8s.io", "v1", object.kind()).unwrap();
            assert_eq!(kind.namespaced, !object.namespace().is_empty(), "{object:?}");
            decode_value(object.clone().into_value(), &Expected::kind(kind), FieldValidation::Strict)
                .unwrap();
        }
    }
}
