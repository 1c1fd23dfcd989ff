//! What is below a workload or a pod: scales, evictions, bindings, and what leads to a node.

use serde_json::{Value, json};

use crate::world::{ADMIN, World, told};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

async fn send(world: &World, method: &str, path: &str, body: Value) -> (u16, Value) {
    let kind = if method == "PATCH" { MERGE } else { JSON };
    let answer = world.send(method, path, Some(ADMIN), &[kind], body.to_string().into_bytes()).await;
    (answer.status.as_u16(), answer.json())
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

#[tokio::test]
async fn a_scale_is_read_replaced_and_patched_as_its_workload() {
    let world = World::new().await;
    let selector = json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["y", "x"]}]});
    let set = json!({"metadata": {"name": "s"}, "spec": {"selector": selector, "template": template()}});
    world.post(SETS, set).await.ok();
    let scale = world.get(&format!("{SETS}/s/scale"), Some(ADMIN)).await.ok();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(1)));
    assert_eq!(scale["status"], json!({"replicas": 0, "selector": "app in (x,y)"}));
    let path = format!("{SETS}/s/scale");
    let (status, put) =
        send(&world, "PUT", &path, json!({"metadata": {"name": "s"}, "spec": {"replicas": 4}})).await;
    assert_eq!((status, &put["spec"]["replicas"]), (200, &json!(4)));
    let dry = format!("{path}?dryRun=All");
    let (status, put) = send(&world, "PATCH", &dry, json!({"spec": {"replicas": 9}})).await;
    assert_eq!((status, &put["spec"]["replicas"]), (200, &json!(9)));
    let (_, set) = send(&world, "PATCH", &path, json!({"spec": {"replicas": 5}})).await;
    assert_eq!(set["spec"]["replicas"], 5);
    let set = world.get(&format!("{SETS}/s"), Some(ADMIN)).await.ok();
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["generation"]), (&json!(5), &json!(3)));
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = world.send("GET", &path, Some(ADMIN), &table, Vec::new()).await.ok();
    let columns = table["columnDefinitions"].as_array().unwrap().iter().map(|column| column["name"].as_str());
    assert_eq!(columns.flatten().collect::<Vec<_>>(), ["Name", "Desired", "Available", "Age"]);
    assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("s"), json!(5), json!(0)]);
    let metadata = [("accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")];
    let metadata = world.send("GET", &path, Some(ADMIN), &metadata, Vec::new()).await.ok();
    assert_eq!((&metadata["kind"], &metadata["spec"]), (&json!("PartialObjectMetadata"), &Value::Null));
    for (body, want) in [
        (json!({"metadata": {"name": "s", "resourceVersion": "1"}}), 409),
        (json!({"metadata": {"name": "s", "uid": "u"}}), 409),
        (json!({"metadata": {"name": "s"}, "spec": {"replicas": -3}}), 422),
        (json!({"metadata": {"name": "t"}}), 400),
        (json!({"spec": {"replicas": 1}}), 400),
    ] {
        assert_eq!(send(&world, "PUT", &path, body.clone()).await.0, want, "{body}");
    }
    // Where its key begins is known to no dry run.
    let other = json!({"metadata": {"name": "s", "uid": "u"}});
    for (path, key) in [(&dry, "/statefulsets/default/s"), (&path, "/registry/statefulsets/default/s")] {
        let (_, refused) = send(&world, "PUT", path, other.clone()).await;
        assert!(refused["message"].as_str().unwrap().contains(&format!(" Key: {key},")), "{refused}");
    }
    assert_eq!(send(&world, "DELETE", &path, json!({})).await.0, 405);
    assert_eq!(world.get(&format!("{PODS}/s/scale"), Some(ADMIN)).await.status, 404);
}

async fn pod(world: &World, name: &str, node: Option<&str>) {
    let mut pod = template();
    pod["metadata"] = json!({"name": name, "labels": {"app": name}});
    if let Some(node) = node {
        pod["spec"]["nodeName"] = node.into();
    }
    world.post(PODS, pod).await.ok();
}

