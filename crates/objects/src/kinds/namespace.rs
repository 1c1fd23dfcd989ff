//! Namespaces.

use crate::Object;

pub(crate) fn defaults(object: &mut Object) {
    let name = object.name().to_owned();
    // The label lets selectors find a namespace by name; it cannot be removed.
    if !name.is_empty() {
        object.set(&["metadata", "labels", "kubernetes.io/metadata.name"], name);
    }
    if object.at(&["status", "phase"]).is_none() {
        object.set(&["status", "phase"], "Active");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::kinds::testing::defaulted;

    #[test]
    fn a_namespace_is_found_by_its_name_and_begins_open() {
        let ns = defaulted("", "namespaces", json!({"metadata": {"name": "a"}}));
        assert_eq!(
            (&ns["metadata"]["labels"]["kubernetes.io/metadata.name"], &ns["status"]["phase"]),
            (&json!("a"), &json!("Active"))
        );
    }
}
