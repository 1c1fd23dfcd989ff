//! SelfSubjectReview: who am I?

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use serde_json::json;
use tokensmith_objects::codec::{Expected, encode};
use tokensmith_objects::object::timestamp;
use tokensmith_objects::schema::Kind;

use super::options;
use super::token_reviews::user;
use crate::app::App;
use crate::body;
use crate::failure::Failure;
use crate::gate::{Caller, Warnings};
use crate::reply::{self, Format};

/// Answers with the caller, whatever the body says.
pub(super) async fn create(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let query = parts.uri.query().unwrap_or("");
    let format = Format::of(&parts.headers, query, |_| false)?;
    let media = body::media(&parts.headers)?;
    let bytes = body::read(&parts.headers, body, app.config.max_request_bytes).await?;
    let options = options::write(query, "CreateOptions")?;
    let decoded = body::decode(&bytes, media, &Expected::kind(kind), options.validation)?;
    let mut review = decoded.object;
    review.set(&["metadata"], json!({"creationTimestamp": timestamp(app.clock.now())}));
    review.set(&["status"], json!({"userInfo": user(&caller.user)}));
    let mut response = reply::bytes(
        StatusCode::CREATED,
        encode(&review, format.media, format.pretty),
        format.media.as_str(),
    );
    response.extensions_mut().insert(Warnings(decoded.warnings));
    Ok(response)
}
