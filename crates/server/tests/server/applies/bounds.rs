//! How large, how many and how deep.

use serde_json::{Value, json};

use super::{MERGE, by};
use crate::managed::{MAPS, apply, managers, map, send};
use crate::world::{ADMIN, World};

/// Upstream forgets who manages an object rather than refuse it, unless that is what was applied.
#[tokio::test]
async fn an_apply_that_is_too_large_with_its_managers_is_refused() {
    let world = World::new().await;
    let data: serde_json::Map<String, Value> =
        (0..90_000).map(|at| (format!("key-{at:0>24}"), "".into())).collect();
    let large = map("a", data.into());
    assert_eq!(apply(&world, &by("one"), &large).await.status, 500);
    assert_eq!(world.get(&format!("{MAPS}/a"), Some(ADMIN)).await.status, 404);
    let made = send(&world, "POST", MAPS, "application/json", &large).await.ok();
    assert_eq!(managers(&made), json!([]));
}

/// Ten updates are told apart, and any number of applies (`DefaultMaxUpdateManagers`): what they cost grows with their number, and a
/// write copies none of them.
#[tokio::test]
async fn thousands_may_have_applied_an_object() {
    let world = World::new().await;
    let entry = |at: usize| {
        json!({
            "manager": format!("m{at}"), "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:k": {}}},
        })
    };
    let mut body = map("a", json!({"k": "1"}));
    send(&world, "POST", MAPS, "application/json", &body).await.ok();
    body["metadata"]["managedFields"] = (0..5_000).map(entry).collect();
    let put = send(&world, "PUT", &format!("{MAPS}/a"), "application/json", &body).await.ok();
    assert_eq!(managers(&put).as_array().unwrap().len(), 5_000);
    let refused = apply(&world, &by("one"), &map("a", json!({"k": "2"}))).await;
    let causes = refused.json()["details"]["causes"].as_array().unwrap().len();
    assert_eq!((refused.status.as_u16(), causes), (409, 1_000));
    let taken = apply(&world, &format!("{}&force=true", by("one")), &map("a", json!({"k": "2"}))).await.ok();
    assert_eq!(managers(&taken), json!([["one Apply", {"f:data": {"f:k": {}}}]]));
}

/// As deep as a body may be: fields below fields, and values of sets within values.
#[tokio::test]
async fn managed_fields_may_be_as_deep_as_a_body_and_no_deeper() {
    let world = World::new().await;
    apply(&world, &by("one"), &map("a", json!({"k": "1"}))).await.ok();
    let fields = |levels: usize, value: usize| {
        let set = format!("v:{}{}", "[".repeat(value), "]".repeat(value));
        let set = serde_json::to_string(&set).unwrap();
        let (open, close) = ("{\"f:a\":".repeat(levels), "}".repeat(levels));
        format!("{open}{{{set}:{{}}}}{close}")
    };
    for (levels, value) in
        [(490, 1), (1, 500), (490, 500), (480, 9_000), (9_000, 1), (1, 100_000), (20_000, 20_000)]
    {
        let fields = fields(levels, value);
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a","managedFields":[{{"manager":"x","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{fields}}}]}},"data":{{"k":"1"}}}}"#
        );
        let headers = [("content-type", "application/json")];
        let put = world.send("PUT", &format!("{MAPS}/a"), Some(ADMIN), &headers, body.into_bytes()).await;
        assert!(matches!(put.status.as_u16(), 200 | 400), "{levels} {value}: {}", put.json());
        // Whatever is stored by now, it can be written, read, and read as protobuf.
        let forced = format!("{}&force=true", by("one"));
        apply(&world, &forced, &map("a", json!({"k": format!("{levels}-{value}")}))).await.ok();
        let patch = json!({"data": {"k": "1"}});
        send(&world, "PATCH", &by("two"), MERGE, &patch).await.ok();
        let headers = [("accept", "application/vnd.kubernetes.protobuf")];
        let read = world.send("GET", &format!("{MAPS}/a"), Some(ADMIN), &headers, Vec::new()).await;
        assert_eq!(read.status, 200);
        apply(&world, &forced, &map("a", json!({"k": "1"}))).await.ok();
    }
}
