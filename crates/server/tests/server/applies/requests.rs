//! What an apply says of its object, its version and itself: upstream's answers before anything is merged (apiserver
//! `handlers/patch.go`).

use serde_json::{Value, json};

use super::{DEPLOYMENTS, by, deployment, spec, with_metadata};
use crate::managed::{APPLY, MAPS, apply, managers, map};
use crate::world::{ADMIN, World, told};

#[tokio::test]
async fn an_apply_says_which_object_it_means() {
    let world = World::new().await;
    let plain = map("a", json!({"k": "1"}));
    let modified = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again";
    let made = apply(&world, &by("one"), &plain).await.ok();
    let (uid, version) = (made["metadata"]["uid"].clone(), made["metadata"]["resourceVersion"].clone());
    for (metadata, code, text) in [
        (
            json!({"namespace": "other"}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (json!({"name": "b"}), 400, "the name of the object (b) does not match the name on the URL (a)"),
        (json!({"resourceVersion": "1"}), 409, modified),
        (
            json!({"uid": "other"}),
            422,
            "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable",
        ),
        (json!({"namespace": "default", "uid": uid, "resourceVersion": version}), 200, ""),
    ] {
        let answer = apply(&world, &by("one"), &with_metadata(plain.clone(), metadata.clone())).await;
        assert_eq!(told(&answer), (code, text.to_owned()), "{metadata}");
    }
    let nameless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}});
    let answer = apply(&world, &format!("{MAPS}/b?fieldManager=one"), &nameless).await;
    let text = "the name of the object (b based on URL) was undeterminable: name must be provided";
    assert_eq!(told(&answer), (400, text.to_owned()));
    // What is there has its name already.
    assert_eq!(apply(&world, &by("three"), &nameless).await.status, 200);
    // What has moved on is not what a version names.
    let stale = with_metadata(plain.clone(), json!({"resourceVersion": version}));
    apply(&world, &by("two"), &map("a", json!({"l": "1"}))).await.ok();
    assert_eq!(told(&apply(&world, &by("one"), &stale).await), (409, modified.to_owned()));
    assert_eq!(
        apply(&world, "/api/v1/namespaces/none/configmaps/a?fieldManager=one", &plain).await.status,
        404
    );
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let world = World::new().await;
    let plain = map("a", json!({"k": "1"}));
    let dry = apply(&world, &format!("{}&dryRun=All", by("one")), &plain).await;
    assert_eq!(dry.status, 201);
    assert_eq!(managers(&dry.ok()), json!([["one Apply", {"f:data": {"f:k": {}}}]]));
    assert_eq!(world.get(&format!("{MAPS}/a"), Some(ADMIN)).await.status, 404);
    let made = apply(&world, &by("one"), &plain).await.ok();
    let other = map("a", json!({"k": "2", "l": "3"}));
    let refused = apply(&world, &format!("{}&dryRun=All", by("two")), &other).await;
    let text = "Apply failed with 1 conflict: conflict with \"one\": .data.k";
    assert_eq!(told(&refused), (409, text.into()));
    let dry = apply(&world, &format!("{}&dryRun=All&force=true", by("two")), &other).await.ok();
    assert_eq!(
        (&dry["data"], dry["metadata"]["managedFields"].as_array().map(Vec::len)),
        (&other["data"], Some(1))
    );
    assert_eq!(world.get(&format!("{MAPS}/a"), Some(ADMIN)).await.ok(), made);
}

#[tokio::test]
async fn one_manager_may_apply_in_several_versions() {
    let world = World::new().await;
    let path = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/a?fieldManager=one")
    };
    let scaler = |version: &str, more: Value| {
        let mut spec =
            json!({"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec": spec})
    };
    let first = scaler("v1", json!({"maxReplicas": 3, "minReplicas": 2}));
    apply(&world, &path("v1"), &first).await.ok();
    let second = scaler("v2", json!({"maxReplicas": 4}));
    let applied = apply(&world, &path("v2"), &second).await.ok();
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((entries.len(), &entries[0]["apiVersion"]), (1, &json!("autoscaling/v2")));
    assert_eq!((&applied["spec"]["maxReplicas"], &applied["spec"]["minReplicas"]), (&json!(4), &json!(1)));
    // The body is of the version of the path.
    let wrong = apply(&world, &path("v2"), &first).await;
    assert_eq!(
        told(&wrong),
        (400, "invalid object type: autoscaling/v1, Kind=HorizontalPodAutoscaler".into())
    );
}

#[tokio::test]
async fn a_repeated_key_is_told_once_all_else_is_said() {
    let world = World::new().await;
    apply(&world, &by("one"), &map("a", json!({"k": "1"}))).await.ok();
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  l: a\n  l: b\n";
    let yaml = async |path: &str, text: &str| {
        let headers = [("content-type", APPLY)];
        world.send("PATCH", path, Some(ADMIN), &headers, text.as_bytes().to_vec()).await
    };
    let odd =
        "error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"l\" already set in map";
    let strict = format!("{}&fieldValidation=Strict", by("two"));
    assert_eq!(told(&yaml(&strict, twice).await), (400, format!("error strict decoding YAML: {odd}")));
    let warned = yaml(&by("two"), twice).await;
    assert!(warned.header("warning").contains("key \\\"l\\\" already set in map"), "{:?}", warned.headers);
    assert_eq!(warned.ok()["data"], json!({"k": "1", "l": "b"}));
    let ignored = yaml(&format!("{}&fieldValidation=Ignore", by("two")), twice).await;
    assert_eq!((ignored.header("warning"), ignored.status.as_u16()), ("", 200));
    // A conflict, a wrong kind and what is of the wrong type come first; what belongs to the object's place comes after.
    for (text, code, message) in [
        (
            twice.replace("l: a\n  l: b", "k: a\n  k: b"),
            409,
            "Apply failed with 1 conflict: conflict with \"one\": .data.k".to_owned(),
        ),
        (twice.replace("ConfigMap", "Secret"), 400, "invalid object type: /v1, Kind=Secret".into()),
        (
            twice.replace("l: b", "l: [b]"),
            500,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .data.l: expected string, got "
                .into(),
        ),
        (twice.replace("name: a", "name: b"), 400, "error strict decoding YAML: ".into()),
    ] {
        let answer = told(&yaml(&strict, &text).await);
        assert!(answer.0 == code && answer.1.starts_with(&message), "{text}: {answer:?}");
    }
    let broken = told(&yaml(&strict, "a: [").await);
    assert!(broken.0 == 400 && broken.1.starts_with("error decoding YAML: "), "{broken:?}");
    // A scale is read the same way.
    apply(&world, &format!("{DEPLOYMENTS}/a?fieldManager=one"), &deployment(spec(json!({})))).await.ok();
    let scale =
        "apiVersion: autoscaling/v1\nkind: Scale\nmetadata: {name: a}\nspec:\n  replicas: 1\n  replicas: 2\n";
    let path = format!("{DEPLOYMENTS}/a/scale?fieldManager=two&force=true&fieldValidation=Strict");
    assert_eq!(yaml(&path, scale).await.status, 400);
    assert_eq!(yaml(&path.replace("Strict", "Warn"), scale).await.ok()["spec"]["replicas"], 2);
}
