//! TokenRequest: `POST …/serviceaccounts/NAME/token`.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use serde_json::Value;
use tokensmith_core::Clock;
use tokensmith_core::tokens::TokenIssuer;
use tokensmith_objects::Object;
use tokensmith_objects::codec::Expected;

use crate::body::{self, Sent};
use crate::failure::Failure;
use crate::gate::Caller;
use crate::metrics::Metrics;
use crate::needs::{Limit, needs};
use crate::reply;

needs! {
    /// What a token is minted with.
    pub(super) struct Minting {
        clock: Arc<dyn Clock>,
        limit: Limit,
        metrics: Arc<Metrics>,
        tokens: Arc<TokenIssuer>,
    }
}

/// Mints a token. `dryRun` mints too, as upstream does: kubectl's users rely on the answer having one.
pub(super) async fn create(
    with: &Minting,
    caller: &Caller,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let a = &caller.info.attributes;
    let done = read(with.limit, parts, body).await;
    let request = match done {
        Ok(read) => read,
        Err(failure) => {
            with.metrics.token_requested(&a.namespace, "unknown", class(&failure));
            return Err(failure);
        }
    };
    let asked = audiences(&request.object);
    let class_of_audiences = audience_class(&asked, &with.tokens.config().api_audiences);
    let bound = bound_object(&request.object);
    let dry_run = request.options.dry_run();
    let before = with.clock.monotonic();
    let result = with
        .tokens
        .issue(&caller.user, &a.namespace, &a.name, request.object, dry_run)
        .await
        .map_err(Failure::from);
    let took = with.clock.monotonic().saturating_sub(before);

    let mut line = caller.line(&*with.clock, "mint");
    line.subject = tokensmith_core::tokens::username(&a.namespace, &a.name);
    line.bound_object = bound;
    let minted = match result {
        Ok(minted) => minted,
        Err(failure) => {
            with.metrics.token_requested(&a.namespace, class_of_audiences, class(&failure));
            line.audiences = asked;
            (line.decision, line.code, line.reason) = ("deny", failure.0.code, failure.0.message.clone());
            caller.tell(line);
            return Err(Failure::beside(failure, request.warnings));
        }
    };
    with.metrics.signed(took);
    with.metrics.token_requested(&a.namespace, class_of_audiences, "success");
    line.audiences = audiences(&minted.reply);
    (line.jti, line.kid, line.decision, line.code) = (minted.id, minted.key_id, "allow", 201);
    caller.tell(line);

    let mut warnings = request.warnings;
    warnings.extend(minted.warnings);
    crate::heavy::enter_for_tree(&minted.reply).await;
    Ok(reply::answered(&minted.reply, &request.format, warnings))
}

async fn read(limit: Limit, parts: &Parts, body: Body) -> Result<Sent, Failure> {
    let schema = "authentication/v1.TokenRequest";
    let expected = Expected::named("authentication.k8s.io", "v1", "TokenRequest", schema);
    let expected = expected.ok_or_else(|| Failure::internal("TokenRequest is not in the table"))?;
    body::create(limit, parts, body, &expected, reply::metadata_alone).await
}

fn audiences(request: &Object) -> Vec<String> {
    let list = request.at(&["spec", "audiences"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn bound_object(request: &Object) -> String {
    let field = |key| request.str_at(&["spec", "boundObjectRef", key]);
    if field("kind").is_empty() { String::new() } else { format!("{}/{}", field("kind"), field("name")) }
}

/// Audiences are whatever clients make up; a metric's label must not be.
fn audience_class(asked: &[String], api: &[String]) -> &'static str {
    let ours = asked.iter().filter(|a| api.contains(a)).count();
    match (asked.len(), ours) {
        (0, _) => "default",
        (all, ours) if all == ours => "api",
        (_, 0) => "other",
        _ => "mixed",
    }
}

fn class(failure: &Failure) -> &'static str {
    match failure.0.code {
        403 => "forbidden",
        404 => "not_found",
        409 => "conflict",
        429 => "throttled",
        400..=499 => "invalid",
        _ => "error",
    }
}
