//! Paths, methods and headers as upstream's router has them (`apiserver/pkg/server`).

use serde_json::json;

use crate::world::{ADMIN, Answer, World};

async fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    world.send(method, path, Some(ADMIN), headers, Vec::new()).await
}

async fn get(world: &World, path: &str) -> Answer {
    ask(world, "GET", path, &[]).await
}

fn is_no_page(answer: &Answer) -> bool {
    answer.status == 404
        && answer.header("content-type") == "text/plain; charset=utf-8"
        && answer.header("x-content-type-options") == "nosniff"
        && answer.header("cache-control") == "no-cache, private"
        && answer.bytes == b"404 page not found\n"
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_well_known_path_changes_nothing() {
    let world = World::new().await;
    for path in [
        "/version",
        "/api",
        "/apis",
        "/api/v1",
        "/apis/rbac.authorization.k8s.io",
        "/apis/rbac.authorization.k8s.io/v1",
        "/openid/v1/jwks",
        "/.well-known/openid-configuration",
        "/api/v1/namespaces",
        "/api/v1/namespaces/default",
        "/api/v1/namespaces/default/pods",
    ] {
        let (bare, slash) = (get(&world, path).await, get(&world, &format!("{path}/")).await);
        assert_eq!((bare.status, slash.status), (200.try_into().unwrap(), bare.status), "{path}/");
        assert_eq!(bare.bytes, slash.bytes, "{path}/");
        assert_eq!(bare.header("content-type"), slash.header("content-type"), "{path}/");
    }
    // What upstream finds by the whole text is another path with a slash.
    for path in ["/healthz/", "/livez/", "/metrics/", "/apis//", "//version", "/index.html/"] {
        assert!(is_no_page(&get(&world, path).await), "{path}");
    }
    assert_eq!(get(&world, "/version//").await.status, 200);
}

#[tokio::test]
async fn a_path_whose_escapes_are_none_is_no_path_for_anybody() {
    let world = World::new().await;
    for path in ["/%zz", "/api/v1/namespaces/%", "/version%2"] {
        for token in [Some(ADMIN), None, Some("nonsense")] {
            let answer = world.send("GET", path, token, &[], Vec::new()).await;
            assert_eq!(answer.status, 400, "{path}");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{path}");
            assert_eq!(answer.bytes, b"400 Bad Request", "{path}");
        }
    }
}

#[tokio::test]
async fn a_path_is_known_by_what_it_means_however_its_letters_are_escaped() {
    let world = World::new().await;
    for (path, plain) in [
        ("/%76ersion", "/version"),
        ("/version%2F", "/version"),
        ("/%61pi/v1", "/api/v1"),
        ("/a%70i", "/api"),
        ("/%61pis", "/apis"),
        ("/healt%68z", "/healthz"),
        ("/readyz/%70ing", "/readyz/ping"),
        ("/openid%2fv1/jwks", "/openid/v1/jwks"),
        ("/%2ewell-known/openid-configuration", "/.well-known/openid-configuration"),
        ("/api/v1/%6eamespaces/default", "/api/v1/namespaces/default"),
        ("/%69ndex.html", "/"),
    ] {
        let (found, want) = (get(&world, path).await, get(&world, plain).await);
        assert_eq!(want.status, 200, "{plain}");
        assert_eq!((found.status, found.bytes), (want.status, want.bytes), "{path}");
    }
    // The rule of the endpoint goes with it.
    let world = World::with(|config| config.anonymous_oidc = true).await;
    let nobody = async |path: &str| world.send("GET", path, None, &[], Vec::new()).await.status;
    assert_eq!(nobody("/openid/v1/%6awks").await, 200);
    assert_eq!(nobody("/%6detrics").await, 403);
}

#[tokio::test]
async fn what_upstreams_router_does_not_know_is_no_page_and_below_what_it_serves_a_status() {
    let world = World::new().await;
    for path in [
        "/nosuch",
        "/API/v1",
        "/apix",
        "/admin",
        "/apis/nothing",
        "/apis/nothing/v1",
        "/apis/nothing/v1/things",
        "/apis/nothing/v1/namespaces/default/things/x",
        "/readyz/nosuch",
        "/livez/store",
        "/favicon.ico",
    ] {
        let answer = get(&world, path).await;
        assert!(is_no_page(&answer), "{path}: {}", String::from_utf8_lossy(&answer.bytes));
    }
    for path in [
        "/api/v2",
        "/api/v2/pods",
        "/api/v1/nosuch",
        "/api/v1//namespaces",
        "/api/v1/configmaps/a",
        "/api/v1/namespaces/default/nodes",
        "/api/v1/namespaces/default/configmaps/a/b/c",
        "/api/v1/watch/nosuch",
        "/api/v1/watch/namespaces/default/nosuch",
        "/api/v1/proxy/nodes/a",
        "/apis/rbac.authorization.k8s.io/v7",
        "/apis/rbac.authorization.k8s.io/v1/nosuch",
        "/version/x",
        "/openid/v1/jwks/x",
    ] {
        let answer = get(&world, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["reason"].as_str()),
            (404, Some("NotFound")),
            "{path}"
        );
        assert_eq!(answer.header("x-content-type-options"), "", "{path}");
    }
    // Strangers learn nothing of it.
    assert_eq!(world.send("GET", "/nosuch", None, &[], Vec::new()).await.status, 403);
    let broken = get(&world, "/api/v1/watch?a=1&b=2").await;
    let text = "Internal Server Error: \"/api/v1/watch?a=1&amp;b=2\": failed to create RequestInfo: unable to determine \
                kind and namespace from url, /api/v1/watch?a=1&amp;b=2\n";
    assert_eq!((broken.status.as_u16(), String::from_utf8_lossy(&broken.bytes).as_ref()), (500, text));
}

