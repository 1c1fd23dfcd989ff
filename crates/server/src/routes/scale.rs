//! `/scale` of workloads.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use tokensmith_core::Error;
use tokensmith_objects::kinds::scale::scale as scale_kind;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Object, Stored};
use tokensmith_registry::{GetOptions, Request, Rescale, scale_type};

use super::change::{Change, SentChange, read_change};
use super::objects::{Objects, asked, convertible, enter_for, judge_name, or_told, query};
use super::show;
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
            let format = Format::of(&parts.headers, query(parts), convertible)?;
            let options = GetOptions::read(query(parts))?;
            enter_for(kind, there(with, caller, kind).as_deref()).await;
            let scale = with.registry.scale(kind, &a.namespace, &a.name, &options)?;
            format.judge()?;
            shown(with, &scale, &format)
        }
        Method::PUT => {
            let sent = body::update(with.limit, parts, body, &scale_type(), convertible).await?;
            let Sent { format, options, object, warnings } = sent;
            enter_for(kind, there(with, caller, kind).as_deref()).await;
            let request = Request { options, warnings, ..asked(caller, parts) };
            changed(with, caller, kind, request, Rescale::Put(&object), &format).await
        }
        Method::PATCH => {
            let SentChange { format, options, change } =
                read_change(with, caller, kind, false, parts, body).await?;
            let request = Request { options, ..asked(caller, parts) };
            let change = match &change {
                Change::Apply(config) => Rescale::Apply(config),
                Change::Patch(patch) => Rescale::Patch(patch),
            };
            changed(with, caller, kind, request, change, &format).await
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
    Ok(reply::warned(shown(with, &scale, format)?, request.warnings))
}

fn shown(with: &Objects, scale: &Object, format: &Format) -> Result<Response, Failure> {
    show::fits(format, scale_kind(), false)?;
    // It has the revision of its workload.
    let revision = scale.resource_version().parse().unwrap_or(0);
    let scale = Stored::of(scale_kind(), scale, revision);
    Ok(show::show(&*with.clock, scale_kind(), &scale, StatusCode::OK, format))
}
