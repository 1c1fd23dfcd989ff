//! TokenReview of tokens that name no audience.

use serde_json::{Value, json};

use crate::world::{ADMIN, JANE, World};

async fn review(world: &World, token: &str, audiences: Value) -> Value {
    let body = json!({"spec": {"token": token, "audiences": audiences}});
    world.post("/apis/authentication.k8s.io/v1/tokenreviews", body).await.ok()["status"].clone()
}

#[tokio::test]
async fn a_static_token_is_for_the_apis_audiences_and_no_others() {
    let world = World::new().await;
    for (token, user) in [(ADMIN, "admin"), (JANE, "jane")] {
        for (asked, granted) in [
            (json!([]), json!(["api", "https://kubernetes.default.svc"])),
            (json!(["api"]), json!(["api"])),
            (
                json!(["x", "https://kubernetes.default.svc", "api"]),
                json!(["https://kubernetes.default.svc", "api"]),
            ),
        ] {
            let status = review(&world, token, asked.clone()).await;
            assert_eq!(status["authenticated"], true, "{asked}");
            assert_eq!(
                (&status["user"]["username"], &status["audiences"]),
                (&json!(user), &granted),
                "{asked}"
            );
        }
        for asked in [json!(["x"]), json!(["x", "API"]), json!([""]), json!(["api/"])] {
            let status = review(&world, token, asked.clone()).await;
            assert_eq!(status, json!({"user": {}, "error": "invalid bearer token"}), "{asked}");
        }
        assert_eq!(
            world.get("/version", Some(token)).await.status,
            200,
            "requests are for the API's audiences"
        );
    }
    let denied = |l: &Value| l["decision"] == "deny" && l["reason"] == "invalid bearer token";
    world.until("an audit line", || async { world.audit().iter().any(denied) }).await;
}