#[tokio::test]
async fn the_root_lists_the_paths_that_there_are() {
    let world = World::new().await;
    let root = get(&world, "/").await;
    assert_eq!(root.header("content-type"), "application/json");
    assert!(root.bytes.starts_with(b"{\n  \"paths\": [\n    \"/.well-known/openid-configuration\",\n"));
    let json = root.json();
    let paths: Vec<_> = json["paths"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
    assert!(paths.is_sorted());
    for path in ["/api", "/api/v1", "/apis", "/apis/", "/apis/rbac.authorization.k8s.io", "/version"]
        .into_iter()
        .chain(["/apis/rbac.authorization.k8s.io/v1", "/livez/ping", "/readyz/etcd", "/readyz", "/metrics"])
    {
        assert!(paths.contains(&path), "{path}");
    }
    for path in paths {
        assert!(!["/", "/index.html"].contains(&path) && !path.contains('{'), "{path}");
        assert_ne!(get(&world, path).await.status, 404, "{path}");
    }
    // Tasks that begin meanwhile are in it, too: it is the same once all have.
    let same = || async { get(&world, "/index.html").await.bytes == get(&world, "/").await.bytes };
    world.until("the same at both paths", same).await;
}

#[tokio::test]
async fn each_health_check_is_asked_for_by_its_name_and_left_out_by_it() {
    let world = World::new().await;
    for path in ["/livez/ping", "/readyz/ping", "/healthz/ping", "/readyz/etcd", "/readyz/signing-keys"] {
        let answer = get(&world, path).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.as_slice()), (200, b"ok".as_slice()), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    let text = async |path: &str| String::from_utf8(get(&world, path).await.bytes).unwrap();
    let verbose = text("/readyz?verbose").await;
    assert!(verbose.starts_with("[+]ping ok\n[+]etcd ok\n") && verbose.ends_with("readyz check passed\n"));
    assert!(text("/healthz?verbose=1").await.ends_with("healthz check passed\n"));
    let without = text("/readyz?verbose&exclude=etcd&exclude=etcd&exclude=no&exclude=other").await;
    assert!(without.contains("[+]etcd excluded: ok\n"));
    assert!(
        without.contains("warn: some health checks cannot be excluded: no matches for \"no\",\"other\"\n")
    );
    // Each name that is shown can be asked for, with its slash, too.
    for line in verbose.lines().filter(|line| line.starts_with("[+]")) {
        let name = line.trim_start_matches("[+]").trim_end_matches(" ok");
        assert_eq!(text(&format!("/readyz/{name}")).await, "ok", "{name}");
    }
}

#[tokio::test]
async fn head_is_for_documents_and_what_takes_any_method() {
    let world = World::new().await;
    for path in [
        "/version",
        "/api",
        "/api/v1",
        "/apis/rbac.authorization.k8s.io/v1",
        "/api/v1/namespaces",
        "/api/v1/namespaces/default",
        "/api/v1/namespaces/ghost",
        "/api/v1/namespaces/default/status",
        "/%76ersion",
    ] {
        for method in ["HEAD", "OPTIONS", "TRACE"] {
            let answer = ask(&world, method, path, &[]).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("content-type"), "application/json", "{method} {path}");
            assert!(answer.headers.get("allow").is_none(), "{method} {path}");
        }
    }
    for path in ["/", "/apis", "/apis/rbac.authorization.k8s.io", "/healthz", "/livez/ping", "/metrics"] {
        for method in ["HEAD", "POST", "DELETE", "PROPFIND"] {
            assert_eq!(ask(&world, method, path, &[]).await.status, 200, "{method} {path}");
        }
    }
    for path in ["/openid/v1/jwks", "/.well-known/openid-configuration"] {
        assert_eq!(ask(&world, "HEAD", path, &[]).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_version_says_what_is_emulated() {
    let world = World::new().await;
    let version = get(&world, "/version").await;
    let json = version.json();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "major",
            "minor",
            "emulationMajor",
            "emulationMinor",
            "minCompatibilityMajor",
            "minCompatibilityMinor",
            "gitVersion",
            "gitCommit",
            "gitTreeState",
            "buildDate",
            "goVersion",
            "compiler",
            "platform"
        ]
    );
    assert_eq!((&json["emulationMinor"], &json["minCompatibilityMinor"]), (&json!("36"), &json!("35")));
    assert!(version.bytes.starts_with(b"{\n  \"major\": \"1\",\n"), "{:?}", version.json());
}

#[tokio::test]
async fn headers_are_those_that_upstream_writes() {
    let world = World::new().await;
    let object = get(&world, "/api/v1/namespaces/default").await;
    for name in ["x-content-type-options", "vary", "allow", "www-authenticate", "retry-after"] {
        assert!(object.headers.get(name).is_none(), "{name}");
    }
    // Authorization says nosniff, admission does not.
    let refused = world.send("GET", "/api/v1/pods", None, &[], Vec::new()).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-content-type-options")), (403, "nosniff"));
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}).to_string();
    let path = "/api/v1/namespaces/nowhere/configmaps";
    let headers = [("content-type", "application/json")];
    let missing = world.send("POST", path, Some(ADMIN), &headers, body.into_bytes()).await;
    assert_eq!((missing.status.as_u16(), missing.header("x-content-type-options")), (404, ""));

    // Long answers are compressed for who asks, and only then vary.
    let data = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"a": "x".repeat(200_000)}});
    let path = "/api/v1/namespaces/default/configmaps";
    world.send("POST", path, Some(ADMIN), &headers, data.to_string().into_bytes()).await.ok();
    let path = format!("{path}/big");
    let packed = ask(&world, "GET", &path, &[("accept-encoding", "gzip")]).await;
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "Accept-Encoding"));
    let plain = get(&world, &path).await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", ""));
}

