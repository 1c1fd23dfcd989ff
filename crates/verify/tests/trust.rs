//! Issuers that mean harm, over real connections: each costs a bounded amount, and is told for what it is.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{FutureExt, stream};
use tokensmith_client::{Trust, Web};
use tokensmith_core::clock::{Clock, SystemClock};
use tokensmith_core::keys::{Algorithm, LocalSigner, PrivateKey};
use tokensmith_core::tokens::jws;
use tokensmith_verify::trust::{KeySource, TrustConfig, TrustedIssuer, TrustedIssuers, Untrusted};
use tokio::net::TcpListener;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    Endless,
    Slow,
    ManyKeys,
    Types,
    Redirect,
    Elsewhere,
}

struct Site {
    harm: Harm,
    url: String,
    asked: AtomicUsize,
}

async fn answer(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    site.asked.fetch_add(1, Ordering::Relaxed);
    let document = |jwks_uri: &str| format!(r#"{{"issuer":"{}","jwks_uri":"{jwks_uri}"}}"#, site.url);
    match (site.harm, uri.path()) {
        (Harm::Endless, _) => {
            let spaces = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 4096])));
            Body::from_stream(spaces).into_response()
        }
        (Harm::Slow, _) => std::future::pending().await,
        (Harm::Redirect, "/.well-known/openid-configuration") => {
            (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response()
        }
        (Harm::Types, "/.well-known/openid-configuration") => {
            r#"{"issuer":["x"],"jwks_uri":7}"#.into_response()
        }
        (Harm::Elsewhere, "/.well-known/openid-configuration") => {
            document("http://169.254.169.254/latest/meta-data").into_response()
        }
        (_, "/.well-known/openid-configuration") => document(&format!("{}/keys", site.url)).into_response(),
        _ => format!(r#"{{"keys":[{}{{}}]}}"#, "{},".repeat(300_000)).into_response(),
    }
}

/// What is said of a token of such an issuer, twice at once and again, and how often it was asked.
async fn said(harm: Harm) -> (String, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let site = Arc::new(Site { harm, url: url.clone(), asked: AtomicUsize::new(0) });
    let app = Router::new().fallback(answer).with_state(site.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let web = Arc::new(Web::new(&Trust::System, None).unwrap());
    let config = TrustConfig { fetch_timeout: Duration::from_millis(500), ..TrustConfig::new(web) };
    let trusted =
        TrustedIssuers::new([TrustedIssuer { issuer: url.clone(), keys: KeySource::Discovery }], config);
    let trusted = trusted.unwrap();
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let payload = format!(r#"{{"iss":"{url}","exp":{}}}"#, SystemClock::new().unix() + 60);
    let token =
        jws::sign(&LocalSigner::new(&key).unwrap(), payload.as_bytes()).now_or_never().unwrap().unwrap();
    let all = futures::future::join_all((0..50).map(|_| trusted.verify(&token))).await;
    let mut first = String::new();
    for outcome in all.into_iter().chain([trusted.verify(&token).await]) {
        match outcome {
            Err(Untrusted::Keys { retry_after, why: Some(why) }) => {
                assert!(retry_after >= 1);
                first = why.to_string().replace(&url, "URL");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!first.contains('\n'), "{first}");
    (first, site.asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn hostile_issuers_are_told_and_cost_one_attempt() {
    for (harm, words, asked) in [
        (Harm::Endless, "the server's answer is far too long", 1),
        (Harm::Slow, "no answer within 500ms", 1),
        (Harm::ManyKeys, "URL/keys: it has 300001 keys, and 200 are taken", 2),
        (Harm::Types, "the discovery document has no issuer and jwks_uri", 1),
        (Harm::Redirect, "URL/.well-known/openid-configuration answers 302", 1),
        (
            Harm::Elsewhere,
            "the discovery document's jwks_uri must use https scheme, got: \"http://169.254.169.254/latest/meta-data\"",
            1,
        ),
    ] {
        let (said, times) = said(harm).await;
        assert!(said.contains(words), "{said}");
        assert_eq!(times, asked, "{said}");
    }
}
