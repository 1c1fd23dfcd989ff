//! TokenReview: whose token is this, and is it for these audiences?

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use serde_json::{Map, Value, json};
use tokensmith_core::access::{AuthError, Authenticated, Authentication, BearerToken, Identity};
use tokensmith_core::view::View;
use tokensmith_core::{Clock, Error};
use tokensmith_objects::codec::Expected;
use tokensmith_objects::schema::Kind;
use tokensmith_registry::Registry;

use crate::app::Used;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::metrics::Metrics;
use crate::needs::{Limit, needs};
use crate::reply;

needs! {
    /// What a token is judged with.
    pub(super) struct Reviewing {
        authentication: Arc<Authentication>,
        clock: Arc<dyn Clock>,
        limit: Limit,
        metrics: Arc<Metrics>,
        registry: Arc<Registry>,
        used: Used,
        view: Arc<View>,
    }
}

/// Answers 201 for bad tokens too: the answer is in `status`.
pub(super) async fn create(
    with: &Reviewing,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let mut sent =
        body::create(with.limit, parts, body, &Expected::kind(kind), reply::metadata_alone).await?;
    super::admit_review(&with.registry, caller, kind, &mut sent).await?;
    let mut review = sent.object;
    let text = review.str_at(&["spec", "token"]).to_owned();
    if text.is_empty() {
        let error = Error::BadRequest("token is required for TokenReview in authentication".into());
        return Err(Failure::beside(error, sent.warnings));
    }
    let wanted: Option<Vec<String>> = review
        .at(&["spec", "audiences"])
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    let before = with.clock.monotonic();
    let found = check(with, &text, wanted.as_deref());
    with.metrics.reviewed(with.clock.monotonic().saturating_sub(before));

    let mut line = caller.line(&*with.clock, "review");
    line.code = 201;
    line.audiences = wanted.unwrap_or_default();
    let status = match found {
        Ok(found) => {
            line.decision = "allow";
            line.subject.clone_from(&found.identity.name);
            line.jti = credential(&found.identity);
            with.used.note(&found.notes);
            let mut status = json!({"authenticated": true, "user": user(&found.identity)});
            if let Some(audiences) = found.audiences.filter(|a| !a.is_empty()) {
                status["audiences"] = audiences.into();
            }
            status
        }
        Err(AuthError(cause)) => {
            line.decision = "deny";
            line.reason.clone_from(&cause);
            json!({"user": {}, "error": cause})
        }
    };
    caller.tell(line);
    // Of the metadata that the client sent, upstream keeps all but what is the system's to say.
    for field in super::SYSTEM {
        review.remove(&["metadata", field]);
    }
    review.set(&["status"], status);
    Ok(reply::answered(&review, &sent.format, sent.warnings))
}

/// The token as a request's `Authorization` header would carry it: trimmed, up to the first space.
fn check(with: &Reviewing, text: &str, wanted: Option<&[String]>) -> Result<Authenticated, AuthError> {
    let token = text.trim().split(' ').next().unwrap_or("");
    if token.is_empty() {
        // Upstream finds no credentials in such a token and says `system:anonymous`; that helps nobody.
        return Err(AuthError("invalid bearer token".into()));
    }
    with.authentication.authenticate(
        &BearerToken::new(token),
        wanted,
        &with.view.snapshot(),
        with.clock.now(),
    )
}

/// `UserInfo`; empty fields are left out.
pub(super) fn user(identity: &Identity) -> Value {
    let mut out = Map::new();
    for (key, value) in [("username", &identity.name), ("uid", &identity.uid)] {
        if !value.is_empty() {
            out.insert(key.into(), value.as_str().into());
        }
    }
    if !identity.groups.is_empty() {
        out.insert("groups".into(), identity.groups.clone().into());
    }
    if !identity.extra.is_empty() {
        out.insert("extra".into(), json!(identity.extra));
    }
    Value::Object(out)
}

fn credential(identity: &Identity) -> String {
    let id = identity.extra.get("authentication.kubernetes.io/credential-id").and_then(|v| v.first());
    id.and_then(|id| id.strip_prefix("JTI=")).unwrap_or_default().into()
}
