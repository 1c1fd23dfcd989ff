//! SubjectAccessReview, LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview: may they?

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use tokensmith_core::Error;
use tokensmith_core::access::review;
use tokensmith_objects::codec::{Expected, encode};
use tokensmith_objects::schema::Kind;

use super::options;
use crate::app::App;
use crate::body;
use crate::failure::Failure;
use crate::gate::{Caller, Warnings};
use crate::reply::{self, Format};

/// Answers an access review.
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
    let mut asked = decoded.object;
    let namespace = &caller.info.attributes.namespace;
    if kind.namespaced && !["", namespace].contains(&asked.namespace()) {
        let text = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Error::BadRequest(text.into()).into());
    }
    let objects = app.view.snapshot();
    match kind.kind.as_str() {
        "SelfSubjectRulesReview" => review::rules(&mut asked, &caller.user, &*app.authorizer, &objects)?,
        _ => review::access(&mut asked, &caller.user, namespace, &*app.authorizer, &objects)?,
    }
    let mut response =
        reply::bytes(StatusCode::CREATED, encode(&asked, format.media, format.pretty), format.media.as_str());
    response.extensions_mut().insert(Warnings(decoded.warnings));
    Ok(response)
}
