//! Stored kinds: list, create, read, replace, patch, delete.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;
use tokensmith_api::media::As;
use tokensmith_core::{Clock, Error};
use tokensmith_objects::codec::Expected;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Stored, names};
use tokensmith_registry::{Deleted, GetOptions, ListOptions, Registry, Request, Subresource};

use super::change::{Change, SentChange, read_change};
use super::show::{self, show, show_list};
use super::watch;
use crate::body::{self, Sent};
use crate::failure::Failure;
use crate::gate::Caller;
use crate::heavy;
use crate::needs::{Limit, Stopping, needs};
use crate::reply::{self, Format};

needs! {
    /// What objects are read and written with.
    pub(super) struct Objects {
        clock: Arc<dyn Clock>,
        limit: Limit,
        registry: Arc<Registry>,
        stopping: Stopping,
    }
}

/// A collection, or an object of it.
pub(super) async fn serve(
    with: &Objects,
    caller: &Caller,
    kind: &Arc<Kind>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let named = !caller.info.parts.is_empty();
    if [Method::GET, Method::PUT, Method::PATCH, Method::DELETE].contains(&parts.method) {
        judge_name(caller)?;
    }
    let one_namespace = !kind.namespaced || !caller.info.attributes.namespace.is_empty();
    match (&parts.method, named) {
        (&Method::GET, true) => get(with, caller, kind, parts).await,
        (&Method::GET, false) if caller.info.attributes.verb == "watch" => {
            watch::serve(with, caller, kind, parts).await
        }
        (&Method::GET, false) => list(with, caller, kind, parts).await,
        (&Method::POST, false) if one_namespace => create(with, caller, kind, parts, body).await,
        (&Method::PUT, true) => update(with, caller, kind, Subresource::None, parts, body).await,
        (&Method::PATCH, true) => change(with, caller, kind, Subresource::None, parts, body).await,
        (&Method::DELETE, true) => delete(with, caller, kind, parts, body).await,
        (&Method::DELETE, false) if one_namespace && kind.verbs.iter().any(|v| v == "deletecollection") => {
            delete_collection(with, caller, kind, parts, body).await
        }
        _ => Err(Failure::method_not_allowed()),
    }
}

/// `/status`, `/finalize`, `/approval`, and the parts of pods.
pub(super) async fn part(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    judge_name(caller)?;
    let which = match caller.info.attributes.subresource.as_str() {
        "finalize" => Subresource::Finalize,
        "status" => Subresource::Status,
        part => Subresource::Part(part),
    };
    match (&parts.method, which) {
        (&Method::PUT, _) => update(with, caller, kind, which, parts, body).await,
        (_, Subresource::Finalize) => Err(Failure::method_not_allowed()),
        (&Method::GET, _) => get(with, caller, kind, parts).await,
        (&Method::PATCH, _) => change(with, caller, kind, which, parts, body).await,
        _ => Err(Failure::method_not_allowed()),
    }
}

/// A request by its caller, with the program that sends it.
pub(super) fn asked<'a>(caller: &'a Caller, parts: &'a Parts) -> Request<'a> {
    let agent = parts.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Request { agent: agent.unwrap_or_default(), ..Request::by(&caller.user) }
}

/// 400 for a name that no object can have, as upstream makes no key of it.
pub(super) fn judge_name(caller: &Caller) -> Result<(), Error> {
    let Some(name) = caller.info.parts.first() else { return Ok(()) };
    match names::path_segment(name) {
        wrong if wrong.is_empty() => Ok(()),
        wrong => Err(Error::BadRequest(format!("Name parameter invalid: {name:?}: {}", wrong.join(";")))),
    }
}

/// Where an object is.
pub(super) fn place<'a>(caller: &'a Caller, kind: &Kind) -> (&'a str, &'a str) {
    let a = &caller.info.attributes;
    (if kind.namespaced { &a.namespace } else { "" }, &a.name)
}