#[tokio::test]
async fn a_budget_decides_whether_a_pod_that_runs_is_evicted() {
    let world = World::new().await;
    let eviction =
        |name: &str| json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": name}});
    let evict = async |name: &str, query: &str| {
        let answer = world.post(&format!("{PODS}/{name}/eviction{query}"), eviction(name)).await;
        told(&answer)
    };
    pod(&world, "a", Some("n")).await;
    let budget = json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    world.post(BUDGETS, budget).await.ok();
    let status = |allowed: i32| json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    let budget_says =
        async |allowed: i32| send(&world, "PATCH", &format!("{BUDGETS}/b/status"), status(allowed)).await;
    // What does not run yet is counted by nobody.
    assert_eq!(evict("a", "?dryRun=All").await.0, 201);
    let ready = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    assert_eq!(send(&world, "PATCH", &format!("{PODS}/a/status"), ready).await.0, 200);
    let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
    assert_eq!(evict("a", "").await, (429, refused.into()), "nobody has counted yet");
    budget_says(0).await;
    assert_eq!(evict("a", "").await, (429, refused.into()));
    budget_says(2).await;
    assert_eq!(evict("a", "?dryRun=All").await.0, 201);
    let seen = world.get(&format!("{BUDGETS}/b"), Some(ADMIN)).await.ok();
    assert_eq!(
        (&seen["status"]["disruptionsAllowed"], &seen["status"]["disruptedPods"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(evict("a", "").await.0, 201);
    let seen = world.get(&format!("{BUDGETS}/b"), Some(ADMIN)).await.ok();
    assert_eq!(seen["status"]["disruptionsAllowed"], 1);
    assert!(seen["status"]["disruptedPods"]["a"].is_string());
    let pod = world.get(&format!("{PODS}/a"), Some(ADMIN)).await.ok();
    assert_eq!(pod["status"]["conditions"][1]["reason"], "EvictionByEvictionAPI");
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    // It goes already: nothing is counted again.
    assert_eq!(evict("a", "").await.0, 201);
    assert_eq!(evict("ghost", "").await, (404, "pods \"ghost\" not found".into()));
    let other = world.post(&format!("{PODS}/a/eviction"), eviction("b")).await;
    assert_eq!(told(&other), (400, "name in URL does not match name in Eviction object".into()));
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let world = World::new().await;
    pod(&world, "a", None).await;
    let binding = json!({"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"l": "1"}}, "target": {"kind": "Node", "name": "n"}});
    let dry = world.post("/api/v1/namespaces/default/bindings?dryRun=All", binding.clone()).await;
    assert_eq!(dry.status, 201);
    let wrong = json!({"metadata": {"name": "a", "uid": "u"}, "target": {"name": "n"}});
    assert_eq!(world.post(&format!("{PODS}/a/binding"), wrong).await.status, 409);
    assert_eq!(world.post(&format!("{PODS}/a/binding"), binding.clone()).await.status, 201);
    let pod = world.get(&format!("{PODS}/a"), Some(ADMIN)).await.ok();
    assert_eq!(
        (&pod["spec"]["nodeName"], &pod["metadata"]["labels"]),
        (&json!("n"), &json!({"app": "a", "l": "1"}))
    );
    assert_eq!(
        (&pod["status"]["conditions"][0]["type"], &pod["metadata"]["generation"]),
        (&json!("PodScheduled"), &json!(1))
    );
    let again = told(&world.post("/api/v1/namespaces/default/bindings", binding).await);
    let cause =
        "Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n\"";
    assert_eq!(again, (409, cause.into()));
    assert_eq!(world.get("/api/v1/namespaces/default/bindings", Some(ADMIN)).await.status, 405);
    assert_eq!(world.get("/api/v1/namespaces/default/bindings/a", Some(ADMIN)).await.status, 404);
}

#[tokio::test]
async fn parts_of_a_pod_are_replaced_alone() {
    let world = World::new().await;
    let mut made = template();
    made["metadata"] = json!({"name": "a"});
    made["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
    world.post(PODS, made).await.ok();
    let put = async |part: &str, change: &dyn Fn(&mut Value)| {
        let mut pod = world.get(&format!("{PODS}/a"), Some(ADMIN)).await.ok();
        change(&mut pod);
        pod["metadata"]["labels"] = json!({"not": "this"});
        send(&world, "PUT", &format!("{PODS}/a/{part}"), pod).await
    };
    let debug = json!([{"name": "d", "image": "x", "terminationMessagePolicy": "File"}]);
    let (status, pod) =
        put("ephemeralcontainers", &|pod| pod["spec"]["ephemeralContainers"] = debug.clone()).await;
    assert_eq!((status, &pod["metadata"]["generation"]), (200, &json!(2)), "{pod}");
    assert_eq!(pod["metadata"].get("labels"), None);
    let (status, said) =
        put("ephemeralcontainers", &|pod| pod["spec"]["ephemeralContainers"] = json!([])).await;
    assert_eq!((status, &said["details"]["causes"][0]["field"]), (422, &json!("spec.ephemeralContainers")));
    let cpu = |pod: &mut Value, cpu: &str| {
        pod["spec"]["containers"][0]["image"] = "other".into();
        pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = cpu.into();
    };
    let (status, pod) = put("resize", &|pod| cpu(pod, "1500m")).await;
    let container = &pod["spec"]["containers"][0];
    assert_eq!(
        (status, &container["image"], &container["resources"]["requests"]["cpu"]),
        (200, &json!("i"), &json!("1500m"))
    );
    assert_eq!(put("resize", &|pod| cpu(pod, "3")).await.0, 422);
    let (status, said) = put("resize", &|pod| pod["spec"]["containers"][0]["resources"] = json!({})).await;
    assert_eq!(
        (status, &said["details"]["causes"][1]["field"]),
        (422, &json!("spec.containers[0].resources.requests"))
    );
}

#[tokio::test]
async fn what_leads_to_a_node_says_that_nothing_runs() {
    let world = World::new().await;
    pod(&world, "a", None).await;
    pod(&world, "b", Some("n")).await;
    let said = async |path: &str| told(&world.get(&format!("/api/v1/{path}"), Some(ADMIN)).await);
    let pods = "namespaces/default/pods";
    assert_eq!(world.get(&format!("{PODS}/a/log"), Some(ADMIN)).await.status, 204);
    for (path, want) in [
        ("ghost/log", (404, "pods \"ghost\" not found")),
        ("a/log?limitBytes=x", (400, "strconv.ParseInt: parsing \"x\": invalid syntax")),
        (
            "a/log?tailLines=9223372036854775808&limitBytes=0",
            (400, "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"),
        ),
        (
            "a/log?sinceSeconds=0&sinceTime=2026-01-01T00:00:00Z",
            (
                422,
                "PodLogOptions \"a\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
            ),
        ),
        (
            "a/log?limitBytes=0",
            (422, "PodLogOptions \"a\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"),
        ),
        ("a/exec?container=z", (400, "container z is not valid for pod a")),
        ("a/exec", (400, "pod a does not have a host assigned")),
        ("a/portforward", (400, "pod a does not have a host assigned")),
        ("b/attach", (404, "pods \"n\" not found")),
        ("a/proxy/x/y", (400, "address not allowed")),
    ] {
        assert_eq!(said(&format!("{pods}/{path}")).await, (want.0, want.1.to_owned()), "{path}");
    }
    world.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.ok();
    for path in ["b/exec", "b/attach", "b/log"] {
        let (status, text) = said(&format!("{pods}/{path}")).await;
        assert!(status == 503 && text.contains("tokensmith project"), "{path}: {text}");
    }
    assert_eq!(said("nodes/n/proxy/metrics/cadvisor").await.0, 503);
    assert_eq!(said("namespaces/default/services/a:b:c:d/proxy").await.0, 400);
    assert_eq!(
        said("namespaces/default/services/https:ghost:80/proxy/").await,
        (404, "services \"ghost\" not found".into())
    );
    assert_eq!(send(&world, "PUT", &format!("{PODS}/b/exec"), json!({})).await.0, 405);
}

#[tokio::test]
async fn jobs_and_controllers_leave_their_pods_alone_unless_they_are_told() {
    let world = World::new().await;
    let mut pods = template();
    pods["spec"]["restartPolicy"] = "Never".into();
    for (collection, spec) in [
        ("/apis/batch/v1/namespaces/default/jobs", json!({"template": pods})),
        ("/api/v1/namespaces/default/replicationcontrollers", json!({"template": template()})),
        (
            "/apis/apps/v1/namespaces/default/replicasets",
            json!({"template": template(), "selector": {"matchLabels": {"app": "x"}}}),
        ),
    ] {
        let orphans = !collection.contains("replicasets");
        let make = async |name: &str| {
            world.post(collection, json!({"metadata": {"name": name}, "spec": spec})).await.ok()
        };
        make("a").await;
        let gone = world.delete(&format!("{collection}/a")).await;
        let warned = gone.header("warning").contains("child pods are preserved by default");
        assert_eq!(warned, collection.contains("jobs"), "{collection}");
        // Whether there is something to delete or not.
        for nothing in ["/nosuch", "?labelSelector=no%3Dsuch"] {
            let gone = world.delete(&format!("{collection}{nothing}")).await;
            let warned = gone.header("warning").contains("child pods are preserved by default");
            assert_eq!(warned, collection.contains("jobs"), "{collection}{nothing}");
        }
        let wanted = if orphans { json!(["orphan"]) } else { Value::Null };
        assert_eq!(gone.ok()["metadata"]["finalizers"], wanted, "{collection}");
        make("b").await;
        let gone = world.delete(&format!("{collection}/b?propagationPolicy=Background")).await.ok();
        assert_eq!(gone["status"], "Success", "{collection}");
    }
}
