//! The verifier before a service.

use super::*;
use crate::VerifyLayer;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use std::convert::Infallible;
use tower::{Layer, ServiceExt, service_fn};

fn request(authorization: &[&str]) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from("ping"));
    for value in authorization {
        request
            .headers_mut()
            .append(header::AUTHORIZATION, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

#[tokio::test]
async fn the_service_learns_who_is_there() {
    let key = es256();
    let world = World::new(&[&key]);
    let service = VerifyLayer::new(world.verifier.clone()).layer(service_fn(
        |request: Request<Full<Bytes>>| async move {
            let caller = request.extensions().get::<Arc<Verified>>().unwrap().clone();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{} {}", caller.username, String::from_utf8_lossy(&body));
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
        },
    ));
    let token = world.token(&key);
    let reply = service.clone().oneshot(request(&[&format!("bearer {token}")])).await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "system:serviceaccount:pay:api ping");

    let bearer = format!("Bearer {token}");
    let expired = format!("Bearer {}", world.token_with(&key, |c| c["exp"] = json!(1)));
    let missing = "Bearer";
    let invalid = r#"Bearer error="invalid_token", error_description="#;
    for (headers, status, challenge, message) in [
        (vec![], 401, missing, "Unauthorized"),
        (vec!["Basic eDp5"], 401, missing, "Unauthorized"),
        (vec!["Bearer x y"], 401, invalid, "invalid bearer token"),
        (vec![expired.as_str()], 401, invalid, "service account token has expired"),
        (
            vec![bearer.as_str(), bearer.as_str()],
            400,
            r#"Bearer error="invalid_request""#,
            "more than one Authorization header",
        ),
        (vec![""], 400, r#"Bearer error="invalid_request""#, "the Authorization header is empty"),
        (
            vec!["Bearer \u{e9}"],
            400,
            r#"Bearer error="invalid_request""#,
            "the Authorization header has characters other than printable ASCII",
        ),
    ] {
        let reply = service.clone().oneshot(request(&headers)).await.unwrap();
        assert_eq!(reply.status(), status);
        assert!(reply.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with(challenge));
        assert_eq!(reply.headers()[header::CONTENT_TYPE], "application/json");
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let status: tokensmith_api::status::Status = serde_json::from_slice(&body).unwrap();
        assert_eq!((status.kind.as_str(), status.message.as_str()), ("Status", message));
    }
    assert_eq!(counter(&world.verifier, "tokensmith_verify_refused_total{reason=\"missing\"}"), 2);
}

/// It is to be usable as axum's users would.
#[tokio::test]
async fn with_axum() {
    use axum::{Extension, Router, routing::get};
    async fn hello(Extension(caller): Extension<Arc<Verified>>) -> String {
        caller.account.clone()
    }
    let key = es256();
    let world = World::new(&[&key]);
    let app = Router::new().route("/", get(hello)).layer(VerifyLayer::new(world.verifier.clone()));
    let ask = |authorization: String| {
        let request =
            Request::get("/").header(header::AUTHORIZATION, authorization).body(axum::body::Body::empty());
        app.clone().oneshot(request.unwrap())
    };
    let reply = ask(format!("Bearer {}", world.token(&key))).await.unwrap();
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "api");
    world.cut_off();
    assert_eq!(ask("Bearer a.b.c".into()).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let other =
        World::with(&[&key], |c| c.allow_subjects = vec!["system:serviceaccount:x:y".parse().unwrap()]);
    let app = Router::new().route("/", get(hello)).layer(VerifyLayer::new(other.verifier.clone()));
    let request = Request::get("/").header(header::AUTHORIZATION, format!("Bearer {}", other.token(&key)));
    let reply = app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(reply.status(), StatusCode::FORBIDDEN);
}
