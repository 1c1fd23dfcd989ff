//! Numbers at the ends of their ranges, in every field of every kind, in every query, and in the clock: each is answered,
//! and nothing panics.

mod bodies;
mod clock;

use std::time::Duration;

use http::{Request, StatusCode};
use serde_json::json;

use crate::world::{ADMIN, World};

/// What a query's number may be.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "2147483648",
    "-2147483649",
    "253402300799",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "1e308",
    "99999999999999999999999999999999999999",
];

/// The controllers, the view and the keys go on: what follows from a new namespace follows.
async fn all_goes_on(world: &World, name: &str) {
    world.post("/api/v1/namespaces", json!({"metadata": {"name": name}})).await.ok();
    let root = format!("/api/v1/namespaces/{name}/configmaps/kube-root-ca.crt");
    world
        .until("the controllers go on", || async { world.get(&root, Some(ADMIN)).await.status == 200 })
        .await;
    world.mint(json!({})).await.ok();
}

#[tokio::test]
async fn no_number_in_a_query_panics() {
    let world = World::new().await;
    let pod = json!({"metadata": {"generateName": "p-"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    for number in NUMBERS {
        for name in ["timeoutSeconds", "limit", "resourceVersion", "continue", "timeout"] {
            for path in
                [pods, "/api/v1/nodes", "/admin/v1/tokens", "/apis/rbac.authorization.k8s.io/v1/roles"]
            {
                let answer = world.get(&format!("{path}?{name}={number}"), Some(ADMIN)).await;
                assert!(
                    answer.status.as_u16() < 500 || answer.status == 504,
                    "{name}={number}: {}",
                    answer.status
                );
            }
            // A watch is not read to its end, which a clock that stands does not bring.
            let request = Request::get(format!("{pods}?watch=true&{name}={number}"));
            let request = request.header("authorization", format!("Bearer {ADMIN}"));
            let answer = world.head(request.body(axum::body::Body::empty()).unwrap()).await;
            // Upstream's cache says 500 of a version that it cannot read.
            let unread = name == "resourceVersion" && number.parse::<u64>().is_err() && answer == 500;
            assert!(
                answer.as_u16() < 500 || answer == StatusCode::GATEWAY_TIMEOUT || unread,
                "{name}={number}: {answer}"
            );
        }
        let name = world.post(pods, pod.clone()).await.ok()["metadata"]["name"].as_str().unwrap().to_owned();
        // Once to begin, once to shorten it.
        for seconds in [number, "5"] {
            let answer = world.delete(&format!("{pods}/{name}?gracePeriodSeconds={seconds}")).await;
            assert!(answer.status.as_u16() < 500, "gracePeriodSeconds={seconds}: {}", answer.status);
        }
    }
    all_goes_on(&world, "after-queries").await;
}

/// Upstream multiplies in 64 bits and wraps; what is beyond the calendar ends with it here.
#[tokio::test]
async fn a_grace_period_beyond_the_calendar_ends_with_it_and_can_be_shortened() {
    let world = World::new().await;
    for (name, own, asked) in [
        ("own", i64::MAX, None),
        ("asked", 30, Some("253402300799")),
        ("longest", 30, Some("9223372036854775807")),
    ] {
        let pod = json!({"metadata": {"name": name}, "spec": {
            "nodeName": "n", "terminationGracePeriodSeconds": own, "containers": [{"name": "c", "image": "i"}],
        }});
        world.post("/api/v1/namespaces/default/pods", pod).await.ok();
        let path = format!("/api/v1/namespaces/default/pods/{name}");
        let query = asked.map(|seconds| format!("?gracePeriodSeconds={seconds}")).unwrap_or_default();
        let pod = world.delete(&format!("{path}{query}")).await.ok();
        assert_eq!(pod["metadata"]["deletionTimestamp"], "9999-12-31T23:59:59Z", "{name}");
        let seconds = asked.map_or(own, |asked| asked.parse().unwrap());
        assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], seconds, "{name}");
        all_goes_on(&world, name).await;
        let pod = world.delete(&format!("{path}?gracePeriodSeconds=60")).await.ok();
        assert_eq!(pod["metadata"]["deletionTimestamp"], "2026-01-01T10:01:07Z", "{name}: a minute from now");
        world.clock.advance(Duration::from_secs(61));
        world.until("it goes", || async { world.get(&path, Some(ADMIN)).await.status == 404 }).await;
        world.clock.set(crate::world::START);
    }
}
