//! Rules that pass a token on to a service elsewhere.

use std::sync::{Arc, Mutex};

use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;

use crate::world::{ISSUER, World};

/// A service that takes down the forms that it was sent.
struct Service {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn new() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let taken = asked.clone();
        let app = Router::new().fallback(move |form: String| {
            taken.lock().unwrap().push(form);
            std::future::ready(Json(json!({
                "access_token": "theirs", "token_type": "Bearer", "expires_in": 3600,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            })))
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Service { url, asked }
    }

    /// How many have asked.
    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn policy(&self) -> String {
        format!(
            "serviceAccounts: {{audiences: [{ISSUER}, sts]}}
rules:
- name: r
  from: {{serviceAccount: {{namespace: pay}}}}
  audiences: [api, db]
  resources: ['https://db.example.com/*']
  upstream: {{kind: oauth, endpoint: '{}', allowLoopbackHttp: true}}
",
            self.url
        )
    }
}

async fn token(world: &World, audience: &str) -> String {
    world.server.token("pay/api").audience(audience).await.unwrap().as_str().to_owned()
}

/// RFC 8725 §3.9: whoever is shown a token that the API takes could use it there.
#[tokio::test]
async fn a_token_that_the_api_takes_is_passed_on_to_nobody() {
    let service = Service::new().await;
    let world = World::with(&service.policy(), |_| {}).await;
    let both = world.server.token("pay/api").audience("sts").audience(ISSUER).await.unwrap();
    for token in [token(&world, ISSUER).await, both.as_str().to_owned()] {
        let answer = world.exchange(&token, &[("audience", "api")]).await;
        assert_eq!(answer.error(), (400, "invalid_target"), "{}", answer.text);
    }
    let lines = world.lines("exchange", 2).await;
    assert!(lines[0]["reason"].as_str().unwrap().contains("has an audience of the API"), "{}", lines[0]);
    assert_eq!(service.count(), 0);
    let answer = world.exchange(&token(&world, "sts").await, &[("audience", "api")]).await.ok();
    assert_eq!((&answer["access_token"], service.count()), (&json!("theirs"), 1));
}

/// RFC 8707 §2 and RFC 8693 §2.1 have a parameter for each.
#[tokio::test]
async fn resources_are_asked_for_as_resources() {
    let service = Service::new().await;
    let world = World::with(&service.policy(), |_| {}).await;
    let subject = token(&world, "sts").await;
    let (resource, other) = ("https://db.example.com/a", "https://db.example.com/b");
    for (asked, want) in [
        (vec![], vec![("audience", "api")]),
        (vec![("audience", "api"), ("audience", "db")], vec![("audience", "api"), ("audience", "db")]),
        (vec![("resource", resource)], vec![("resource", resource)]),
        // What is said twice is asked once.
        (vec![("audience", "db"), ("audience", "db")], vec![("audience", "db")]),
        (vec![("resource", other), ("resource", other)], vec![("resource", other)]),
        (vec![("audience", "db"), ("resource", resource)], vec![("audience", "db"), ("resource", resource)]),
    ] {
        world.exchange(&subject, &asked).await.ok();
        let form = service.asked.lock().unwrap().last().unwrap().clone();
        let pairs: Vec<(String, String)> = reqwest::Url::parse(&format!("http://x/?{form}"))
            .unwrap()
            .query_pairs()
            .filter(|(name, _)| matches!(name.as_ref(), "audience" | "resource"))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let want: Vec<_> = want.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        assert_eq!(pairs, want);
    }
}

#[tokio::test]
async fn a_policy_that_is_read_again_keeps_what_the_same_block_was_given() {
    let service = Service::new().await;
    let world = World::with(&service.policy(), |_| {}).await;
    let subject = token(&world, "sts").await;
    let ask = async || world.exchange(&subject, &[("audience", "api")]).await.ok();
    ask().await;
    let more = service.policy() + "- {name: more, from: {serviceAccount: {namespace: x}}, audiences: [y]}\n";
    world.policies.reload(more.as_bytes()).unwrap();
    ask().await;
    assert_eq!(service.count(), 1);
    let other = service.policy().replace("kind: oauth", "kind: oauth, clientId: c");
    world.policies.reload(other.as_bytes()).unwrap();
    ask().await;
    assert_eq!(service.count(), 2);
}
