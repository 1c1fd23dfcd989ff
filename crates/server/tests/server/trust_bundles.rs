//! ClusterTrustBundles: not there by default; with `--runtime-config` an API like any other, whose signers are guarded.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, JANE, World, token, told};

const API: &str = "/apis/certificates.k8s.io/v1beta1";
const BUNDLES: &str = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles";
const SIGNED: &str = "/apis/certificates.k8s.io/v1beta1/clustertrustbundles/example.com:foo:a";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

async fn world() -> World {
    World::serving("certificates.k8s.io/v1beta1=true").await
}

/// A CA's certificate, PEM.
fn anchor() -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn bundle(name: &str, signer: &str) -> Value {
    let mut bundle = json!({"metadata": {"name": name}, "spec": {"trustBundle": anchor()}});
    if !signer.is_empty() {
        bundle["spec"]["signerName"] = signer.into();
    }
    bundle
}

fn signed() -> Value {
    bundle("example.com:foo:a", "example.com/foo")
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|b| b["metadata"]["name"].as_str().unwrap()).collect()
}

impl World {
    async fn by_jane(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, Some(JANE), &[], body.to_string().into_bytes()).await
    }

    async fn merge(&self, path: &str, user: &str, patch: Value) -> Answer {
        let headers = [("content-type", "application/merge-patch+json")];
        self.send("PATCH", path, Some(user), &headers, patch.to_string().into_bytes()).await
    }

    /// Lets Jane do this to bundles, or to signers.
    async fn let_jane(&self, name: &str, rule: Value) {
        self.post(ROLES, json!({"metadata": {"name": name}, "rules": [rule]})).await.ok();
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
        });
        self.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.ok();
    }

    async fn let_jane_write(&self) {
        let rule = json!({"apiGroups": ["certificates.k8s.io"], "resources": ["clustertrustbundles"], "verbs": ["*"]});
        self.let_jane("writer", rule).await;
    }

    async fn let_jane_attest(&self, signer: &str) {
        let rule = json!({
            "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["attest"], "resourceNames": [signer],
        });
        self.let_jane("attester", rule).await;
    }
}

#[tokio::test]
async fn by_default_there_is_no_such_thing() {
    let world = World::new().await;
    // Below a group that is served, what is not there is told in a Status.
    for path in [API, BUNDLES, SIGNED] {
        let answer = world.get(path, Some(ADMIN)).await;
        let nothing = "the server could not find the requested resource";
        assert_eq!(told(&answer), (404, nothing.to_owned()), "{path}");
    }
    assert_eq!(world.post(BUNDLES, bundle("a", "")).await.status, 404);
    for accept in ["application/json", AGGREGATED] {
        let all = world.send("GET", "/apis", Some(ADMIN), &[("accept", accept)], Vec::new()).await.ok();
        assert!(!all.to_string().contains("clustertrustbundles"), "{accept}");
        assert!(!all.to_string().contains("certificates.k8s.io/v1beta1"), "{accept}");
    }
    let role = format!("{ROLES}/system:cluster-trust-bundle-discovery");
    assert_eq!(world.get(&role, Some(ADMIN)).await.status, 404);
}

#[tokio::test]
async fn discovery_shows_it_where_a_real_server_does() {
    let world = world().await;
    let all = world.get("/apis", Some(ADMIN)).await.ok();
    let at = |list: &Value, name: &str| {
        list.as_array()
            .unwrap()
            .iter()
            .position(|item| item.to_string().contains(&format!("\"{name}\"")))
            .unwrap()
    };
    let place = at(&all["groups"], "certificates.k8s.io");
    assert_eq!(place + 1, at(&all["groups"], "networking.k8s.io"));
    let version =
        |version: &str| json!({"groupVersion": format!("certificates.k8s.io/{version}"), "version": version});
    let versions = json!([version("v1"), version("v1beta1")]);
    let group =
        json!({"name": "certificates.k8s.io", "versions": versions, "preferredVersion": version("v1")});
    assert_eq!(all["groups"][place], group);
    assert_eq!(world.get("/apis/certificates.k8s.io", Some(ADMIN)).await.ok()["versions"], versions);
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    assert_eq!(
        world.get(API, Some(ADMIN)).await.ok()["resources"],
        json!([{
            "name": "clustertrustbundles", "singularName": "clustertrustbundle", "namespaced": false,
            "kind": "ClusterTrustBundle", "verbs": verbs, "storageVersionHash": "v5yhuVertL4=",
        }])
    );
    let aggregated =
        world.send("GET", "/apis", Some(ADMIN), &[("accept", AGGREGATED)], Vec::new()).await.ok();
    let kind = json!({"group": "", "version": "", "kind": "ClusterTrustBundle"});
    let resource = json!({
        "resource": "clustertrustbundles", "responseKind": kind, "scope": "Cluster",
        "singularResource": "clustertrustbundle", "verbs": verbs,
    });
    let item = &aggregated["items"][at(&aggregated["items"], "certificates.k8s.io")];
    assert_eq!(
        item["versions"][1],
        json!({"version": "v1beta1", "resources": [resource], "freshness": "Current"})
    );
}