/// What kubectl keeps on disk: it asks with the tag whether that is still so.
#[tokio::test]
async fn aggregated_discovery_has_a_tag_and_may_be_kept() {
    let world = World::new().await;
    let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    for path in ["/api", "/apis", "/apis/"] {
        let first = ask(&world, "GET", path, &[accept]).await;
        let tag = first.header("etag").to_owned();
        assert_eq!((first.status.as_u16(), tag.len()), (200, 130), "{path}");
        assert_eq!((first.header("vary"), first.header("cache-control")), ("Accept", "public"));
        let again = ask(&world, "GET", path, &[accept, ("if-none-match", &tag)]).await;
        assert_eq!((again.status.as_u16(), again.bytes.len(), again.header("etag")), (304, 0, tag.as_str()));
        let other = ask(&world, "GET", path, &[accept, ("if-none-match", "\"other\"")]).await;
        assert_eq!(other.status, 200, "{path}");
        // The old form has neither.
        let plain = get(&world, path).await;
        assert_eq!((plain.header("etag"), plain.header("vary")), ("", ""), "{path}");
    }
}

#[tokio::test]
async fn a_name_that_no_object_can_have_is_a_bad_request() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/configmaps";
    for (name, text) in [
        ("%2e%2e", "Name parameter invalid: \"..\": may not be '..'"),
        (".", "Name parameter invalid: \".\": may not be '.'"),
        ("a%25b", "Name parameter invalid: \"a%b\": may not contain '%'"),
    ] {
        for method in ["GET", "DELETE"] {
            let answer = ask(&world, method, &format!("{path}/{name}"), &[]).await;
            assert_eq!((answer.status.as_u16(), answer.json()["message"].as_str()), (400, Some(text)));
        }
    }
}

