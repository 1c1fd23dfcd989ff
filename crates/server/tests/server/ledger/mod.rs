//! Which tokens there are, and revoking them: by token, account, pod and key, on a clock that the test moves.

mod clock;
mod disk;
mod list;
mod marks;
mod modes;
mod pasted;
mod revoke;
mod secrets;

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::world::{ADMIN, Answer, World, token};

const TOKENS: &str = "/admin/v1/tokens";
const REVOCATIONS: &str = "/admin/v1/revocations";
const REVOKED: &str = "[invalid bearer token, service account token has been revoked]";

impl World {
    async fn revoke(&self, what: Value) -> Answer {
        self.post("/admin/v1/tokens/revoke", what).await
    }

    async fn tokens(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("{TOKENS}?{query}"), Some(ADMIN)).await.ok();
        answer["tokens"].as_array().unwrap().clone()
    }

    async fn revocations(&self) -> Vec<Value> {
        self.get(REVOCATIONS, Some(ADMIN)).await.ok()["revocations"].as_array().unwrap().clone()
    }

    /// Whether a token is good, for review and as a bearer; both must agree.
    async fn accepted(&self, minted: &str) -> bool {
        let status = self.review(minted).await;
        let bearer = self.get("/api", Some(minted)).await.status;
        match status["authenticated"].as_bool() {
            Some(true) => assert_eq!(bearer, 200, "{status}"),
            _ => assert_eq!((status["error"].as_str(), bearer.as_u16()), (Some(REVOKED), 401), "{status}"),
        }
        bearer == 200
    }

    async fn minted(&self, spec: Value) -> String {
        token(&self.mint(spec).await.ok())
    }

    async fn pod(&self, name: &str) {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        self.post("/api/v1/namespaces/default/pods", pod).await.ok();
    }

    /// Makes a Secret for a token of an account: a new token, or one that was kept.
    async fn secret(&self, name: &str, account: &str, kept: Option<&str>) -> String {
        let mut secret = json!({
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}},
            "type": "kubernetes.io/service-account-token",
        });
        if let Some(kept) = kept {
            secret["data"] = json!({"token": BASE64_STANDARD.encode(kept)});
        }
        self.post("/api/v1/namespaces/default/secrets", secret).await.ok();
        let path = format!("/api/v1/namespaces/default/secrets/{name}");
        let data = || async { self.get(&path, Some(ADMIN)).await.ok()["data"].clone() };
        self.until("the Secret is filled", || async { data().await["namespace"].is_string() }).await;
        let bytes = BASE64_STANDARD.decode(data().await["token"].as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    async fn account(&self, name: &str) {
        let account = json!({"metadata": {"name": name}});
        self.post("/api/v1/namespaces/default/serviceaccounts", account).await.ok();
    }
}

fn to_pod(name: &str) -> Value {
    json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name}})
}

fn second() -> Duration {
    Duration::from_secs(1)
}
