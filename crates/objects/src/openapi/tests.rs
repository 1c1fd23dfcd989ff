use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokensmith_api::proto::{Field, Reader};

use super::*;
use crate::schema::{Facts, Kind, Schema, types};

fn recorded(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

fn all() -> Vec<Value> {
    let schema = Schema::builtin();
    documents(schema).iter().map(|path| v3(schema, path, "v1.36.0").unwrap()).collect()
}

#[test]
fn schemas_are_those_that_a_real_server_publishes() {
    let recorded = recorded(include_str!("../../schema/kubernetes-1.36/schemas.json"));
    let mut seen = BTreeSet::new();
    for document in all() {
        for (name, made) in document["components"]["schemas"].as_object().unwrap() {
            let Some(mut want) = recorded.get(name).cloned() else { continue };
            let mut made = made.clone();
            // The record has only two of the many groups in which these are registered.
            for schema in [&mut made, &mut want] {
                if name.ends_with(".DeleteOptions") || name.ends_with(".WatchEvent") {
                    schema.as_object_mut().unwrap().remove("x-kubernetes-group-version-kind");
                }
            }
            assert_eq!(sorted(&made), sorted(&want), "{name}");
            seen.insert(name.clone());
        }
    }
    let left: Vec<_> = recorded.keys().filter(|name| !seen.contains(*name)).collect();
    assert!(left.is_empty(), "no operation leads to {left:?}");
}

/// Lists of names are compared without their order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut map: BTreeMap<String, Value> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            if let Some(Value::Array(names)) = map.get_mut("required") {
                names.sort_by_key(|name| name.to_string());
            }
            map.into_iter().collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        value => value.clone(),
    }
}

#[test]
fn operations_are_those_that_a_real_server_publishes() {
    let mut recorded = recorded(include_str!("../../schema/kubernetes-1.36/operations.json"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for document in all() {
        for (path, item) in document["paths"].as_object().unwrap() {
            let common = item["parameters"].as_array().into_iter().flatten();
            let common: Vec<String> = common.map(|one| text(&one["name"])).collect();
            for (method, made) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
                let Some(action) = made.get("x-kubernetes-action") else { continue };
                let want = recorded.remove(&format!("{method} {path}"));
                let want = want.unwrap_or_else(|| panic!("{method} {path} is not there"));
                let gvk = &made["x-kubernetes-group-version-kind"];
                let gvk = ["group", "version", "kind"].map(|part| text(&gvk[part])).join(" ");
                let own = made["parameters"].as_array().into_iter().flatten();
                let mut parameters: Vec<String> = own.map(|one| text(&one["name"])).collect();
                parameters.extend(common.clone());
                parameters.sort();
                let keys =
                    |map: &Value| map.as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
                let join = |names: Vec<String>| names.join(" ");
                let (codes, media) = (keys(&made["responses"]), keys(&made["requestBody"]["content"]));
                let made = json!([action, gvk, join(parameters), join(codes), join(media)]);
                assert_eq!(made, want, "{method} {path}");
            }
        }
    }
    // What is left belongs to what discovery does not list yet.
    let schema = Schema::builtin();
    for path in recorded.keys().map(|key| key.split_once(' ').unwrap().1) {
        let listed = schema.kinds().any(|kind| {
            let root = match kind.group.as_str() {
                "" => format!("/api/{}/", kind.version),
                group => format!("/apis/{group}/{}/", kind.version),
            };
            let Some(rest) = path.strip_prefix(&root) else { return false };
            let rest = rest.trim_start_matches("watch/").trim_start_matches("namespaces/{namespace}/");
            let mut parts = rest.split('/').filter(|part| !part.starts_with('{'));
            let sub = (parts.next() == Some(&kind.plural)).then(|| parts.next());
            sub.is_some_and(|sub| sub.is_none_or(|sub| kind.subresource(sub).is_some()))
        });
        assert!(!listed, "{path} is missing");
    }
}

#[test]
fn names_of_operations_and_tags() {
    let schema = Schema::builtin();
    let id = |document: &str, path: &str, method: &str| {
        let document = v3(schema, document, "v1").unwrap();
        let operation = &document["paths"][path][method];
        (
            operation["operationId"].as_str().unwrap().to_owned(),
            operation["tags"][0].as_str().unwrap().to_owned(),
        )
    };
    for (document, path, method, want, tag) in [
        ("api/v1", "/api/v1/", "get", "getCoreV1APIResources", "core_v1"),
        ("apis/policy", "/apis/policy/", "get", "getPolicyAPIGroup", "policy"),
        ("api", "/api/", "get", "getCoreAPIVersions", "core"),
        (
            "apis/rbac.authorization.k8s.io/v1",
            "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
            "delete",
            "deleteRbacAuthorizationV1CollectionNamespacedRole",
            "rbacAuthorization_v1",
        ),
        ("api/v1", "/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces", "core_v1"),
        (
            "api/v1",
            "/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            "post",
            "createCoreV1NamespacedServiceAccountToken",
            "core_v1",
        ),
        ("api/v1", "/api/v1/nodes/{name}/status", "patch", "patchCoreV1NodeStatus", "core_v1"),
    ] {
        assert_eq!(id(document, path, method), (want.to_owned(), tag.to_owned()));
    }
}

#[test]
fn every_reference_leads_to_a_schema() {
    let mut documents = all();
    documents.push(v2(Schema::builtin(), "v1.36.0"));
    for document in &documents {
        let mut references = Vec::new();
        collect(document, &mut references);
        for reference in references {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference}");
        }
    }
}

