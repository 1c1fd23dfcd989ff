//! What a server asks for that has too much to do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokensmith_client::Client;

use crate::world::{TOKEN, World, told, whoami};

/// Busy for so many requests.
async fn busy(times: usize, code: StatusCode, after: &'static str) -> World {
    let asked = AtomicUsize::new(0);
    World::answering(move |_| {
        if asked.fetch_add(1, Ordering::Relaxed) >= times {
            return told(StatusCode::OK, "done");
        }
        let mut response = told(code, "busy");
        if !after.is_empty() {
            response.headers_mut().insert("retry-after", after.parse().unwrap());
        }
        response
    })
    .await
}

#[tokio::test]
async fn who_is_patient_asks_again_ten_times() {
    for (times, code, after, want) in [
        (3, StatusCode::TOO_MANY_REQUESTS, "0", Ok(4)),
        (10, StatusCode::SERVICE_UNAVAILABLE, "0", Ok(11)),
        (11, StatusCode::TOO_MANY_REQUESTS, "0", Err(11)),
        (1, StatusCode::TOO_MANY_REQUESTS, "", Err(1)),
        (1, StatusCode::SERVICE_UNAVAILABLE, "soon", Err(1)),
        (1, StatusCode::FORBIDDEN, "0", Err(1)),
        // Longer than a request may take: that is told at once.
        (1, StatusCode::TOO_MANY_REQUESTS, "3600", Err(1)),
    ] {
        let world = busy(times, code, after).await;
        let mut target = world.target("", &format!("token: {TOKEN}"));
        target.request_timeout = Some(Duration::from_secs(30));
        let answer = whoami(&Client::new(&target).unwrap().patient()).await.unwrap();
        let asked = world.seen.lock().unwrap().len();
        assert_eq!(answer.map(|_| asked).map_err(|_| asked), want, "{times} {code} {after:?}");
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_told() {
    for (code, after, told) in [
        (
            StatusCode::TOO_MANY_REQUESTS,
            "3600",
            "busy; it asks for a wait of 3600s, which is more than is left of the 30s that a request may take (--request-timeout)",
        ),
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "31",
            "busy; it asks for a wait of 31s, which is more than is left of the 30s that a request may take (--request-timeout)",
        ),
        // Nothing says when to ask again, or it is no matter of time.
        (StatusCode::TOO_MANY_REQUESTS, "", "busy"),
        (StatusCode::FORBIDDEN, "3600", "busy"),
    ] {
        let world = busy(1, code, after).await;
        let mut target = world.target("", &format!("token: {TOKEN}"));
        target.request_timeout = Some(Duration::from_secs(30));
        let refusal = whoami(&Client::new(&target).unwrap().patient()).await.unwrap().unwrap_err();
        assert_eq!(refusal.message, told);
        // The schedule of who is not patient is their own.
        let world = busy(1, code, after).await;
        let mut target = world.target("", &format!("token: {TOKEN}"));
        target.request_timeout = Some(Duration::from_secs(30));
        let refusal = whoami(&Client::new(&target).unwrap()).await.unwrap().unwrap_err();
        assert_eq!(refusal.message, "busy");
    }
}

#[tokio::test]
async fn who_has_a_schedule_is_told_at_once() {
    let world = busy(1, StatusCode::TOO_MANY_REQUESTS, "0").await;
    let client = Client::new(&world.target("", &format!("token: {TOKEN}"))).unwrap();
    let refusal = whoami(&client).await.unwrap().unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after), (429, Some(Duration::ZERO)));
}
