//! Who shares what with whom, who is told of a conflict, and what goes again (structured-merge-diff).

use serde_json::{Value, json};

use super::{DEPLOYMENTS, MERGE, by, deployment, spec, with_metadata};
use crate::managed::{MAPS, apply, managers, map, send};
use crate::world::{ADMIN, World, told};

#[tokio::test]
async fn who_shares_a_field_keeps_it_until_somebody_takes_it() {
    let world = World::new().await;
    for manager in ["one", "two"] {
        apply(&world, &by(manager), &map("a", json!({"k": "1", manager: "1"}))).await.ok();
    }
    // Whoever does not name it any more leaves it to the other one.
    let left = apply(&world, &by("one"), &map("a", json!({"one": "1"}))).await.ok();
    assert_eq!(left["data"], json!({"k": "1", "one": "1", "two": "1"}));
    apply(&world, &by("one"), &map("a", json!({"k": "1", "one": "1"}))).await.ok();
    apply(&world, &by("three"), &map("a", json!({"k": "1"}))).await.ok();
    let other = map("a", json!({"k": "3", "one": "3"}));
    let refused = apply(&world, &by("three"), &other).await;
    let text = "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.k\n- .data.one\nconflicts with \"two\":\n- .data.k";
    assert_eq!(told(&refused), (409, text.into()));
    let forced = apply(&world, &format!("{}&force=true", by("three")), &other).await.ok();
    assert_eq!(forced["data"], json!({"k": "3", "one": "3", "two": "1"}));
    assert_eq!(
        managers(&forced),
        json!([["three Apply", {"f:data": {"f:k": {}, "f:one": {}}}], ["two Apply", {"f:data": {"f:two": {}}}]])
    );
    // Who has lost a field can name what is there, and not what was.
    let again = apply(&world, &by("two"), &map("a", json!({"k": "1", "two": "1"}))).await;
    assert_eq!(told(&again), (409, "Apply failed with 1 conflict: conflict with \"three\": .data.k".into()));
    apply(&world, &by("two"), &map("a", json!({"k": "3", "two": "1"}))).await.ok();
    // Then it is shared, and goes with the last who names it.
    apply(&world, &by("three"), &map("a", json!({}))).await.ok();
    let gone = apply(&world, &by("two"), &map("a", json!({"two": "1"}))).await.ok();
    assert_eq!(gone["data"], json!({"two": "1"}));
}

#[tokio::test]
async fn an_update_and_an_apply_are_two_of_one_name() {
    let world = World::new().await;
    apply(&world, &by("one"), &map("a", json!({"k": "1"}))).await.ok();
    let patch = json!({"data": {"k": "2", "u": "1"}});
    let updated = send(&world, "PATCH", &by("one"), MERGE, &patch).await.ok();
    assert_eq!(managers(&updated), json!([["one Update", {"f:data": {"f:k": {}, "f:u": {}}}]]));
    let refused = apply(&world, &by("one"), &map("a", json!({"k": "1"}))).await;
    let text = "Apply failed with 1 conflict: conflict with \"one\" using v1: .data.k";
    assert_eq!(told(&refused), (409, text.into()));
    // What an update has brought, an apply of nothing does not take away.
    let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let same = apply(&world, &by("one"), &nothing).await.ok();
    assert_eq!(same, updated);
}

