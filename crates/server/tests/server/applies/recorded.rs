//! Whom an object names as its managers: of parts, after an apply of kubectl's own, and of what the server itself writes
//! (apimachinery `managedfields`).

use serde_json::{Value, json};

use super::{DEPLOYMENTS, MERGE, by, deployment, spec, with_metadata};
use crate::managed::{MAPS, apply, managers, map, send};
use crate::world::{ADMIN, World, told};

#[tokio::test]
async fn a_part_is_its_own_managers() {
    let world = World::new().await;
    let path = format!("{DEPLOYMENTS}/a?fieldManager=one");
    // A status that is applied to the whole is nobody's.
    let mut told_much = deployment(spec(json!({})));
    told_much["status"] = json!({"replicas": 7});
    let made = apply(&world, &path, &told_much).await.ok();
    assert_eq!(made["status"], json!({}));
    let entry = &managers(&made)[0];
    assert!(entry[0] == "one Apply" && entry[1]["f:status"].is_null(), "{entry}");
    let part = format!("{DEPLOYMENTS}/a/status?fieldManager=one");
    let status = deployment(json!({
        "metadata": {"name": "a", "labels": {"l": "1"}, "annotations": {"n": "1"}}, "spec": {"paused": true},
        "status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]},
    }));
    let reported = apply(&world, &part, &status).await.ok();
    assert_eq!((&reported["status"]["replicas"], &reported["spec"]["paused"]), (&json!(1), &Value::Null));
    assert_eq!(
        managers(&reported)[1],
        json!(["one Apply/status", {
            "f:metadata": {"f:annotations": {"f:n": {}}},
            "f:status": {"f:conditions": {"k:{\"type\":\"Available\"}": {".": {}, "f:status": {}, "f:type": {}}}, "f:replicas": {}},
        }]),
        "a deployment's labels are put back, and its annotations are not"
    );
    assert_eq!(
        (&reported["metadata"]["labels"], &reported["metadata"]["annotations"]),
        (&Value::Null, &json!({"n": "1"}))
    );
    // The condition goes with who does not report it any more.
    let gone = apply(&world, &part, &deployment(json!({"status": {"replicas": 1}}))).await.ok();
    assert!(gone["status"]["conditions"].is_null() && gone["metadata"]["annotations"].is_null(), "{gone}");
    // Of an API service nothing but the status.
    let services = "/apis/apiregistration.k8s.io/v1/apiservices/v1.example.com";
    let service = |more: Value| {
        let mut body = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.example.com"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let wanted = json!({"spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}});
    apply(&world, &format!("{services}?fieldManager=one"), &service(wanted)).await.ok();
    let available = with_metadata(
        service(json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}})),
        json!({"labels": {"l": "1"}, "finalizers": ["x/a"]}),
    );
    let reported = apply(&world, &format!("{services}/status?fieldManager=two"), &available).await.ok();
    let by_two = managers(&reported).as_array().unwrap().last().unwrap().clone();
    assert!(by_two[0] == "two Apply/status" && by_two[1]["f:metadata"].is_null(), "{by_two}");
    assert!(
        reported["metadata"]["labels"].is_null() && reported["metadata"]["finalizers"].is_null(),
        "{reported}"
    );
}

#[tokio::test]
async fn who_has_all_managers_forgotten_begins_anew() {
    let world = World::new().await;
    apply(&world, &by("one"), &map("a", json!({"k": "1"}))).await.ok();
    let reset = json!({"metadata": {"managedFields": [{}]}});
    let forgotten = send(&world, "PATCH", &by("two"), MERGE, &reset).await.ok();
    assert_eq!(managers(&forgotten), json!([]));
    // What was there before is one's whom nobody knows, and a conflict for who wants another value.
    let refused = apply(&world, &by("one"), &map("a", json!({"k": "2"}))).await;
    let text = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k";
    assert_eq!(told(&refused), (409, text.into()));
    let shared = apply(&world, &by("one"), &map("a", json!({"k": "1"}))).await.ok();
    assert_eq!(
        managers(&shared),
        json!([["one Apply", {"f:data": {"f:k": {}}}], ["before-first-apply Update", {"f:data": {".": {}, "f:k": {}}}]])
    );
    // Nobody manages what only says which object it is.
    let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}});
    let made = apply(&world, &format!("{MAPS}/b?fieldManager=one"), &bare).await;
    assert_eq!((made.status.as_u16(), managers(&made.ok())), (201, json!([])));
}

