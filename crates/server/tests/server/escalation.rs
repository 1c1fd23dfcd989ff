//! Who writes roles and bindings holds what they grant, over HTTP; and what a collection's deletion leaves.

use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, JANE, World};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// Jane may write roles, and hold a little.
async fn world() -> World {
    let world = World::new().await;
    let rules = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["*"], "resourceNames": ["part", "new", "gatherer", "big"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles", "roles"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]);
    world.post(ROLES, json!({"metadata": {"name": "writer"}, "rules": rules})).await.ok();
    let binding = json!({
        "metadata": {"name": "writer"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "writer"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    world.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.ok();
    world
}

async fn as_jane(world: &World, method: &str, path: &str, body: Value) -> Answer {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    world.send(method, path, Some(JANE), &[("content-type", kind)], body.to_string().into_bytes()).await
}

#[tokio::test]
async fn a_label_that_makes_a_role_part_of_another_is_judged_as_its_rules_are() {
    let world = world().await;
    // "escalate" on the names that she may do anything with would let her.
    let held = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "get", "patch", "update"]}, {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let merge = [("content-type", "application/merge-patch+json")];
    let path = format!("{ROLES}/writer");
    world
        .send("PATCH", &path, Some(ADMIN), &merge, json!({"rules": held}).to_string().into_bytes())
        .await
        .ok();
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    world.post(ROLES, json!({"metadata": {"name": "part"}, "rules": rules})).await.ok();
    let part = format!("{ROLES}/part");
    let labels = json!({"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}});
    let answer = as_jane(&world, "PATCH", &part, labels).await;
    assert_eq!(answer.status, 403);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.ends_with(
            "is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
        ),
        "{message}"
    );
    // What the collector of dependents writes grants nothing.
    as_jane(&world, "PATCH", &part, json!({"metadata": {"finalizers": ["example.com/x"]}})).await.ok();
    // Nor what she holds.
    let pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    as_jane(&world, "POST", ROLES, json!({"metadata": {"name": "new"}, "rules": pods})).await.ok();
    as_jane(&world, "PATCH", &format!("{ROLES}/new"), json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    // To gather what others have, and to end it, is for those who have everything.
    let gatherer = json!({"metadata": {"name": "gatherer"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"never": "seen"}}]}});
    let want = "must have cluster-admin privileges to use the aggregationRule";
    let answer = as_jane(&world, "POST", ROLES, gatherer.clone()).await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["message"].as_str().unwrap().ends_with(want));
    world.post(ROLES, gatherer).await.ok();
    let answer =
        as_jane(&world, "PATCH", &format!("{ROLES}/gatherer"), json!({"aggregationRule": null})).await;
    assert_eq!(answer.status, 403);
    assert!(answer.json()["message"].as_str().unwrap().ends_with(want));
}

#[tokio::test]
async fn a_short_role_that_grants_a_million_things_is_answered() {
    let world = world().await;
    let texts = |prefix: &str| (0..100).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let rules = json!([{"apiGroups": texts("g"), "resources": texts("r"), "verbs": texts("v")}]);
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let answer = as_jane(&world, "POST", path, json!({"metadata": {"name": "huge"}, "rules": rules})).await;
    assert_eq!(answer.status, 403);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("not currently held:\n{APIGroups:[\"g0\"]") && message.len() < 1 << 20);
}

#[tokio::test]
async fn a_collection_goes_whole_and_finalizers_keep_their_objects() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/configmaps";
    for i in 0..100 {
        let finalizers = if i % 10 == 0 { json!(["example.com/hold"]) } else { json!([]) };
        let map =
            json!({"metadata": {"name": format!("m{i}"), "labels": {"all": "of"}, "finalizers": finalizers}});
        world.post(path, map).await.ok();
    }
    let all = format!("{path}?labelSelector=all%3Dof");
    assert_eq!(world.delete(&all).await.ok()["items"].as_array().unwrap().len(), 100);
    let left = world.get(&all, Some(ADMIN)).await.ok();
    let left = left["items"].as_array().unwrap();
    assert_eq!(left.len(), 10);
    assert!(left.iter().all(|map| map["metadata"]["deletionTimestamp"].is_string()));
}
