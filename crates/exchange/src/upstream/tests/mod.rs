//! Services that answer as they should, and such that do not, over real connections.

mod hostile;
mod kinds;
mod tls;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use time::macros::datetime;
use tokensmith_core::Clock;
use tokensmith_core::clock::ManualClock;
use tokio::net::TcpListener;

use super::*;

/// What was asked of a service: where, by whom, with which fields.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Question {
    path: String,
    bearer: Option<String>,
    fields: Vec<(String, String)>,
    body: String,
}

impl Question {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A service that answers what it was told to, by path.
struct Service {
    url: String,
    asked: Arc<Mutex<Vec<Question>>>,
}

type Answers = Arc<dyn Fn(&Question) -> Response + Send + Sync>;

impl Service {
    async fn new(answer: impl Fn(&Question) -> Response + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Question>>> = Arc::default();
        let state: (Answers, Arc<Mutex<Vec<Question>>>) = (Arc::new(answer), asked.clone());
        let app = Router::new().fallback(answered).with_state(state);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Service { url, asked }
    }

    fn asked(&self) -> Vec<Question> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answered(
    State((answer, asked)): State<(Answers, Arc<Mutex<Vec<Question>>>)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    let fields = url::form_urlencoded::parse(&body).into_owned().collect();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let question = Question { path: uri.path().into(), bearer, fields, body };
    asked.lock().unwrap().push(question.clone());
    tokio::task::yield_now().await;
    answer(&question)
}

fn json_answer(value: Value) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

struct World {
    clock: Arc<ManualClock>,
    upstream: Arc<Upstream>,
}

/// 2026-01-01
const NOW: i64 = 1_767_225_600;

fn upstream(block: &Value, clock: &Arc<dyn Clock>) -> Upstream {
    Upstream::new(block, Path::new("/"), &["https://issuer.example".into(), "api".into()], clock).unwrap()
}

fn world(mut block: Value) -> World {
    let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 00:00 UTC)));
    block["allowLoopbackHttp"] = json!(true);
    let shared: Arc<dyn Clock> = clock.clone();
    World { clock, upstream: Arc::new(upstream(&block, &shared)) }
}

impl World {
    async fn exchange(&self, token: &str, subject: &Subject) -> Result<IssuedToken, UpstreamError> {
        let (audiences, scopes) = (["db".to_owned()], ["read".to_owned(), "write".to_owned()]);
        let asked = Asked { audiences: &audiences, resources: &[], scopes: &scopes };
        self.upstream.exchange(token, subject, &asked).await
    }
}

/// An account's token, bound to a pod.
fn account(pod: &str, jti: &str) -> Subject {
    let claims = json!({
        "iss": "https://issuer.example", "sub": "system:serviceaccount:pay:api", "aud": ["exchange"],
        "exp": NOW + 600, "iat": NOW, "nbf": NOW, "jti": jti,
        "kubernetes.io": {
            "namespace": "pay", "serviceaccount": {"name": "api", "uid": "u"}, "pod": {"name": "api-0", "uid": pod}, "warnafter": NOW + jti.len() as i64,
        },
    });
    Subject {
        kind: crate::subject::Kind::Account {
            namespace: "pay".into(),
            name: "api".into(),
            pod: Some("api-0".into()),
        },
        id: "account".into(),
        name: "account".into(),
        issuer: "https://issuer.example".into(),
        sub: "system:serviceaccount:pay:api".into(),
        audiences: vec!["exchange".into()],
        jti: Some(jti.into()),
        expires_at: NOW + 600,
        claims: object(claims),
        tie: None,
    }
}

fn foreign(sub: &str) -> Subject {
    let claims = object(json!({"iss": "https://other.example", "sub": sub}));
    Subject { kind: crate::subject::Kind::Issuer, sub: sub.into(), claims, ..account("p", "j") }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it is one"),
    }
}

fn oauth_answer(token: &str, expires_in: Value) -> Response {
    json_answer(json!({
        "access_token": token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer", "expires_in": expires_in,
    }))
}

#[tokio::test]
async fn what_one_was_given_no_other_is() {
    let service = Service::new(|q| oauth_answer(q.field("subject_token").unwrap(), json!(3600))).await;
    let world = world(json!({"kind": "oauth", "endpoint": service.url}));
    let give = async |token: &str, subject: &Subject| world.exchange(token, subject).await.unwrap();
    assert_eq!(give("t1", &account("p", "1")).await.access_token, "t1");
    // The same account in the same pod, with its next token.
    assert_eq!(give("t2", &account("p", "22")).await.access_token, "t1");
    // Another pod, another audience, another claim, another account: each its own.
    assert_eq!(give("t3", &account("q", "1")).await.access_token, "t3");
    let mut other = account("p", "1");
    other.claims["aud"] = json!(["vault"]);
    assert_eq!(give("t4", &other).await.access_token, "t4");
    other = account("p", "1");
    other.claims["kubernetes.io"]["serviceaccount"]["uid"] = json!("anew");
    assert_eq!(give("t5", &other).await.access_token, "t5");
    // Another issuer's token is known by itself alone.
    assert_eq!(give("f1", &foreign("a")).await.access_token, "f1");
    assert_eq!(give("f1", &foreign("a")).await.access_token, "f1");
    assert_eq!(give("f2", &foreign("a")).await.access_token, "f2");
    assert_eq!(service.asked().len(), 6);
    // Asked for something else.
    let asked = Asked { audiences: &[], resources: &[], scopes: &["read".to_owned(), "write".to_owned()] };
    world.upstream.exchange("t6", &account("p", "1"), &asked).await.unwrap();
    let asked = Asked {
        audiences: &["db".to_owned(), "read".to_owned()],
        resources: &[],
        scopes: &["write".to_owned()],
    };
    world.upstream.exchange("t7", &account("p", "1"), &asked).await.unwrap();
    assert_eq!(service.asked().len(), 8);
    let asked = Asked {
        audiences: &["db".to_owned()],
        resources: &["read".to_owned()],
        scopes: &["write".to_owned()],
    };
    world.upstream.exchange("t8", &account("p", "1"), &asked).await.unwrap();
    assert_eq!(service.asked().len(), 9);
}

