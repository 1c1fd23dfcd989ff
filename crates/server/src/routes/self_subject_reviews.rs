//! SelfSubjectReview: who am I?

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use serde_json::json;
use tokensmith_objects::codec::Expected;
use tokensmith_objects::object::timestamp;
use tokensmith_objects::schema::Kind;

use super::token_reviews::user;
use crate::app::App;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::reply;

/// Answers with the caller, whatever the body says.
pub(super) async fn create(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let sent = body::create(app, parts, body, &Expected::kind(kind), |_| false).await?;
    let mut review = sent.object;
    super::admit_review(app, caller, kind, &review)?;
    review.set(&["metadata"], json!({"creationTimestamp": timestamp(app.clock.now())}));
    review.set(&["status"], json!({"userInfo": user(&caller.user)}));
    Ok(reply::answered(&review, &sent.format, sent.warnings))
}
