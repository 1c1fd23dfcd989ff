//! The layer for clients.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response};
use tokensmith_agent::source::{BearerLayer, TokenSource};
use tokensmith_core::clock::ManualClock;
use tower::{Layer, ServiceExt, service_fn};

use crate::world::*;

#[tokio::test]
async fn every_request_carries_the_token() {
    let seen = Arc::new(Mutex::new(Vec::<HeaderMap>::new()));
    let inner = {
        let seen = seen.clone();
        service_fn(move |request: Request<()>| {
            seen.lock().unwrap().push(request.headers().clone());
            async { Ok::<_, Infallible>(Response::new(())) }
        })
    };
    let client = BearerLayer::new(source()).audience("a").layer(inner);
    for _ in 0..2 {
        let request = Request::get("/").header("authorization", "Basic YTpi").body(()).unwrap();
        client.clone().oneshot(request).await.unwrap();
    }
    let expected = format!("Bearer {}", jwt("a", START + time::Duration::HOUR, 0));
    for headers in seen.lock().unwrap().iter() {
        let found: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(found, [expected.as_str()]);
        assert!(found[0].is_sensitive());
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let inner = service_fn(|_: Request<()>| async {
        panic!("sent without a token");
        #[expect(unreachable_code, reason = "it gives the type")]
        Ok::<_, Infallible>(Response::new(()))
    });
    let clock = Arc::new(ManualClock::new(START));
    let api = FakeApi::new(clock.clone());
    api.fail("", Some(status(500, "out of order")));
    let client = BearerLayer::new(TokenSource::api(api, template(), clock)).layer(inner);
    let error = client.oneshot(Request::get("/").body(()).unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot get a token: out of order");
}