fn collect<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| match value.as_str() {
            Some(text) if key == "$ref" => out.push(text),
            _ => collect(value, out),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
        _ => {}
    }
}

#[test]
fn version_2_has_neither_defaults_nor_enums() {
    let document = v2(Schema::builtin(), "v1.36.0");
    let definitions = document["definitions"].as_object().unwrap();
    assert!(definitions.len() > 500, "{}", definitions.len());
    for (name, schema) in definitions {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property.get("default").is_none() && property.get("enum").is_none(), "{name} {field}");
        }
    }
    assert_eq!(
        definitions["io.k8s.api.core.v1.SecretKeySelector"],
        json!({
            "type": "object", "required": ["key"],
            "properties": {"key": {"type": "string"}, "name": {"type": "string"}, "optional": {"type": "boolean"}},
            "x-kubernetes-map-type": "atomic",
        })
    );
    let created = &document["paths"]["/api/v1/namespaces/{namespace}/secrets"]["post"];
    assert_eq!(created["parameters"][3]["schema"]["$ref"], "#/definitions/io.k8s.api.core.v1.Secret");
}

#[test]
fn a_kind_of_a_programs_own_is_described() {
    let types = types().with(&recorded(
        r#"{"example.com/v1.Widget": [["metadata", "apis/meta/v1.ObjectMeta", 1, "omitempty"], ["size", "int32", 2]]}"#,
    ));
    let facts: Facts = serde_json::from_str(
        r#"{"group": "example.com", "version": "v1", "kind": "Widget", "plural": "widgets", "singular": "widget",
            "namespaced": true, "stored": true, "verbs": ["get", "list"], "type": "example.com/v1.Widget"}"#,
    )
    .unwrap();
    let schema = Schema::builtin().with(Arc::new(Kind::new(facts, Arc::new(types.unwrap())).unwrap()));
    assert!(documents(&schema).iter().any(|path| path == "apis/example.com/v1"));
    let document = v3(&schema, "apis/example.com/v1", "v1").unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["com.example.v1.Widget"],
        json!({
            "type": "object", "required": ["size"],
            "properties": {
                "metadata": {
                    "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}],
                    "default": {},
                },
                "size": {"type": "integer", "format": "int32", "default": 0},
            },
            "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Widget", "version": "v1"}],
        })
    );
    let items = &schemas["com.example.v1.WidgetList"]["properties"]["items"]["items"]["$ref"];
    assert_eq!(items, "#/components/schemas/com.example.v1.Widget");
}

/// The values of a field of a message.
fn fields(message: &[u8], wanted: u32) -> Vec<&[u8]> {
    let (mut reader, mut out) = (Reader::new(message), Vec::new());
    while let Some((number, field)) = reader.next().unwrap() {
        match field {
            Field::Bytes(bytes) if number == wanted => out.push(bytes),
            _ => {}
        }
    }
    out
}

fn entry<'a>(message: &'a [u8], number: u32, name: &str) -> &'a [u8] {
    let entries = fields(message, number);
    let found = entries.into_iter().find(|entry| fields(entry, 1) == [name.as_bytes()]);
    fields(found.unwrap_or_else(|| panic!("{name}")), 2)[0]
}

#[test]
fn protobuf_of_version_3_has_what_kubectl_looks_for() {
    let document = v3(Schema::builtin(), "api/v1", "v1.36.0").unwrap();
    let bytes = protobuf(&document, Form::V3);
    // Whether the server validates fields: the parameter of PATCH of the kind that it is about to send.
    let paths = fields(&bytes, 4)[0];
    let patch = fields(entry(paths, 1, "/api/v1/namespaces/{namespace}/configmaps/{name}"), 10)[0];
    let names: Vec<_> = fields(patch, 6).iter().map(|one| fields(fields(one, 1)[0], 1)[0]).collect();
    assert!(names.contains(&b"fieldValidation".as_slice()));
    let gvk = fields(entry(patch, 13, "x-kubernetes-group-version-kind"), 2)[0];
    let gvk: Value = serde_json::from_slice(gvk).unwrap();
    assert_eq!(gvk, json!({"group": "", "kind": "ConfigMap", "version": "v1"}));
    // How it merges a list.
    let schemas = fields(fields(&bytes, 5)[0], 1)[0];
    let container = fields(entry(schemas, 1, "io.k8s.api.core.v1.Container"), 1)[0];
    let ports = fields(entry(fields(container, 31)[0], 1, "ports"), 1)[0];
    assert_eq!(fields(entry(ports, 36, "x-kubernetes-patch-merge-key"), 2), [b"\"containerPort\"\n"]);
    assert_eq!(fields(ports, 25), [b"array"]);
}

#[test]
fn protobuf_of_version_2_has_definitions_and_paths() {
    let bytes = protobuf(&v2(Schema::builtin(), "v1.36.0"), Form::V2);
    assert_eq!(fields(&bytes, 1), [b"2.0"]);
    let pod = entry(fields(&bytes, 9)[0], 1, "io.k8s.api.core.v1.Pod");
    assert_eq!(fields(fields(pod, 22)[0], 1), [b"object"]);
    let spec = entry(fields(pod, 25)[0], 1, "spec");
    assert_eq!(fields(spec, 1), [b"#/definitions/io.k8s.api.core.v1.PodSpec"]);
    let path = entry(fields(&bytes, 8)[0], 2, "/api/v1/namespaces/{namespace}/pods/{name}");
    let named = fields(path, 9).into_iter().map(|one| fields(one, 2).len()).sum::<usize>();
    assert_eq!(named, 1, "only pretty is written elsewhere");
}