/// What a write computes grows with what is there, however small its body is: with the object that it is about, and with
/// all that somebody holds where they grant it.
pub(super) async fn enter_for(kind: &Kind, there: Option<&Stored>) {
    match kind.rules().grants() {
        true => heavy::enter().await,
        false => heavy::enter_for(there).await,
    }
}

/// So many objects are looked at in less than a millisecond, and as a rule so many looked through.
const MANY: usize = 1_000;
const MANY_THROUGH: usize = 50;

/// A list looks at all that its collection holds, however little its selectors and its limit leave of that, unless they name
/// what they are about.
pub(super) async fn enter_for_all(with: &Objects, caller: &Caller, kind: &Kind, options: &ListOptions) {
    let (namespace, kind) = (place(caller, kind).0, kind.storage());
    let many = if options.looks_through() { MANY_THROUGH } else { MANY };
    let there = with.registry.snapshot().count(&kind.group, &kind.plural, namespace);
    if there > many && !options.is_narrow(kind, namespace) {
        heavy::enter().await;
    }
}

/// The same of a list, which may be of objects as they were.
async fn enter_for_list(with: &Objects, caller: &Caller, kind: &Kind, options: &ListOptions) {
    if !options.is_page() {
        enter_for_all(with, caller, kind, options).await;
    }
    if !with.registry.has_at_hand(options) {
        heavy::enter().await;
    }
}

/// What is spliced costs no more than its bytes; of anything else trees are made.
async fn enter_to_show<'a>(format: &Format, kind: &Kind, objects: impl IntoIterator<Item = &'a Stored>) {
    if !show::splices(format, kind) {
        heavy::enter_for(objects).await;
    }
}

pub(super) fn query(parts: &Parts) -> &str {
    parts.uri.query().unwrap_or("")
}

/// Tables and bare metadata are made on request.
pub(super) fn convertible(to: &As) -> bool {
    to.group == "meta.k8s.io"
        && matches!(to.version.as_str(), "v1" | "v1beta1")
        && matches!(to.kind.as_str(), "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList")
}

async fn get(with: &Objects, caller: &Caller, kind: &Kind, parts: &Parts) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let (namespace, name) = place(caller, kind);
    let object = with.registry.get_at(kind, namespace, name, &GetOptions::read(query(parts))?);
    let object = object.map_err(|e| e.seen_as(kind))?;
    format.judge()?;
    show::fits(&format, kind, false)?;
    enter_to_show(&format, kind, [&*object]).await;
    Ok(show(&*with.clock, kind, &object, StatusCode::OK, &format))
}

async fn list(with: &Objects, caller: &Caller, kind: &Arc<Kind>, parts: &Parts) -> Result<Response, Failure> {
    let format = Format::of_list(&parts.headers, query(parts), convertible)?;
    let options = ListOptions::read(kind, query(parts))?;
    enter_for_list(with, caller, kind, &options).await;
    let found = with.registry.list(kind, place(caller, kind).0, &options)?;
    format.judge()?;
    show::fits(&format, kind, true)?;
    enter_to_show(&format, kind, found.items.iter().map(|object| &**object)).await;
    Ok(show_list(&*with.clock, kind, &found, &format))
}

async fn create(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let sent = body::create(with.limit, parts, body, &Expected::kind(kind), convertible).await?;
    enter_for(kind, None).await;
    let Sent { format, options, object, warnings } = sent;
    let mut request = Request { options, warnings, ..asked(caller, parts) };
    let created = with.registry.create(&mut request, kind, place(caller, kind).0, object).await;
    written(with, kind, request, created.map(|object| (object, true)), &format).await
}

async fn update(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    part: Subresource<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let sent = body::update(with.limit, parts, body, &Expected::kind(kind), convertible).await?;
    let Sent { format, options, object, warnings } = sent;
    let mut request = Request { options, warnings, ..asked(caller, parts) };
    let (namespace, name) = place(caller, kind);
    enter_for(kind, with.registry.get(kind, namespace, name).ok().as_deref()).await;
    let updated = with.registry.update(&mut request, kind, namespace, name, part, object).await;
    written(with, kind, request, updated, &format).await
}

