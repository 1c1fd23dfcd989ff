use serde_json::{Value, json};

use crate::Object;
use crate::kinds::testing::{defaulted, texts};
use crate::schema::kind;
use crate::strategy;
use crate::validate::{Limits, create, update};

const GROUP: &str = "apiextensions.k8s.io";
const PLURAL: &str = "customresourcedefinitions";

fn definition(change: impl FnOnce(&mut Value)) -> Object {
    let mut spec = json!({
        "group": "a.example", "scope": "Namespaced", "names": {"plural": "boxes", "kind": "Box"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
    });
    change(&mut spec);
    let body = json!({"metadata": {"name": "boxes.a.example"}, "spec": spec});
    let mut object = Object::from_value(defaulted(GROUP, PLURAL, body)).unwrap();
    strategy::prepare_create(kind(GROUP, PLURAL).unwrap(), &mut object);
    object
}

fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
    texts(create(kind(GROUP, PLURAL).unwrap(), &definition(change), &Limits::default()))
}

#[test]
fn names_follow_from_the_kind_and_the_first_stored_version_is_known() {
    let made = definition(|_| {});
    assert_eq!(made.str_at(&["spec", "names", "singular"]), "box");
    assert_eq!(made.str_at(&["spec", "names", "listKind"]), "BoxList");
    assert_eq!(made.at(&["spec", "conversion"]), Some(&json!({"strategy": "None"})));
    assert_eq!(made.get("status"), Some(&json!({"storedVersions": ["v1"]})));
    assert!(found(|_| {}).is_empty());
}

#[test]
fn definitions_are_refused_in_upstreams_words() {
    let set =
        |path: &'static str, value: Value| move |spec: &mut Value| *spec.pointer_mut(path).unwrap() = value;
    for (path, value, want) in [
        (
            "/scope",
            json!("Everywhere"),
            "spec.scope: Unsupported value: \"Everywhere\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        ("/versions/0/schema", json!({}), "spec.versions[0].schema.openAPIV3Schema: Required value"),
        (
            "/versions/0/schema/openAPIV3Schema",
            json!({"type": "array"}),
            "spec.validation.openAPIV3Schema.type: Invalid value: \"array\": must be object at the root",
        ),
        (
            "/versions/0/schema/openAPIV3Schema",
            json!({"type": "object", "properties": {"a": {}}}),
            "spec.validation.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            "/versions/0/schema/openAPIV3Schema",
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            "spec.validation.openAPIV3Schema.properties[a].items: Required value: must be specified",
        ),
        (
            "/versions/0/schema/openAPIV3Schema",
            json!({"type": "object", "additionalProperties": {"$ref": "#/b"}}),
            "spec.validation.openAPIV3Schema.additionalProperties.$ref: Forbidden: $ref is not supported",
        ),
    ] {
        assert_eq!(found(set(path, value)), [want]);
    }
    let columns = json!([{"name": "A", "type": "text", "jsonPath": "a"}]);
    assert_eq!(
        found(|spec| spec["versions"][0]["additionalPrinterColumns"] = columns),
        [
            "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"a\": must be a simple json path starting with .",
        ]
    );
    let scale = json!({"scale": {"specReplicasPath": ".status.n"}});
    assert_eq!(
        found(|spec| spec["versions"][0]["subresources"] = scale),
        [
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
            "spec.subresources.scale.statusReplicasPath: Required value",
        ]
    );
}

#[test]
fn one_version_is_stored_and_each_has_its_own_name() {
    let all = found(|spec| {
        let again = spec["versions"][0].clone();
        spec["versions"].as_array_mut().unwrap().push(again);
    });
    assert_eq!(all.len(), 2);
    assert!(all[0].starts_with("spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":true,\"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":null,"), "{}", all[0]);
    assert!(all[0].ends_with("must contain unique version names"));
    let none = found(|spec| spec["versions"][0]["storage"] = false.into());
    assert_eq!(none[1], "status.storedVersions: Invalid value: null: must have at least one stored version");
}

#[test]
fn the_group_of_a_definition_stays_and_what_is_stored_is_a_version() {
    let old = definition(|_| {});
    let mut new = definition(|spec| spec["versions"][0]["name"] = "v2".into());
    new.set(&["status"], json!({"storedVersions": ["v1"]}));
    let errors = update(kind(GROUP, PLURAL).unwrap(), &new, &old, &Limits::default());
    assert_eq!(
        texts(errors),
        ["status.storedVersions[0]: Invalid value: \"v1\": must appear in spec.versions"]
    );
}
