//! Headers that say who asks: none that is there counts as one that is not.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request};
use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, JANE, World, told};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

type Lines<'a> = &'a [(&'a str, &'a [u8])];

/// Asks who the caller is, with these headers.
async fn who(world: &World, token: Option<&str>, lines: Lines<'_>) -> Answer {
    let mut request = Request::post(WHO).body(Body::from("{}")).unwrap();
    let headers = request.headers_mut();
    if let Some(token) = token {
        headers.append("authorization", format!("Bearer {token}").parse().unwrap());
    }
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    world.ask(request).await
}

#[track_caller]
fn refused(answer: &Answer, what: &str) -> String {
    let status = answer.json();
    assert_eq!(answer.status, 400, "{what}: {status}");
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("BadRequest")), "{what}");
    status["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_security_header_is_never_passed_over() {
    let world = World::new().await;
    let bearer = format!("Bearer {ADMIN}");
    let headers: [(&str, &[u8], bool); 5] = [
        ("authorization", bearer.as_bytes(), true),
        ("impersonate-user", b"jane", true),
        ("impersonate-uid", b"7", true),
        ("impersonate-group", b"devs", false),
        ("impersonate-extra-scopes", b"view", false),
    ];
    for (name, good, single) in headers {
        let unreadable = |tail: &[u8]| [good, tail].concat();
        let (utf8, latin1, high) = (unreadable("é".as_bytes()), unreadable(b"\xe9"), unreadable(b"\xff"));
        let mut faults: Vec<Vec<&[u8]>> = vec![
            vec![&utf8],
            vec![&latin1],
            vec![&high],
            vec![b"\xff"],
            vec![b""],
            vec![b" \t"],
            vec![good, b""],
        ];
        if single {
            faults.extend([vec![good, good], vec![good, b"other"], vec![b"", good], vec![b"\xff", good]]);
        }
        for values in faults {
            let mut lines: Vec<(&str, &[u8])> = values.iter().map(|value| (name, *value)).collect();
            let what = format!("{lines:?}");
            if name == "authorization" {
                refused(&who(&world, None, &lines).await, &what);
                continue;
            }
            if name != "impersonate-user" {
                lines.push(("impersonate-user", b"jane"));
            }
            refused(&who(&world, Some(ADMIN), &lines).await, &what);
            refused(&who(&world, None, &lines).await, &format!("{what} by a stranger"));
        }
    }
    let all: Lines<'_> = &[
        ("impersonate-user", b"jane"),
        ("impersonate-uid", b"7"),
        ("impersonate-group", b"devs"),
        ("impersonate-group", b"ops"),
        ("impersonate-extra-scopes", b"view"),
        ("impersonate-extra-scopes", b"edit"),
    ];
    let user = who(&world, Some(ADMIN), all).await.ok()["status"]["userInfo"].clone();
    assert_eq!(
        user,
        json!({
            "username": "jane",
            "uid": "7",
            "groups": ["devs", "ops", "system:authenticated"],
            "extra": {"scopes": ["view", "edit"]},
        })
    );
}

#[tokio::test]
async fn a_bearer_without_a_token_is_not_nobody() {
    let world = World::new().await;
    for value in [&b"Bearer"[..], b"bearer ", b""] {
        let message = refused(&who(&world, None, &[("authorization", value)]).await, "no token");
        assert_eq!(message, "the Authorization header is empty");
    }
    // Credentials of another kind, which nobody here reads.
    let basic = who(&world, None, &[("authorization", b"Basic YTpi")]).await;
    assert_eq!(basic.status, 403);
}

#[tokio::test]
async fn impersonation_without_a_user_is_a_bad_request_for_everyone() {
    let world = World::new().await;
    for token in [Some(ADMIN), Some(JANE), None] {
        let answer = who(&world, token, &[("impersonate-group", b"devs")]).await;
        assert_eq!(
            refused(&answer, "no user"),
            "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"devs\"}, Extra:map[string][]string(nil)} without impersonating a user name"
        );
    }
    let wrong = who(&world, Some("not-a-token"), &[("impersonate-group", b"devs")]).await;
    assert_eq!(wrong.status, 401, "who is asking comes first");
}

#[tokio::test]
async fn a_token_in_a_sub_protocol_is_never_passed_over() {
    let world = World::new().await;
    // `test-only-admin` and `x`.
    let admin = "base64url.bearer.authorization.k8s.io.dGVzdC1vbmx5LWFkbWlu";
    let other = "base64url.bearer.authorization.k8s.io.eA";
    let name = "sec-websocket-protocol";
    let good = format!("{admin}, v4.channel.k8s.io");
    assert_eq!(who(&world, None, &[(name, good.as_bytes())]).await.status, 201);
    let split: Lines<'_> = &[(name, b"v4.channel.k8s.io"), (name, admin.as_bytes())];
    assert_eq!(who(&world, None, split).await.status, 201);
    for bad in [
        admin.to_owned(),
        format!("{admin}, {other}, v4.channel.k8s.io"),
        format!("{other}, v4.channel.k8s.io"),
        format!("{admin}=, v4.channel.k8s.io"),
        "base64url.bearer.authorization.k8s.io._w, v4.channel.k8s.io".into(),
        "base64url.bearer.authorization.k8s.io., v4.channel.k8s.io".into(),
    ] {
        assert_eq!(who(&world, None, &[(name, bad.as_bytes())]).await.status, 401, "{bad}");
        assert_eq!(
            who(&world, Some(ADMIN), &[(name, bad.as_bytes())]).await.status,
            201,
            "a good token counts"
        );
    }
    let unreadable = format!("{good}, é");
    refused(&who(&world, None, &[(name, unreadable.as_bytes())]).await, "unreadable");
}