/// A patch or an apply.
async fn change(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    part: Subresource<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let SentChange { format, options, change } =
        read_change(with, caller, kind, part == Subresource::None, parts, body).await?;
    let mut request = Request { options, ..asked(caller, parts) };
    let (namespace, name) = place(caller, kind);
    let changed = match &change {
        Change::Apply(config) => with.registry.apply(&mut request, kind, namespace, name, part, config).await,
        Change::Patch(patch) => {
            let patched = with.registry.patch(&mut request, kind, namespace, name, part, patch).await;
            patched.map(|object| (object, false))
        }
    };
    written(with, kind, request, changed, &format).await
}

/// The answer to a change of an object, or to what has made it.
async fn written(
    with: &Objects,
    kind: &Kind,
    mut request: Request<'_>,
    done: Result<(Arc<Stored>, bool), Error>,
    format: &Format,
) -> Result<Response, Failure> {
    let (object, made) = or_told(done.map_err(|e| e.seen_as(kind)), &mut request)?;
    enter_to_show(format, kind, [&*object]).await;
    let code = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(reply::warned(show(&*with.clock, kind, &object, code, format), request.warnings))
}

/// What was done; or why it was not, with what the client is warned of all the same.
pub(super) fn or_told<T>(done: Result<T, Error>, request: &mut Request<'_>) -> Result<T, Failure> {
    done.map_err(|error| Failure::beside(error, std::mem::take(&mut request.warnings)))
}

async fn delete(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let options = body::delete_options(with.limit, parts, body).await?;
    format.judge()?;
    let mut request = asked(caller, parts);
    let (namespace, name) = place(caller, kind);
    enter_for(kind, with.registry.get(kind, namespace, name).ok().as_deref()).await;
    let deleted = with.registry.delete(&mut request, kind, namespace, name, &options).await;
    let deleted = or_told(deleted.map_err(|e| e.seen_as(kind)), &mut request)?;
    if let Deleted::Object(object) | Deleted::Pending(object) = &deleted {
        enter_to_show(&format, kind, [&**object]).await;
    }
    let response = match deleted {
        Deleted::Object(object) => show(&*with.clock, kind, &object, StatusCode::OK, &format),
        Deleted::Pending(object) => {
            let old_words = options.cascades_in_old_words();
            let code = if old_words { StatusCode::ACCEPTED } else { StatusCode::OK };
            show(&*with.clock, kind, &object, code, &format)
        }
        Deleted::Status { name, uid } => {
            let details = json!({"name": name, "group": kind.group, "kind": kind.plural, "uid": uid});
            let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
            if kind.group.is_empty()
                && let Some(details) = status["details"].as_object_mut()
            {
                details.shift_remove("group");
            }
            reply::object(StatusCode::OK, &status, &format)
        }
    };
    Ok(reply::warned(response, request.warnings))
}

async fn delete_collection(
    with: &Objects,
    caller: &Caller,
    kind: &Arc<Kind>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let which = ListOptions::read(kind, query(parts))?;
    let options = body::delete_options(with.limit, parts, body).await?;
    format.judge()?;
    let mut request = asked(caller, parts);
    enter_for_list(with, caller, kind, &which).await;
    let gone = with.registry.list(kind, place(caller, kind).0, &which)?;
    for object in &gone.items {
        enter_for(kind, Some(object)).await;
    }
    or_told(with.registry.delete_collection(&mut request, kind, &gone, &options).await, &mut request)?;
    // As upstream: what cannot be shown has been done all the same.
    show::fits(&format, kind, true).map_err(|e| Failure::beside(e, std::mem::take(&mut request.warnings)))?;
    enter_to_show(&format, kind, gone.items.iter().map(|object| &**object)).await;
    Ok(reply::warned(show_list(&*with.clock, kind, &gone, &format), request.warnings))
}
