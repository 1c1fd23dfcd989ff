//! The port to a reviewer over HTTP, by `tokensmith-client`.

use async_trait::async_trait;
use serde_json::{Value, json};
use tokensmith_client::Client;

use super::review::{Review, ReviewError, ReviewStatus};

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

#[async_trait]
impl Review for Client {
    async fn review(&self, token: &str, audiences: &[String]) -> Result<ReviewStatus, ReviewError> {
        let mut spec = json!({ "token": token });
        // None asks for the server's own.
        if !audiences.is_empty() {
            spec["audiences"] = audiences.into();
        }
        let body = json!({ "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": spec });
        let answer = self.post(PATH, &body).await?.map_err(ReviewError::Refused)?;
        status(&answer["status"]).ok_or(ReviewError::NoStatus)
    }
}

fn status(status: &Value) -> Option<ReviewStatus> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let audiences = status["audiences"].as_array().into_iter().flatten();
    status.as_object()?;
    Some(ReviewStatus {
        authenticated: status["authenticated"].as_bool().unwrap_or(false),
        username: text(&status["user"]["username"]),
        uid: text(&status["user"]["uid"]),
        audiences: audiences.filter_map(Value::as_str).map(str::to_owned).collect(),
        error: text(&status["error"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let yes =
            json!({ "authenticated": true, "user": { "username": "u", "uid": "1" }, "audiences": ["a"] });
        let want = ReviewStatus {
            authenticated: true,
            username: "u".into(),
            uid: "1".into(),
            audiences: vec!["a".into()],
            error: String::new(),
        };
        assert_eq!(status(&yes), Some(want));
        assert_eq!(status(&json!({})), Some(ReviewStatus::default()), "no is the default");
        assert_eq!(status(&Value::Null), None);
    }
}
