use serde_json::{Value, json};

use super::*;
use crate::kinds::testing::texts;
use crate::schema::kind;

#[test]
fn metadata() {
    let maps = kind("", "configmaps").unwrap();
    let object = |metadata: Value| Object::from_value(json!({ "metadata": metadata })).unwrap();
    let found = |metadata| texts(create(maps, &object(metadata), &Limits::default()));
    assert_eq!(
        found(json!({"namespace": "n"})),
        ["metadata.name: Required value: name or generateName is required"]
    );
    assert!(
        found(json!({"name": "Bad_Name", "namespace": "n"}))[0]
            .starts_with("metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain")
    );
    assert!(
        found(json!({"name": "a", "namespace": "n", "labels": {"a b": "c"}}))[0]
            .starts_with("metadata.labels: Invalid value: \"a b\": name part")
    );
    let (old, new) = (
        object(json!({"name": "a", "namespace": "n", "uid": "1"})),
        object(json!({"name": "a", "namespace": "n", "uid": "2"})),
    );
    let text = "metadata.uid: Invalid value: \"2\": field is immutable";
    assert_eq!(
        texts(update(maps, &new, &old, &Limits::default())),
        [text, text],
        "as upstream's causes have it"
    );
}

/// A megabyte of what is wrong makes a thousand texts, whatever the list; the rest is counted.
#[test]
fn what_is_found_is_bounded_and_counted() {
    let many = |value: Value| vec![value; 20_000];
    let keys: serde_json::Map<_, _> = (0..20_000).map(|n| (format!("-{n}"), json!("v"))).collect();
    let slashes: serde_json::Map<_, _> = (0..20_000).map(|n| (format!("/{n}"), json!(""))).collect();
    let pod = |field: &str, value: Value| json!({"spec": {field: value}});
    let selectors = json!([{"matchLabels": keys.clone(), "matchExpressions": many(json!({}))}]);
    for (group, plural, value, least) in [
        ("", "configmaps", json!({"metadata": {"ownerReferences": many(json!({}))}}), 80_000),
        (
            "",
            "configmaps",
            json!({"metadata": {"ownerReferences": many(json!({"controller": true}))}}),
            99_999,
        ),
        (
            "",
            "configmaps",
            json!({"metadata": {"labels": keys.clone(), "annotations": keys.clone()}}),
            40_000,
        ),
        ("", "configmaps", json!({"metadata": {"finalizers": many(json!("-"))}}), 40_000),
        ("", "configmaps", json!({"data": {"": "v"}, "binaryData": keys.clone()}), 1),
        ("", "secrets", json!({"data": slashes}), 20_000),
        ("", "pods", pod("containers", json!(many(json!({})))), 40_000),
        (
            "",
            "pods",
            pod("containers", json!([{"volumeMounts": many(json!({})), "env": many(json!({}))}])),
            60_000,
        ),
        ("", "pods", pod("containers", json!([{"ports": many(json!({"containerPort": -1}))}])), 40_000),
        ("", "pods", pod("volumes", json!(many(json!({})))), 40_000),
        (
            "",
            "pods",
            pod("volumes", json!([{"projected": {"sources": many(json!({"secret": {}, "configMap": {}}))}}])),
            40_000,
        ),
        ("", "pods", pod("volumes", json!([{"secret": {"items": many(json!({"mode": -1}))}}])), 60_000),
        ("", "pods", pod("volumes", json!([{"downwardAPI": {"items": many(json!({}))}}])), 40_000),
        ("", "pods", pod("schedulingGates", json!(many(json!({"name": "-"})))), 39_999),
        ("rbac.authorization.k8s.io", "clusterroles", json!({"rules": many(json!({}))}), 60_000),
        (
            "rbac.authorization.k8s.io",
            "clusterroles",
            json!({"aggregationRule": {"clusterRoleSelectors": selectors}}),
            60_000,
        ),
        ("rbac.authorization.k8s.io", "rolebindings", json!({"subjects": many(json!({}))}), 40_000),
        (
            "certificates.k8s.io",
            "clustertrustbundles",
            json!({"spec": {"trustBundle":
            "-----BEGIN X-----\nAAAA\n-----END X-----\n".repeat(20_000)}}),
            20_000,
        ),
    ] {
        let found =
            create(kind(group, plural).unwrap(), &Object::from_value(value).unwrap(), &Limits::default());
        let (count, told) = (found.len(), found.told());
        assert!(count >= least, "{plural}: {count} of {least}");
        assert_eq!(told.len(), count.min(Findings::MOST), "{plural}");
        if let Some(more) = count.checked_sub(Findings::MOST).filter(|more| *more > 0) {
            assert!(told[Findings::MOST - 1].message.ends_with(&format!(" ... and {more} more")));
        }
    }
}