#[tokio::test]
async fn what_is_named_no_more_goes_whole() {
    let world = World::new().await;
    let path = format!("{DEPLOYMENTS}/a?fieldManager=one");
    let rich = spec(json!({
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x"],
        "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    }));
    let mut labelled = deployment(rich);
    labelled["metadata"]["labels"] = json!({"l": "1"});
    labelled["metadata"]["annotations"] = json!({"n": "1"});
    apply(&world, &path, &labelled).await.ok();
    let poor = deployment(spec(json!({"resources": {"limits": {"cpu": "1"}}})));
    let left = apply(&world, &path, &poor).await.ok();
    let container = &left["spec"]["template"]["spec"]["containers"][0];
    for gone in ["env", "args", "ports"] {
        assert!(container[gone].is_null(), "{container}");
    }
    assert_eq!(container["resources"], json!({"limits": {"cpu": "1"}}));
    assert!(left["metadata"]["labels"].is_null() && left["metadata"]["annotations"].is_null(), "{left}");
    // What the server itself has put in stays.
    assert_eq!((&container["imagePullPolicy"], &left["spec"]["replicas"]), (&json!("Always"), &json!(1)));
    // A container that somebody else has fields of stays as far as they go.
    let mut two = deployment(spec(json!({})));
    let side = json!([{"name": "s", "image": "s:1"}]);
    two["spec"]["template"]["spec"]["containers"] = side.clone();
    let mut both = poor.clone();
    both["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "s", "image": "s:1", "tty": true}));
    apply(&world, &path, &both).await.ok();
    apply(&world, &format!("{DEPLOYMENTS}/a?fieldManager=two"), &two).await.ok();
    let left = apply(&world, &path, &poor).await.ok();
    let names: Vec<_> = left["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, [json!("c"), json!("s")]);
    assert!(left["spec"]["template"]["spec"]["containers"][1]["tty"].is_null());
}

#[tokio::test]
async fn sets_are_shared_by_their_values() {
    let world = World::new().await;
    let bare = || json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let named = |names: &[&str]| with_metadata(bare(), json!({"finalizers": names}));
    let finalizers = |object: &Value| object["metadata"]["finalizers"].clone();
    apply(&world, &by("one"), &named(&["x/a", "x/b"])).await.ok();
    let both = apply(&world, &by("two"), &named(&["x/c", "x/b"])).await.ok();
    assert_eq!(finalizers(&both), json!(["x/a", "x/c", "x/b"]));
    let left = apply(&world, &by("one"), &named(&["x/a"])).await.ok();
    assert_eq!(finalizers(&left), json!(["x/a", "x/c", "x/b"]), "the other one has it, too");
    let left = apply(&world, &by("two"), &named(&["x/c"])).await.ok();
    assert_eq!(finalizers(&left), json!(["x/a", "x/c"]));
    let twice = apply(&world, &by("two"), &named(&["x/c", "x/c"])).await;
    assert_eq!(
        told(&twice),
        (500, "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .metadata.finalizers: duplicate entries for key [=\"x/c\"]".into())
    );
    // One that is being deleted can be applied, and goes with its last finalizer.
    assert_eq!(world.delete(&format!("{MAPS}/a")).await.status, 200);
    let more = apply(&world, &by("two"), &named(&["x/c", "x/d"])).await;
    assert_eq!(more.status, 422, "{}", more.json());
    let going = apply(&world, &by("one"), &map("a", json!({"k": "1"}))).await.ok();
    assert_eq!((finalizers(&going), &going["data"]["k"]), (json!(["x/c"]), &json!("1")));
    assert!(!going["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(apply(&world, &by("two"), &bare()).await.status, 200);
    assert_eq!(world.get(&format!("{MAPS}/a"), Some(ADMIN)).await.status, 404);
}

#[tokio::test]
async fn ports_are_told_apart_by_their_protocol_too() {
    let world = World::new().await;
    let path = |manager: &str| format!("{DEPLOYMENTS}/a?fieldManager={manager}");
    let with = |ports: Value| deployment(spec(json!({"ports": ports})));
    apply(&world, &path("one"), &with(json!([{"containerPort": 80, "name": "web"}]))).await.ok();
    let both =
        apply(&world, &path("two"), &with(json!([{"containerPort": 80, "protocol": "UDP"}]))).await.ok();
    assert_eq!(
        both["spec"]["template"]["spec"]["containers"][0]["ports"],
        json!([{"name": "web", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"}])
    );
    // The default is as good as what is said.
    let refused = apply(
        &world,
        &path("two"),
        &with(json!([{"containerPort": 80, "protocol": "TCP", "name": "other"}])),
    )
    .await;
    let at = ".spec.template.spec.containers[name=\"c\"].ports[containerPort=80,protocol=\"TCP\"].name";
    assert_eq!(told(&refused), (409, format!("Apply failed with 1 conflict: conflict with \"one\": {at}")));
    let twice = apply(
        &world,
        &path("two"),
        &with(json!([{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}])),
    )
    .await;
    let (code, text) = told(&twice);
    assert!(
        code == 500 && text.ends_with("duplicate entries for key [containerPort=80,protocol=\"TCP\"]"),
        "{text}"
    );
    // A list that is taken as a whole is a conflict as a whole.
    let tolerates = |key: &str| {
        let mut body = deployment(spec(json!({})));
        body["spec"]["template"]["spec"]["tolerations"] = json!([{"key": key}]);
        body
    };
    apply(&world, &path("three"), &tolerates("a")).await.ok();
    let refused = apply(&world, &path("four"), &tolerates("b")).await;
    let text = "Apply failed with 1 conflict: conflict with \"three\": .spec.template.spec.tolerations";
    assert_eq!(told(&refused), (409, text.into()));
}
