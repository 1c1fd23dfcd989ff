//! One server, as people use it.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use http::Method;
use serde_json::{Value, json};
use tokensmith::{Access, Algorithm, Authorization, CallError, Route, SealKey, Server, StartError};
use tokensmith_core::access::Identity;
use tokensmith_core::access::authenticators::TokenFile;

const SEAL: [u8; 32] = [7; 32];

#[tokio::test]
async fn what_is_on_disk_outlives_a_server_and_what_is_in_memory_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let server = Server::on_disk(folder.path(), SealKey::new(SEAL)).algorithm(Algorithm::ES256);
        server.issuer("https://issuer.test").start()
    };
    let server = start().await.unwrap();
    let token = server.token("shop/cart").audience("vault").await.unwrap();
    let ca = server.ca().to_owned();
    server.stop().await.unwrap();

    let again = start().await.unwrap();
    let review = again.review(token.as_str(), "vault").await.unwrap();
    assert_eq!((review.authenticated, &*review.user), (true, "system:serviceaccount:shop:cart"));
    assert_ne!(again.ca(), ca, "a CA is in memory alone");
    // While it runs, nobody else uses its folder.
    assert!(matches!(start().await.err(), Some(StartError::Store(_))));
    again.stop().await.unwrap();

    let memory = Server::ephemeral().issuer("https://issuer.test").start().await.unwrap();
    assert!(!memory.review(token.as_str(), "vault").await.unwrap().authenticated);
}

#[tokio::test]
async fn another_sealing_key_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let start = |seal| Server::on_disk(folder.path(), SealKey::new(seal)).algorithm(Algorithm::ES256).start();
    start(SEAL).await.unwrap().stop().await.unwrap();
    assert!(matches!(start([8; 32]).await.err(), Some(StartError::Keys(_))));
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let first = Server::ephemeral().start().await.unwrap();
    let address = first.url().strip_prefix("https://").unwrap().parse().unwrap();
    let second = Server::ephemeral().address(address).start().await;
    assert!(matches!(second.err(), Some(StartError::Listen(_))));
}

#[tokio::test]
async fn a_refusal_is_in_kubernetes_words() {
    let server = Server::ephemeral().start().await.unwrap();
    let short = server.token("default/builder").seconds(5).await.unwrap_err();
    let CallError::Refused { code, reason, message } = &short else { panic!("{short:?}") };
    assert_eq!((*code, &**reason), (422, "Invalid"));
    assert!(message.contains("may not specify a duration less than 10 minutes"), "{message}");
    for none in ["builder", "/builder", "default/", "a/b/c"] {
        assert!(matches!(server.token(none).await, Err(CallError::Account(_))), "{none}");
    }
}

#[tokio::test]
async fn the_kubeconfig_opens_the_server_over_tls_and_no_credential_shows() {
    let server = Server::ephemeral().start().await.unwrap();
    let config: Value = serde_json::from_str(&server.kubeconfig()).unwrap();
    let bearer = config["users"][0]["user"]["token"].as_str().unwrap().to_owned();
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let url = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let asked = http.get(format!("{url}/api/v1/namespaces")).bearer_auth(&bearer).send().await.unwrap();
    let list: Value = asked.json().await.unwrap();
    assert_eq!(list["kind"], "NamespaceList");
    let ca = server.call(Method::GET, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", None).await;
    assert_eq!(ca.unwrap()["data"]["ca.crt"], server.ca());

    let token = server.token("default/builder").await.unwrap();
    assert!(!format!("{token:?}").contains(token.as_str()));
}

#[tokio::test]
async fn what_one_server_counts_another_does_not() {
    let (busy, idle) =
        (Server::ephemeral().start().await.unwrap(), Server::ephemeral().start().await.unwrap());
    busy.token("default/builder").await.unwrap();
    for (server, requests) in [(&busy, true), (&idle, false)] {
        let config: Value = serde_json::from_str(&server.kubeconfig()).unwrap();
        let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
        let asked = http.no_proxy().build().unwrap().get(format!("{}/metrics", server.url()));
        let asked = asked.bearer_auth(config["users"][0]["user"]["token"].as_str().unwrap());
        let text = asked.send().await.unwrap().text().await.unwrap();
        assert_eq!(text.contains("namespace=\"default\""), requests, "{text}");
    }
}

#[tokio::test]
async fn a_route_of_another_crate_has_its_rule_and_needs_no_line_in_the_router() {
    let everyone = Route::new("/hello", &["GET"], Access::Authorized, get(|| async { "hello" }));
    let masters =
        Route::new("/deep", &["GET"], Access::Masters("only for masters"), get(|| async { "deep" }));
    let jane = Identity { name: "jane".into(), groups: vec!["devs".into()], ..Identity::default() };
    let server = Server::ephemeral().with(|options| {
        options.authorization = vec![Authorization::AlwaysAllow];
        options.authenticators.push(Arc::new(TokenFile::single("test-only-jane", jane)));
        options.routes.extend([everyone, masters]);
    });
    let server = server.start().await.unwrap();
    let http = reqwest::Client::builder().tls_backend_preconfigured(server.client_tls().unwrap());
    let http = http.no_proxy().build().unwrap();
    let ask = async |method: Method, path: &str| {
        let asked = http.request(method, format!("{}{path}", server.url())).bearer_auth("test-only-jane");
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask(Method::GET, "/hello").await, (200, "hello".into()));
    assert_eq!(ask(Method::PUT, "/hello").await.0, 405);
    let (code, text) = ask(Method::GET, "/deep").await;
    assert!(code == 403 && text.contains("forbidden: only for masters"), "{code} {text}");
    // No rule lets anybody in whom the gate does not know.
    let stranger = http.get(format!("{}/hello", server.url())).bearer_auth("wrong").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
}

#[tokio::test]
async fn a_token_is_bound_to_an_object_and_dies_with_it() {
    let server = Server::ephemeral().start().await.unwrap();
    let secret = json!({"metadata": {"name": "s"}});
    let secrets = "/api/v1/namespaces/default/secrets";
    server.call(Method::POST, secrets, Some(&secret)).await.unwrap();
    let token = server.token("default/default").audience("vault").bound_to("Secret", "s").await.unwrap();
    assert!(server.review(token.as_str(), "vault").await.unwrap().authenticated);
    server.call(Method::DELETE, &format!("{secrets}/s"), None).await.unwrap();
    assert!(!server.review(token.as_str(), "vault").await.unwrap().authenticated);
}

#[tokio::test]
async fn keys_rotate_when_the_clock_moves() {
    let server = Server::ephemeral().start().await.unwrap();
    let active = || async {
        let keys = server.call(Method::GET, "/admin/v1/keys", None).await.unwrap();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.into_iter().find(|key| key["phase"] == "active").unwrap()["id"].clone()
    };
    let first = active().await;
    server.clock().advance(Duration::from_secs(31 * 86_400)).await.unwrap();
    assert_ne!(active().await, first);
}