#[tokio::test]
async fn a_bundle_lives_like_any_object() {
    let world = world().await;
    let sent = signed();
    let made = world.post(BUNDLES, sent.clone()).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!(
        (&made["kind"], &made["apiVersion"]),
        (&json!("ClusterTrustBundle"), &json!("certificates.k8s.io/v1beta1"))
    );
    assert_eq!(made["spec"], sent["spec"]);
    let again = "clustertrustbundles.certificates.k8s.io \"example.com:foo:a\" already exists";
    assert_eq!(told(&world.post(BUNDLES, sent).await), (409, again.into()));
    assert_eq!(world.get(SIGNED, Some(ADMIN)).await.ok(), made);

    let mut next = made.clone();
    next["spec"]["trustBundle"] = anchor().into();
    let put = |body: &Value| {
        let (body, world) = (body.to_string().into_bytes(), &world);
        async move { world.send("PUT", SIGNED, Some(ADMIN), &[], body).await }
    };
    let replaced = put(&next).await.ok();
    assert_eq!(replaced["spec"], next["spec"]);
    assert_eq!(put(&next).await.status, 409, "of the version before");
    next["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let blind = "clustertrustbundles.certificates.k8s.io \"example.com:foo:a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
    assert_eq!(told(&put(&next).await), (422, blind.into()));
    let missing = world
        .send("PUT", &format!("{BUNDLES}/b"), Some(ADMIN), &[], bundle("b", "").to_string().into())
        .await;
    assert_eq!(missing.status, 404, "no PUT makes one");
    let patched = world.merge(SIGNED, ADMIN, json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!((&patched["metadata"]["labels"]["a"], &patched["spec"]), (&json!("b"), &replaced["spec"]));

    for (name, signer) in
        [("plain", ""), ("example.com:bar:a", "example.com/bar"), ("example.com:foo:b", "example.com/foo")]
    {
        world.post(BUNDLES, bundle(name, signer)).await.ok();
    }
    let all = world.get(BUNDLES, Some(ADMIN)).await.ok();
    assert_eq!(all["kind"], "ClusterTrustBundleList");
    assert_eq!(names(&all), ["example.com:bar:a", "example.com:foo:a", "example.com:foo:b", "plain"]);
    for (query, want) in [
        ("fieldSelector=spec.signerName%3Dexample.com%2Ffoo", vec!["example.com:foo:a", "example.com:foo:b"]),
        ("fieldSelector=spec.signerName%3D", vec!["plain"]),
        ("fieldSelector=metadata.name%3Dplain", vec!["plain"]),
        ("fieldSelector=spec.signerName%3Dexample.com%2Ffoo&labelSelector=a%3Db", vec!["example.com:foo:a"]),
    ] {
        assert_eq!(names(&world.get(&format!("{BUNDLES}?{query}"), Some(ADMIN)).await.ok()), want, "{query}");
    }
    let other = world.get(&format!("{BUNDLES}?fieldSelector=spec.trustBundle%3Da"), Some(ADMIN)).await;
    assert_eq!(other.status, 400);

    let headers = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = world.send("GET", BUNDLES, Some(ADMIN), &headers, Vec::new()).await.ok();
    let columns: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(columns, ["Name", "SignerName"]);
    assert_eq!(table["rows"][1]["cells"], json!(["example.com:foo:a", "example.com/foo"]));
    assert_eq!(table["rows"][3]["cells"], json!(["plain", "<none>"]));

    assert_eq!(world.delete(SIGNED).await.ok()["details"]["kind"], "clustertrustbundles");
    assert_eq!(world.get(SIGNED, Some(ADMIN)).await.status, 404);
    world.delete(&format!("{BUNDLES}?fieldSelector=spec.signerName%3Dexample.com%2Ffoo")).await.ok();
    assert_eq!(names(&world.get(BUNDLES, Some(ADMIN)).await.ok()), ["example.com:bar:a", "plain"]);
}

#[tokio::test]
async fn a_watch_follows_one_signer() {
    let world = world().await;
    let before = world.get(BUNDLES, Some(ADMIN)).await.ok()["metadata"]["resourceVersion"].clone();
    world.post(BUNDLES, bundle("plain", "")).await.ok();
    world.post(BUNDLES, signed()).await.ok();
    world.merge(SIGNED, ADMIN, json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    world.delete(SIGNED).await.ok();
    let path = format!(
        "{BUNDLES}?watch=true&timeoutSeconds=1&resourceVersion={}&fieldSelector=spec.signerName%3Dexample.com%2Ffoo",
        before.as_str().unwrap()
    );
    let mut watch = Box::pin(world.get(&path, Some(ADMIN)));
    assert!(futures::poll!(&mut watch).is_pending());
    world.clock.advance(std::time::Duration::from_secs(2));
    let bytes = watch.await.bytes;
    let events: Vec<Value> =
        serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<_, _>>().unwrap();
    let seen: Vec<_> = events.iter().map(|e| (&e["type"], &e["object"]["metadata"]["name"])).collect();
    let name = json!("example.com:foo:a");
    assert_eq!(seen, [(&json!("ADDED"), &name), (&json!("MODIFIED"), &name), (&json!("DELETED"), &name)]);
}

#[tokio::test]
async fn yaml_and_protobuf_are_taken_and_given() {
    let world = world().await;
    let pem = anchor();
    let indented = pem.replace('\n', "\n    ");
    let yaml = format!(
        "apiVersion: certificates.k8s.io/v1beta1\nkind: ClusterTrustBundle\nmetadata: {{name: from-yaml}}\nspec:\n  trustBundle: |\n    {indented}\n"
    );
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let made = world.send("POST", BUNDLES, Some(ADMIN), &headers, yaml.into_bytes()).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
    assert_eq!(made.header("content-type"), "application/yaml");
    let stored = world.get(&format!("{BUNDLES}/from-yaml"), Some(ADMIN)).await.ok();
    assert_eq!(stored["spec"]["trustBundle"], pem);

    // As generated.proto numbers the fields: metadata 1 (name 1), spec 2 (signerName 1, trustBundle 2).
    let field = |number: u8, bytes: &[u8]| {
        let (low, high) = (bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8);
        [&[number << 3 | 2, low, high][..], bytes].concat()
    };
    let spec = [field(1, b"example.com/foo"), field(2, pem.as_bytes())].concat();
    let raw = [field(1, &field(1, b"example.com:foo:a")), field(2, &spec)].concat();
    let body = tokensmith_api::proto::frame("certificates.k8s.io/v1beta1", "ClusterTrustBundle", &raw);
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    let made = world.send("POST", BUNDLES, Some(ADMIN), &headers, body).await;
    assert_eq!((made.status.as_u16(), made.header("content-type")), (201, PROTOBUF));
    let stored = world.get(SIGNED, Some(ADMIN)).await.ok();
    assert_eq!(stored["spec"], json!({"signerName": "example.com/foo", "trustBundle": pem}));
    let list = world.send("GET", BUNDLES, Some(ADMIN), &headers[1..], Vec::new()).await;
    for answer in [&made, &list] {
        assert!(answer.bytes.starts_with(b"k8s\0"));
        assert!(answer.bytes.windows(pem.len()).any(|part| part == pem.as_bytes()));
    }
}

#[tokio::test]
async fn what_is_no_bundle_is_refused() {
    let world = world().await;
    let invalid = |name: &str, text: &str| {
        (422, format!("ClusterTrustBundle.certificates.k8s.io \"{name}\" is invalid: {text}"))
    };
    let prefix = "metadata.name: Invalid value: \"a\": ClusterTrustBundle for signerName example.com/foo must be named with prefix example.com:foo:";
    assert_eq!(told(&world.post(BUNDLES, bundle("a", "example.com/foo")).await), invalid("a", prefix));
    let mut empty = bundle("a", "");
    empty["spec"]["trustBundle"] = "".into();
    let none =
        "spec.trustBundle: Invalid value: \"<value omitted>\": at least one trust anchor must be provided";
    assert_eq!(told(&world.post(BUNDLES, empty).await), invalid("a", none));
    let strict = format!("{BUNDLES}?fieldValidation=Strict");
    let mut unknown = bundle("a", "");
    unknown["spec"]["anchors"] = "x".into();
    let (code, text) = told(&world.post(&strict, unknown).await);
    assert!(code == 400 && text.contains("unknown field \"spec.anchors\""), "{text}");
    world.post(BUNDLES, signed()).await.ok();
    let moved = world.merge(SIGNED, ADMIN, json!({"spec": {"signerName": "example.com/bar"}})).await;
    let (code, text) = told(&moved);
    assert_eq!(code, 422);
    assert!(
        text.contains("spec.signerName: Invalid value: \"example.com/bar\": field is immutable"),
        "{text}"
    );
    let foreign = json!({"apiVersion": "certificates.k8s.io/v1alpha1", "kind": "ClusterTrustBundle", "metadata": {"name": "a"}});
    assert_eq!(world.post(BUNDLES, foreign).await.status, 400);
}

#[tokio::test]
async fn a_signers_anchors_are_set_by_who_may_attest() {
    const REFUSED: &str = "clustertrustbundles.certificates.k8s.io \"example.com:foo:a\" is forbidden: user not permitted to attest for signerName \"example.com/foo\"";
    for (right, attests) in [
        ("", false),
        ("example.com/bar", false),
        ("example.com/", false),
        ("*", false),
        ("example.com/*", true),
        ("example.com/foo", true),
    ] {
        let world = world().await;
        world.let_jane_write().await;
        if !right.is_empty() {
            world.let_jane_attest(right).await;
        }
        assert_eq!(
            world.by_jane("POST", BUNDLES, &bundle("plain", "")).await.status,
            201,
            "{right}: no signer"
        );
        let made = world.by_jane("POST", BUNDLES, &signed()).await;
        if attests {
            assert_eq!(made.status, 201, "{right}");
            assert_eq!(
                world.merge(SIGNED, JANE, json!({"spec": {"trustBundle": anchor()}})).await.status,
                200
            );
            continue;
        }
        assert_eq!(told(&made), (403, REFUSED.into()), "{right}");
        let dry = world.by_jane("POST", &format!("{BUNDLES}?dryRun=All"), &signed()).await;
        assert_eq!(dry.status, 403);
        let mut stored = world.post(BUNDLES, signed()).await.ok();
        stored["spec"]["trustBundle"] = anchor().into();
        assert_eq!(told(&world.by_jane("PUT", SIGNED, &stored).await), (403, REFUSED.into()));
        let label = world.merge(SIGNED, JANE, json!({"metadata": {"labels": {"a": "b"}}})).await;
        assert_eq!(told(&label), (403, REFUSED.into()), "who selects by label trusts by label");
        let owned = json!({"metadata": {"finalizers": ["example.com/hold"], "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]}});
        assert_eq!(world.merge(SIGNED, JANE, owned).await.status, 200, "garbage collection goes on");
        assert_eq!(world.merge(SIGNED, JANE, json!({"metadata": {"finalizers": null}})).await.status, 200);
        assert_eq!(world.by_jane("DELETE", SIGNED, &json!({})).await.status, 200);
    }
}

#[tokio::test]
async fn accounts_and_nodes_may_read_and_others_may_not() {
    let world = world().await;
    world.post(BUNDLES, signed()).await.ok();
    let account = token(&world.mint(json!({})).await.ok());
    for path in [BUNDLES, SIGNED] {
        assert_eq!(world.get(path, Some(&account)).await.status, 200, "{path}");
        assert_eq!(world.get(path, Some(JANE)).await.status, 403, "{path}");
        let node = [("impersonate-user", "system:node:n"), ("impersonate-group", "system:nodes")];
        assert_eq!(world.send("GET", path, Some(ADMIN), &node, Vec::new()).await.status, 200, "{path}");
    }
    let denied = world.send("POST", BUNDLES, Some(&account), &[], signed().to_string().into_bytes()).await;
    assert_eq!(denied.status, 403);
}
