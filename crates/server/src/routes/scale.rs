//! `/scale` of workloads.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use tokensmith_core::Error;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Object, Stored, codec};
use tokensmith_registry::{GetOptions, Request, Rescale, scale_type};

use super::objects::{Objects, enter_for, judge_name, or_told, query, read_patch};
use crate::body::{self, Sent};
use crate::failure::Failure;
use crate::gate::Caller;
use crate::reply::{self, Format};

pub(super) async fn serve(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    judge_name(caller)?;
    let a = &caller.info.attributes;
    match parts.method {
        Method::GET => {
            let format = Format::of(&parts.headers, query(parts), |_| false)?;
            let options = GetOptions::read(query(parts))?;
            enter_for(kind, there(with, caller, kind).as_deref()).await;
            let scale = with.registry.scale(kind, &a.namespace, &a.name, &options)?;
            Ok(shown(&scale, &format))
        }
        Method::PUT => {
            let sent = body::update(with.limit, parts, body, &scale_type(), |_| false).await?;
            let Sent { format, options, object, warnings } = sent;
            enter_for(kind, there(with, caller, kind).as_deref()).await;
            let request = Request { options, warnings, ..Request::by(&caller.user) };
            changed(with, caller, kind, request, Rescale::Put(&object), &format).await
        }
        Method::PATCH => {
            let read = read_patch(with, caller, kind, parts, body).await?;
            let request = Request { options: read.options, ..Request::by(&caller.user) };
            changed(with, caller, kind, request, Rescale::Patch(&read.patch), &read.format).await
        }
        _ => Err(Failure::method_not_allowed()),
    }
}

/// The workload, whose tree is made however small what is sent is.
fn there(with: &Objects, caller: &Caller, kind: &Kind) -> Option<Arc<Stored>> {
    let a = &caller.info.attributes;
    with.registry.get(kind, &a.namespace, &a.name).ok()
}

async fn changed(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    mut request: Request<'_>,
    change: Rescale<'_>,
    format: &Format,
) -> Result<Response, Failure> {
    let a = &caller.info.attributes;
    let done: Result<Object, Error> =
        with.registry.rescale(&mut request, kind, &a.namespace, &a.name, change).await;
    let scale = or_told(done, &mut request)?;
    Ok(reply::warned(shown(&scale, format), request.warnings))
}

fn shown(scale: &Object, format: &Format) -> Response {
    let bytes = codec::encode(scale, format.media, format.pretty);
    reply::bytes(StatusCode::OK, bytes, format.media.as_str())
}