/// kubectl's own apply leaves an annotation, of which its server-side apply takes over what is still so.
#[tokio::test]
async fn kubectl_comes_from_its_own_apply() {
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let world = World::new().await;
    let annotated = |data: Value| {
        let last = map("a", data.clone()).to_string();
        with_metadata(map("a", data), json!({"annotations": {LAST: last}}))
    };
    let client = format!("{MAPS}?fieldManager=kubectl-client-side-apply");
    send(&world, "POST", &client, "application/json", &annotated(json!({"k": "1", "l": "1", "m": "1"})))
        .await
        .ok();
    let theirs = json!({"data": {"m": "9"}});
    send(&world, "PATCH", &by("theirs"), MERGE, &theirs).await.ok();
    let next = map("a", json!({"k": "2", "l": "1"}));
    let other = apply(&world, &by("other"), &next).await;
    let text = "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.k";
    assert_eq!(told(&other), (409, text.into()));
    // What somebody else has changed since is not kubectl's any more.
    let refused = apply(&world, &by("kubectl"), &map("a", json!({"k": "2", "m": "1"}))).await;
    assert_eq!(
        told(&refused),
        (409, "Apply failed with 1 conflict: conflict with \"theirs\" using v1: .data.m".into())
    );
    let applied = apply(&world, &by("kubectl"), &next).await.ok();
    assert_eq!(applied["data"], json!({"k": "2", "l": "1", "m": "9"}));
    // The annotation says what was applied last.
    let last: Value =
        serde_json::from_str(applied["metadata"]["annotations"][LAST].as_str().unwrap()).unwrap();
    assert_eq!(last, next);
}

/// What changes an object past the handlers is recorded by nobody; what the server writes as its own client is recorded as its.
#[tokio::test]
async fn what_the_server_itself_writes_has_the_managers_that_upstreams_has() {
    let world = World::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "metadata": {"name": "a", "labels": {"a": "b"}, "finalizers": ["x/a"]}, "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let made = send(&world, "POST", pods, "application/json", &pod).await.ok();
    let bind = json!({"metadata": {"name": "a", "annotations": {"n": "1"}}, "target": {"name": "worker"}});
    world.post(&format!("{pods}/a/binding"), bind).await.ok();
    let bound = world.get(&format!("{pods}/a"), Some(ADMIN)).await.ok();
    assert_eq!((&bound["spec"]["nodeName"], managers(&bound)), (&json!("worker"), managers(&made)));
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}}});
    send(&world, "POST", budgets, "application/json", &budget).await.ok();
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 0, "expectedPods": 1}});
    send(&world, "PATCH", &format!("{budgets}/b/status?fieldManager=controller"), MERGE, &status).await.ok();
    let runs = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let running = send(&world, "PATCH", &format!("{pods}/a/status"), MERGE, &runs).await.ok();
    world.post(&format!("{pods}/a/eviction"), json!({"metadata": {"name": "a"}})).await.ok();
    let evicted = world.get(&format!("{pods}/a"), Some(ADMIN)).await.ok();
    assert!(!evicted["metadata"]["deletionTimestamp"].is_null(), "{evicted}");
    assert_eq!(managers(&evicted), managers(&running));
    let charged = world.get(&format!("{budgets}/b"), Some(ADMIN)).await.ok();
    let own: Vec<_> = managers(&charged)
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m[0] == "kube-apiserver Update/status")
        .cloned()
        .collect();
    assert_eq!(own.len(), 1, "{}", managers(&charged));
    let fields = &own[0][1]["f:status"];
    assert!(
        fields["f:disruptedPods"]["f:a"].is_object() && fields["f:disruptionsAllowed"].is_object(),
        "{fields}"
    );
    // An address of a service is the server's, as all that it makes for itself.
    let services = "/api/v1/namespaces/default/services";
    let service = world
        .post(services, json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}))
        .await
        .ok();
    let address =
        format!("/apis/networking.k8s.io/v1/ipaddresses/{}", service["spec"]["clusterIP"].as_str().unwrap());
    let address = world.get(&address, Some(ADMIN)).await.ok();
    assert_eq!(managers(&address)[0][0], "kube-apiserver Update");
    let root = world.get(&format!("{MAPS}/kube-root-ca.crt"), Some(ADMIN)).await.ok();
    assert_eq!(managers(&root)[0][0], "kube-controller-manager Update");
    let network = world.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes", Some(ADMIN)).await.ok();
    assert_eq!(managers(&network)[0][0], "kubernetes-service-cidr-controller Apply/status");
    // What a role gathers is the controller's: whoever applies the role says nothing of its rules.
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let gathered = || async { world.get(&format!("{roles}/admin"), Some(ADMIN)).await.ok() };
    world
        .until("it is gathered", || async {
            gathered().await["rules"].as_array().is_some_and(|rules| !rules.is_empty())
        })
        .await;
    assert_eq!(
        managers(&gathered().await)[0],
        json!(["clusterrole-aggregation-controller Apply", {"f:rules": {}}])
    );
    let mine = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "admin"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    });
    let refused = apply(&world, &format!("{roles}/admin?fieldManager=helm"), &mine).await;
    assert_eq!(
        told(&refused),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"clusterrole-aggregation-controller\": .rules"
                .into()
        )
    );
}
