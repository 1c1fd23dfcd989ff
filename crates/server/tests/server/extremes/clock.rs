//! The server's own clock at the calendar's ends.

use serde_json::json;

use super::all_goes_on;
use crate::world::{ADMIN, World};

#[tokio::test]
async fn a_clock_at_the_calendars_ends_answers_and_can_be_set_right() {
    let world = World::new().await;
    let put = async |body: serde_json::Value| {
        let body = serde_json::to_vec(&body).unwrap();
        world.send("PUT", "/testing/v1/clock", Some(ADMIN), &[], body).await
    };
    let ends = [
        "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "9998-01-01T00:00:00+23:59",
    ];
    for (at, now) in ends.into_iter().enumerate() {
        for jump in [true, false] {
            put(json!({"now": now, "jump": jump})).await.ok();
            for path in [
                "/api/v1/namespaces/default/serviceaccounts",
                "/admin/v1/keys",
                "/admin/v1/keys/policy",
                "/admin/v1/tokens",
                "/admin/v1/revocations",
                "/metrics",
                "/openid/v1/jwks",
            ] {
                world.get(path, Some(ADMIN)).await.status.is_success().then_some(()).expect(path);
            }
            let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
            world.send("GET", "/api/v1/namespaces", Some(ADMIN), &table, Vec::new()).await.ok();
            let minted = world.mint(json!({"expirationSeconds": 3600})).await.ok();
            assert!(
                minted["status"]["expirationTimestamp"].as_str().is_some_and(|at| at.len() == 20),
                "{minted}"
            );
            let token = minted["status"]["token"].as_str().unwrap();
            assert_eq!(world.review(token).await["authenticated"], true, "{now}");
            let revoked =
                world.post("/admin/v1/tokens/revoke", json!({"token": token, "reason": "test"})).await;
            assert!(revoked.status.is_success(), "{now}: {}", revoked.json());
            all_goes_on(&world, &format!("at-{at}-{jump}")).await;
        }
    }
    put(json!({"now": "2026-01-01T10:00:07Z"})).await.ok();
    all_goes_on(&world, "set-right").await;
    let beyond = put(json!({"now": "9999-12-31T23:59:59-23:00"})).await;
    assert_eq!(beyond.status, 400);
    assert!(beyond.json()["message"].as_str().unwrap().contains("year outside of range [0,9999]"));
}
