//! Server-side apply where it is less than plain: preconditions, sharing, what goes again, parts, versions, what the server itself
//! writes. Each answer is what upstream's rules say (structured-merge-diff, apimachinery `managedfields`, apiserver
//! `handlers/patch.go`).

use serde_json::{Value, json};

use crate::managed::{APPLY, MAPS, apply, managers, map, send};
use crate::world::{ADMIN, World, told};

const MERGE: &str = "application/merge-patch+json";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn by(manager: &str) -> String {
    format!("{MAPS}/a?fieldManager={manager}")
}

fn deployment(rest: Value) -> Value {
    let mut body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}});
    body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    body
}

/// A deployment's spec with a container that says more.
fn spec(more: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}})
}

fn with_metadata(mut object: Value, more: Value) -> Value {
    object["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

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
