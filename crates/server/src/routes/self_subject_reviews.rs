//! SelfSubjectReview: who am I?

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use serde_json::json;
use tokensmith_core::Clock;
use tokensmith_objects::codec::Expected;
use tokensmith_objects::object::timestamp;
use tokensmith_objects::schema::Kind;
use tokensmith_registry::Registry;

use super::token_reviews::user;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::needs::{Limit, needs};
use crate::reply;

needs! {
    /// What the answer is made with.
    pub(super) struct Mirror {
        clock: Arc<dyn Clock>,
        limit: Limit,
        registry: Arc<Registry>,
    }
}

/// Answers with the caller, whatever the body says.
pub(super) async fn create(
    with: &Mirror,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let mut sent =
        body::create(with.limit, parts, body, &Expected::kind(kind), reply::metadata_alone).await?;
    super::admit_review(&with.registry, caller, kind, &mut sent).await?;
    let mut review = sent.object;
    review.set(&["metadata"], json!({"creationTimestamp": timestamp(with.clock.now())}));
    review.set(&["status"], json!({"userInfo": user(&caller.user)}));
    Ok(reply::answered(&review, &sent.format, sent.warnings))
}
