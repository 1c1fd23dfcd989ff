//! Issuers' documents over a real connection.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use futures::FutureExt;
use tokensmith_client::{Trust, Web};
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey};
use tokensmith_core::tokens::jws;
use tokensmith_verify::{Fetch, MAX_DOCUMENT, Rejection, Verifier, VerifierConfig};
use tokio::net::TcpListener;

async fn serve(app: impl FnOnce(&str) -> Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a test of this machine alone");
    let url = format!("http://{}", listener.local_addr().expect("a test of this machine alone"));
    let app = app(&url);
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn web() -> Web {
    Web::new(&Trust::System, None).expect("a test of this machine alone")
}

#[tokio::test]
async fn what_the_port_promises() {
    let url = serve(|_| {
        Router::new()
            .route("/moved", get(|| async { Redirect::temporary("/keys") }))
            .route("/long", get(|| async { vec![b' '; MAX_DOCUMENT + 1] }))
            .route(
                "/keys",
                get(|headers: HeaderMap| async move {
                    let status = match headers.get(header::IF_NONE_MATCH) {
                        Some(etag) if etag == "\"1\"" => StatusCode::NOT_MODIFIED,
                        _ => StatusCode::OK,
                    };
                    assert!(!headers.contains_key(header::AUTHORIZATION));
                    (status, [(header::ETAG, "\"1\""), (header::CACHE_CONTROL, "max-age=7")], "{}")
                        .into_response()
                }),
            )
    })
    .await;
    let fetch: &dyn Fetch = &web();
    let found = fetch.get(&format!("{url}/keys"), None).await.unwrap();
    assert_eq!((found.status, &found.body[..]), (200, &b"{}"[..]));
    assert_eq!((found.etag.as_deref(), found.cache_control.as_deref()), (Some("\"1\""), Some("max-age=7")));
    assert_eq!(fetch.get(&format!("{url}/keys"), Some("\"1\"")).await.unwrap().status, 304);
    assert_eq!(fetch.get(&format!("{url}/moved"), None).await.unwrap().status, 307, "not followed");
    for wrong in [format!("{url}/long"), "http://127.0.0.1:1/".into(), "nonsense".into()] {
        let error = fetch.get(&wrong, None).await.unwrap_err().to_string();
        assert!(!error.is_empty() && !error.contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_verified_with_what_the_issuer_serves() {
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let jwks = format!("{{\"keys\":[{}]}}", key.public().jwk());
    let issuer = serve(|url| {
        let discovery = format!(r#"{{"issuer":"{url}","jwks_uri":"{url}/openid/v1/jwks"}}"#);
        Router::new()
            .route("/.well-known/openid-configuration", get(|| async { discovery }))
            .route("/openid/v1/jwks", get(|| async { jwks }))
    })
    .await;
    let now = SystemClock::new().unix();
    let token = |audience: &str| {
        let payload = format!(
            r#"{{"iss":"{issuer}","aud":["{audience}"],"exp":{},"sub":"system:serviceaccount:a:b","kubernetes.io":{{"namespace":"a","serviceaccount":{{"name":"b","uid":"u"}}}}}}"#,
            now + 60
        );
        jws::sign(&LocalSigner::new(&key).unwrap(), payload.as_bytes()).now_or_never().unwrap().unwrap()
    };
    let verifier = Verifier::new(VerifierConfig::new(&issuer, "x", Arc::new(web()))).unwrap();
    assert_eq!(verifier.verify(&token("x")).await.unwrap().username, "system:serviceaccount:a:b");
    assert_eq!(verifier.verify(&token("y")).await, Err(Rejection::Audience));
}