/// kubectl reads a kind's group and version from the list that it is in; both forms leave them out.
#[tokio::test]
async fn discovery_says_group_and_version_of_an_answer_only_where_they_differ() {
    let world = World::new().await;
    let accept = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    for path in ["/api", "/apis"] {
        let all = ask(&world, "GET", path, &[accept]).await.json();
        let mut seen = 0;
        for version in all["items"].as_array().unwrap().iter().flat_map(|g| g["versions"].as_array().unwrap())
        {
            for resource in version["resources"].as_array().unwrap() {
                let (group, version) =
                    (&resource["responseKind"]["group"], &resource["responseKind"]["version"]);
                assert_eq!((group, version), (&json!(""), &json!("")), "{resource}");
                let token = resource["subresources"].as_array().into_iter().flatten();
                for sub in token.filter(|sub| sub["subresource"] == "token") {
                    let want =
                        json!({"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"});
                    assert_eq!(sub["responseKind"], want);
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, usize::from(path == "/api"));
    }
    assert!(get(&world, "/api/v1").await.json().get("apiVersion").is_none());
    assert_eq!(get(&world, "/apis/rbac.authorization.k8s.io/v1").await.json()["apiVersion"], "v1");
}

/// The router judges `Accept` by its letters; what passes there is negotiated.
#[tokio::test]
async fn an_accept_that_names_nothing_a_route_produces_is_refused_before_it_is_negotiated() {
    let world = World::new().await;
    let (object, list) = ("/api/v1/namespaces/default", "/api/v1/namespaces");
    let all = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let streams =
        format!("{all}, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch");
    let routed = |produced: &str| format!("406: Not Acceptable\n\nAvailable representations: {produced}");
    let negotiated = format!("only the following media types are accepted: {all}");
    for (path, accept, want) in [
        (object, "application/*", routed(all)),
        (object, "text/html", routed(all)),
        (object, "APPLICATION/JSON", routed(all)),
        (list, "application/*", routed(&streams)),
        (&format!("{list}?watch=true&timeoutSeconds=1"), "text/plain", routed(&streams)),
        (object, "application/json;as=Nonsense;g=meta.k8s.io;v=v1", negotiated.clone()),
        ("/api", "application/*", routed(all)),
        ("/api/v1", "text/html", routed(all)),
        ("/apis", "text/html", negotiated.clone()),
        ("/apis/rbac.authorization.k8s.io", "text/html", negotiated.clone()),
        ("/apis/rbac.authorization.k8s.io/v1", "text/html", routed(all)),
        ("/version", "text/html", routed("application/json")),
    ] {
        let answer = ask(&world, "GET", path, &[("accept", accept)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (406, "application/json"),
            "{path} {accept}"
        );
        assert_eq!(answer.json()["message"], want, "{path} {accept}");
        assert_eq!(answer.json()["reason"], "NotAcceptable");
    }
    for (path, accept) in [
        (object, "text/html, */*;q=0.1"),
        (object, "application/json;stream=watch"),
        (object, "application/xml, application/json"),
        (object, ""),
        ("/apis", "application/*"),
        ("/version", "application/json, text/html"),
        ("/", "text/html"),
    ] {
        assert_eq!(ask(&world, "GET", path, &[("accept", accept)]).await.status, 200, "{path} {accept}");
    }
}

/// The answer is as long as it says, whatever a router has made of it before.
#[tokio::test]
async fn a_refusal_of_a_path_that_is_spelt_otherwise_has_its_body() {
    let world = World::new().await;
    for path in ["/api/", "/version/"] {
        for method in ["POST", "DELETE", "PUT"] {
            let answer = ask(&world, method, path, &[]).await;
            assert_eq!(
                (answer.status.as_u16(), answer.json()["reason"].as_str()),
                (405, Some("MethodNotAllowed"))
            );
            assert_eq!(answer.header("allow"), "", "{method} {path}");
            assert!(
                ["", &answer.bytes.len().to_string()].contains(&answer.header("content-length")),
                "{method} {path}"
            );
        }
    }
    assert_eq!(ask(&world, "PUT", "/openid/v1/jwks", &[]).await.header("allow"), "");
}

/// What upstream's router refuses no endpoint has seen.
#[tokio::test]
async fn a_kind_is_said_to_be_deprecated_where_it_is_asked() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/endpoints";
    let warned = |answer: &Answer| answer.header("warning").contains("v1 Endpoints is deprecated");
    assert!(warned(&get(&world, path).await));
    assert!(warned(&get(&world, &format!("{path}/nosuch")).await));
    assert!(!warned(&ask(&world, "GET", path, &[("accept", "text/plain")]).await));
    assert!(!warned(&ask(&world, "PATCH", &format!("{path}/a"), &[("content-type", "text/plain")]).await));
}

/// A failure has no other form than its own, so an `Accept` that names one is none of it.
#[tokio::test]
async fn a_failure_is_no_table_in_no_form() {
    let world = World::new().await;
    let path = "/api/v1/namespaces/default/configmaps/nosuch";
    for (accept, of) in [
        ("application/yaml;as=Table;g=meta.k8s.io;v=v1", "application/json"),
        ("application/yaml;as=Table;g=meta.k8s.io;v=v1,application/yaml", "application/yaml"),
        (
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            "application/json",
        ),
    ] {
        let answer = ask(&world, "GET", path, &[("accept", accept)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (404, of), "{accept}");
    }
}