#[tokio::test]
async fn edit_impersonates_accounts_and_no_names_that_only_look_so() {
    let world = World::new().await;
    let binding = json!({
        "metadata": {"name": "jane-edits"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    world.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.ok();
    for name in [
        "system:serviceaccount:default:",
        "system:serviceaccount:default:A",
        "system:serviceaccount:default:*",
        "system:serviceaccount:default:a:b",
    ] {
        let answer = who(&world, Some(JANE), &[("impersonate-user", name.as_bytes())]).await;
        assert_eq!(answer.status, 403, "{name}");
        // The first mode that could have let her through says why it does not.
        assert_eq!(
            answer.json()["message"],
            "selfsubjectreviews.authentication.k8s.io is forbidden: User \"jane\" cannot impersonate-on:user-info:create resource \"selfsubjectreviews\" in API group \"authentication.k8s.io\" at the cluster scope"
        );
    }
    let account =
        who(&world, Some(JANE), &[("impersonate-user", b"system:serviceaccount:default:x")]).await.ok();
    assert_eq!(
        account["status"]["userInfo"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
}

/// A service sends all that it has to do over one connection, each with its token.
#[tokio::test]
async fn two_hundred_requests_at_once_may_each_have_a_token_of_16_kb_over_http_2() {
    use std::convert::Infallible;

    use futures::future::join_all;
    use http_body_util::Empty;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let place = crate::certificates::peer::place(&[&crate::certificates::pki::Ca::new("clients")]).await;
    let mut audiences: Vec<_> = (0..118).map(|n| format!("{n:0>100}")).collect();
    audiences.push("api".to_owned());
    let token =
        crate::world::token(&place.world.mint(serde_json::json!({"audiences": audiences})).await.ok());
    assert!(token.len() > 16 << 10, "{}", token.len());
    let stream = TokioIo::new(place.open().await);
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<bytes::Bytes>>(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let ask = async || {
        let request = http::Request::get("https://localhost/api/v1/pods")
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let answer = sender.clone().send_request(request).await.unwrap();
        Ok::<_, Infallible>(answer.status().as_u16())
    };
    let found = join_all((0..200).map(|_| ask())).await;
    assert!(found.iter().all(|status| *status == Ok(403)), "{found:?}");
}

#[tokio::test]
async fn who_may_not_act_as_somebody_is_told_of_the_first_way() {
    let world = World::new().await;
    let as_bob = |path: &'static str, who: &'static str| {
        let world = &world;
        async move { world.send("GET", path, Some(JANE), &[("impersonate-user", who)], Vec::new()).await }
    };
    for (path, who, want) in [
        (
            MAPS,
            "bob",
            r#"configmaps is forbidden: User "jane" cannot impersonate-on:user-info:list resource "configmaps" in API group "" in the namespace "default""#,
        ),
        ("/version", "bob", r#"forbidden: User "jane" cannot impersonate-on:user-info:get path "/version""#),
        (
            "/api/v1/nodes/n",
            "system:node:n",
            r#"nodes "n" is forbidden: User "jane" cannot impersonate-on:arbitrary-node:get resource "nodes" in API group "" at the cluster scope"#,
        ),
        (
            MAPS,
            "system:serviceaccount:default:default",
            r#"configmaps is forbidden: User "jane" cannot impersonate-on:serviceaccount:list resource "configmaps" in API group "" in the namespace "default""#,
        ),
    ] {
        assert_eq!(told(&as_bob(path, who).await), (403, want.into()));
    }
    // Both the right to be somebody and the right to do this so are needed.
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let grant = |name: &'static str, rule: Value| {
        let world = &world;
        async move {
            world.post(roles, json!({"metadata": {"name": name}, "rules": [rule]})).await.ok();
            let binding = json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [{"kind": "User", "name": "jane"}]});
            world.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.ok();
        }
    };
    grant(
        "on",
        json!({"verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["configmaps"]}),
    )
    .await;
    let half = told(&as_bob(MAPS, "bob").await);
    assert_eq!(
        half.1,
        r#"users.authentication.k8s.io "bob" is forbidden: User "jane" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope"#
    );
    grant("be", json!({"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users"], "resourceNames": ["bob"]})).await;
    let whole = told(&as_bob(MAPS, "bob").await).1;
    assert_eq!(
        whole,
        r#"configmaps is forbidden: User "bob" cannot list resource "configmaps" in API group "" in the namespace "default""#,
        "as bob, who may not"
    );
    assert!(
        told(&as_bob("/api/v1/nodes", "bob").await).1.contains("cannot impersonate-on:user-info:list"),
        "not for anything else"
    );
}