/// RFC 8725 §3.9: who is shown it could use it here.
#[tokio::test]
async fn a_token_that_the_api_would_take_is_not_passed_on() {
    let service = Service::new(|_| oauth_answer("t", json!(3600))).await;
    let world = world(json!({"kind": "oauth", "endpoint": service.url}));
    for audiences in [vec!["api"], vec!["https://issuer.example"], vec!["exchange", "api"]] {
        let audiences: Vec<String> = audiences.into_iter().map(str::to_owned).collect();
        for subject in [account("p", "1"), foreign("a")] {
            let subject = Subject { audiences: audiences.clone(), ..subject };
            assert_eq!(world.exchange("t", &subject).await, Err(UpstreamError::ApiAudience));
        }
    }
    assert_eq!(service.asked().len(), 0);
    world.exchange("t", &account("p", "1")).await.unwrap();
}

#[tokio::test]
async fn the_same_block_keeps_what_it_was_given_when_the_policy_is_read_again() {
    let service = Service::new(|_| oauth_answer("t", json!(3600))).await;
    let block = json!({"kind": "oauth", "endpoint": service.url});
    let first = world(block.clone());
    first.exchange("t", &account("p", "1")).await.unwrap();
    let again = |block: Value| {
        let made = Arc::into_inner(world(block).upstream).unwrap();
        World { clock: first.clock.clone(), upstream: made.or_before(Some(&first.upstream)) }
    };
    again(block.clone()).exchange("t", &account("p", "1")).await.unwrap();
    assert_eq!(service.asked().len(), 1);
    let mut other = block;
    other["clientId"] = json!("c");
    again(other).exchange("t", &account("p", "1")).await.unwrap();
    assert_eq!(service.asked().len(), 2);
}

#[tokio::test]
async fn it_is_kept_until_near_its_end_and_says_what_is_left() {
    let service = Service::new(|_| oauth_answer("t", json!("3600"))).await;
    let world = world(json!({"kind": "oauth", "endpoint": service.url}));
    let left = async || world.exchange("t", &account("p", "1")).await.unwrap().expires_in.unwrap();
    assert_eq!(left().await, 3600);
    world.clock.advance(std::time::Duration::from_secs(3299));
    assert_eq!((left().await, service.asked().len()), (301, 1));
    world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!((left().await, service.asked().len()), (3600, 2));
    // A clock that is set back keeps nothing alive.
    world.clock.set(datetime!(2020-01-01 00:00 UTC));
    world.clock.advance(std::time::Duration::from_secs(3300));
    assert_eq!((left().await, service.asked().len()), (3600, 3));

    let brief = Service::new(|_| oauth_answer("t", json!(60))).await;
    let other = self::world(json!({"kind": "oauth", "endpoint": brief.url}));
    for _ in 0..2 {
        other.exchange("t", &account("p", "1")).await.unwrap();
    }
    assert_eq!(brief.asked().len(), 1);
    other.clock.advance(std::time::Duration::from_secs(30));
    other.exchange("t", &account("p", "1")).await.unwrap();
    assert_eq!(brief.asked().len(), 2, "half of a short life");

    let endless = Service::new(|_| {
        json_answer(json!({"access_token": "t", "issued_token_type": "x", "token_type": "Bearer"}))
    })
    .await;
    let other = self::world(json!({"kind": "oauth", "endpoint": endless.url}));
    for _ in 0..2 {
        assert_eq!(other.exchange("t", &account("p", "1")).await.unwrap().expires_in, None);
    }
    assert_eq!(endless.asked().len(), 2, "what says no end is not kept");
}

#[tokio::test]
async fn many_at_once_are_one_question() {
    let service = Service::new(|_| oauth_answer("t", json!(3600))).await;
    let world = Arc::new(world(json!({"kind": "oauth", "endpoint": service.url})));
    let all = (0..100).map(|n| {
        let world = world.clone();
        tokio::spawn(async move { world.exchange("t", &account("p", &n.to_string())).await })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().unwrap().access_token, "t");
    }
    assert_eq!(service.asked().len(), 1);
}
