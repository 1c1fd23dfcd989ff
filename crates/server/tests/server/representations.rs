//! What an answer and a body look like: tables, media types, pretty output, patches and YAML, as upstream has them.

use serde_json::{Value, json};

use crate::world::{ADMIN, World, told};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");

#[tokio::test]
async fn a_table_says_what_its_columns_are_and_has_two_versions() {
    let world = World::new().await;
    world
        .post(PODS, json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}))
        .await
        .ok();
    for version in ["v1", "v1beta1"] {
        let accept = format!("application/json;as=Table;g=meta.k8s.io;v={version}");
        let path = format!("{PODS}?includeObject=None");
        let table = world.send("GET", &path, Some(ADMIN), &[("accept", &accept)], Vec::new()).await.ok();
        assert_eq!(table["apiVersion"], format!("meta.k8s.io/{version}"));
        assert_eq!(table["rows"][0]["object"], Value::Null);
        assert_eq!(
            table["columnDefinitions"][1]["description"],
            "The aggregate readiness state of this pod for accepting traffic."
        );
    }
    for collection in
        ["/api/v1/nodes", "/api/v1/secrets", "/apis/rbac.authorization.k8s.io/v1/clusterroles", MAPS]
    {
        let accept = ("accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
        let table = world.send("GET", collection, Some(ADMIN), &[accept], Vec::new()).await.ok();
        for column in table["columnDefinitions"].as_array().unwrap() {
            assert!(!column["description"].as_str().unwrap().is_empty(), "{collection}: {column}");
        }
    }
}

#[tokio::test]
async fn a_representation_that_is_not_there_is_not_acceptable() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}})).await.ok();
    let get = |path: String, accept: &'static str| {
        let world = &world;
        async move { world.send("GET", &path, Some(ADMIN), &[("accept", accept)], Vec::new()).await }
    };
    for accept in [
        "application/json;g=x",
        "application/json;v=v9",
        "application/json;as=Table;g=meta.k8s.io;v=v2",
        "application/json;as=Chair;g=meta.k8s.io;v=v1",
    ] {
        assert_eq!(get(MAPS.into(), accept).await.status, 406, "{accept}");
    }
    let one = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    assert_eq!(
        told(&get(MAPS.into(), one).await),
        (
            406,
            "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"
                .into()
        )
    );
    let many = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    assert_eq!(told(&get(format!("{MAPS}/a"), many).await), (406, "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)".into()));
}

#[tokio::test]
async fn pretty_is_go_s_true_and_ends_without_a_line() {
    let world = World::new().await;
    for (asked, pretty) in
        [("1", true), ("t", true), ("true", true), ("True", true), ("yes", false), ("0", false), ("2", false)]
    {
        let answer = world.get(&format!("/api/v1/namespaces/default?pretty={asked}"), Some(ADMIN)).await;
        let text = String::from_utf8(answer.bytes).unwrap();
        assert_eq!((text.contains("\n  \"kind\""), text.ends_with('\n')), (pretty, !pretty), "{asked}");
    }
}

#[tokio::test]
async fn patches_that_are_none_are_told_so() {
    let world = World::new().await;
    world.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await.ok();
    let patch = |headers: (&'static str, &'static str), body: &'static str| {
        let world = &world;
        async move { world.send("PATCH", &format!("{MAPS}/a"), Some(ADMIN), &[headers], body.into()).await }
    };
    for media in ["text/plain", "application/json", "application/yaml"] {
        let answer = patch(("content-type", media), "{}").await;
        assert_eq!(told(&answer), (415, "415: Unsupported Media Type".into()));
        assert_eq!(answer.json()["details"], json!({}));
    }
    let unfit = patch(JSON_PATCH, r#"[{"op":"remove","path":"/data/x"}]"#).await;
    assert_eq!((unfit.status.as_u16(), &unfit.json()["details"]), (422, &json!({})));
    let added = patch(JSON_PATCH, r#"[{"op":"replace","path":"/data/new","value":"x"}]"#).await.ok();
    assert_eq!(added["data"], json!({"k": "v", "new": "x"}));
}

#[tokio::test]
async fn a_yaml_body_of_two_documents_is_its_first_and_a_repeated_key_is_named_with_its_line() {
    let world = World::new().await;
    let yaml = ("content-type", "application/yaml");
    let post = |path: &'static str, body: &'static str| {
        let world = &world;
        async move { world.send("POST", path, Some(ADMIN), &[yaml], body.into()).await }
    };
    let first =
        post(MAPS, "metadata: {name: first}\ndata: {k: v}\n---\nmetadata: {name: second}\n").await.ok();
    assert_eq!((&first["metadata"]["name"], &first["data"]), (&json!("first"), &json!({"k": "v"})));
    let strict = "/api/v1/namespaces/default/configmaps?fieldValidation=Strict";
    let twice = post(strict, "metadata: {name: x}\ndata:\n  a: '1'\n  a: '2'\n").await;
    assert_eq!(told(&twice), (400, "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  line 4: key \"a\" already set in map".into()));
}
