//! What is created below a pod: a binding to a node, an eviction.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;
use tokensmith_objects::codec::Expected;
use tokensmith_registry::Request;

use super::objects::{Objects, asked, judge_name, or_told};
use crate::body::{self, Sent};
use crate::failure::Failure;
use crate::gate::Caller;
use crate::heavy;
use crate::reply;

pub(super) async fn create(
    with: &Objects,
    caller: &Caller,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    judge_name(caller)?;
    if parts.method != Method::POST {
        return Err(Failure::method_not_allowed());
    }
    let a = &caller.info.attributes;
    let evicts = a.subresource == "eviction";
    let expected = match evicts {
        // The first version of evictions has the same fields.
        true => Expected::named("policy", "v1", "Eviction", "policy/v1.Eviction")
            .map(|expected| Expected { also: "policy/v1beta1", ..expected }),
        false => Expected::named("", "v1", "Binding", "core/v1.Binding"),
    };
    let expected = expected.ok_or_else(|| Failure::internal("the type is not in the table"))?;
    let sent = body::create(with.limit, parts, body, &expected, |_| false).await?;
    let Sent { format, options, object, warnings } = sent;
    let mut request = Request { options, warnings, ..asked(caller, parts) };
    let there = with.registry.snapshot().get("", "pods", &a.namespace, &a.name).cloned();
    heavy::enter_for(there.as_deref()).await;
    let done = match evicts {
        true => with.registry.evict(&mut request, &a.namespace, &a.name, object).await,
        false => with.registry.bind(&mut request, &a.namespace, &a.name, object).await,
    };
    or_told(done, &mut request)?;
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(reply::warned(reply::object(StatusCode::CREATED, &status, &format), request.warnings))
}
