//! Stored kinds: list, create, read, replace, patch, delete.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokensmith_api::media::As;
use tokensmith_core::Error;
use tokensmith_core::access::request::parameter;
use tokensmith_core::registry::{DeleteOptions, Deleted, List, Request, Subresource};
use tokensmith_objects::Object;
use tokensmith_objects::codec::{self, Expected, FieldValidation};
use tokensmith_objects::patch::{Patch, PatchError};
use tokensmith_objects::schema::Kind;
use tokensmith_objects::table::{Include, table};

use super::{options, watch};
use crate::app::App;
use crate::body::{self, Sent};
use crate::failure::Failure;
use crate::gate::Caller;
use crate::reply::{self, Format};

/// A collection, or an object of it.
pub(super) async fn serve(
    app: &Arc<App>,
    caller: &Caller,
    kind: &'static Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let named = !caller.info.parts.is_empty();
    let one_namespace = !kind.namespaced || !caller.info.attributes.namespace.is_empty();
    match (&parts.method, named) {
        (&Method::GET | &Method::HEAD, true) => get(app, caller, kind, parts),
        (&Method::GET | &Method::HEAD, false) if caller.info.attributes.verb == "watch" => {
            watch::serve(app, caller, kind, parts).await
        }
        (&Method::GET | &Method::HEAD, false) => list(app, caller, kind, parts),
        (&Method::POST, false) if one_namespace => create(app, caller, kind, parts, body).await,
        (&Method::PUT, true) => update(app, caller, kind, Subresource::None, parts, body).await,
        (&Method::PATCH, true) => patch(app, caller, kind, Subresource::None, parts, body).await,
        (&Method::DELETE, true) => delete(app, caller, kind, parts, body).await,
        (&Method::DELETE, false) if one_namespace && kind.verbs.iter().any(|v| v == "deletecollection") => {
            delete_collection(app, caller, kind, parts, body).await
        }
        _ => Err(Failure::method_not_allowed()),
    }
}

/// `/status` and `/finalize`.
pub(super) async fn part(
    app: &Arc<App>,
    caller: &Caller,
    kind: &'static Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let which = match caller.info.attributes.subresource.as_str() {
        "finalize" => Subresource::Finalize,
        _ => Subresource::Status,
    };
    match (&parts.method, which) {
        (&Method::GET | &Method::HEAD, Subresource::Status) => get(app, caller, kind, parts),
        (&Method::PUT, _) => update(app, caller, kind, which, parts, body).await,
        (&Method::PATCH, Subresource::Status) => patch(app, caller, kind, which, parts, body).await,
        _ => Err(Failure::method_not_allowed()),
    }
}

/// Where an object is.
fn place<'a>(caller: &'a Caller, kind: &Kind) -> (&'a str, &'a str) {
    let a = &caller.info.attributes;
    (if kind.namespaced { &a.namespace } else { "" }, &a.name)
}

fn query(parts: &Parts) -> &str {
    parts.uri.query().unwrap_or("")
}

/// Tables and bare metadata are made on request.
pub(super) fn convertible(to: &As) -> bool {
    to.group == "meta.k8s.io"
        && to.version == "v1"
        && matches!(to.kind.as_str(), "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList")
}

fn show(
    app: &App,
    kind: &Kind,
    object: &Object,
    code: StatusCode,
    parts: &Parts,
    format: &Format,
) -> Response {
    let value = match format.convert.as_ref().map(|c| c.kind.as_str()) {
        Some("Table") => {
            let meta = json!({"resourceVersion": object.resource_version()});
            table(kind, [object], include(query(parts)), app.clock.now(), meta)
        }
        Some(_) => metadata_only(object),
        None => {
            return reply::bytes(
                code,
                codec::encode(object, format.media, format.pretty),
                format.media.as_str(),
            );
        }
    };
    reply::object(code, &value, format)
}

pub(super) fn include(query: &str) -> Include {
    match parameter(query, "includeObject").as_deref() {
        Some("None") => Include::None,
        Some("Object") => Include::Object,
        _ => Include::Metadata,
    }
}

pub(super) fn metadata_only(object: &Object) -> Value {
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn get(app: &App, caller: &Caller, kind: &Kind, parts: &Parts) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let (namespace, name) = place(caller, kind);
    let object = app.registry.get(kind, namespace, name)?;
    Ok(show(app, kind, &object, StatusCode::OK, parts, &format))
}

fn list(app: &App, caller: &Caller, kind: &Kind, parts: &Parts) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let found = app.registry.list(kind, place(caller, kind).0, &options::list(query(parts))?)?;
    Ok(show_list(app, kind, &found, parts, &format))
}

fn show_list(app: &App, kind: &Kind, list: &List, parts: &Parts, format: &Format) -> Response {
    let mut meta = json!({"resourceVersion": list.revision.to_string()});
    if let Some(token) = &list.continue_token {
        meta["continue"] = token.as_str().into();
    }
    if let Some(rest) = list.remaining {
        meta["remainingItemCount"] = rest.into();
    }
    let value = match format.convert.as_ref().map(|c| c.kind.as_str()) {
        Some("Table") => {
            table(kind, list.items.iter().map(|o| &**o), include(query(parts)), app.clock.now(), meta)
        }
        Some(_) => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
            "items": list.items.iter().map(|o| metadata_only(o)).collect::<Vec<_>>(),
        }),
        None => {
            let bare = |o: &Arc<Object>| {
                // Items of a typed list do not repeat what they are.
                let mut item = (**o).clone();
                item.remove(&["kind"]);
                item.remove(&["apiVersion"]);
                item.into_value()
            };
            json!({
                "kind": kind.list_kind(), "apiVersion": kind.api_version(), "metadata": meta,
                "items": list.items.iter().map(bare).collect::<Vec<_>>(),
            })
        }
    };
    reply::object(StatusCode::OK, &value, format)
}

async fn create(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let sent = body::object(app, parts, body, &Expected::kind(kind), "CreateOptions", convertible).await?;
    let Sent { format, options, object, warnings } = sent;
    let mut request = Request { dry_run: options.dry_run, warnings, ..Request::by(&caller.user) };
    let created = app.registry.create(&mut request, kind, place(caller, kind).0, object).await?;
    Ok(reply::warned(show(app, kind, &created, StatusCode::CREATED, parts, &format), request.warnings))
}

async fn update(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    part: Subresource,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let sent = body::object(app, parts, body, &Expected::kind(kind), "UpdateOptions", convertible).await?;
    let Sent { format, options, object, warnings } = sent;
    let mut request = Request { dry_run: options.dry_run, warnings, ..Request::by(&caller.user) };
    let (namespace, name) = place(caller, kind);
    let (object, made) = app.registry.update(&mut request, kind, namespace, name, part, object).await?;
    let code = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(reply::warned(show(app, kind, &object, code, parts, &format), request.warnings))
}

const PATCHES: &str = "the body of the request was in an unknown format - accepted media types include: \
                       application/json-patch+json, application/merge-patch+json";

async fn patch(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    part: Subresource,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let media = parts.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let media = media.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let bytes = body::read(&parts.headers, body, app.config.max_request_bytes).await?;
    let patch = match Patch::read(&media, &bytes) {
        Some(Ok(patch)) => patch,
        Some(Err(PatchError::Malformed(text))) => return Err(Error::BadRequest(text).into()),
        Some(Err(e)) => return Err(Error::TooLarge(e.to_string()).into()),
        None => return Err(Failure::unsupported_media(PATCHES)),
    };
    let options = options::write(query(parts), "PatchOptions")?;
    let mut request =
        Request { dry_run: options.dry_run, validation: options.validation, ..Request::by(&caller.user) };
    let (namespace, name) = place(caller, kind);
    let patched = app.registry.patch(&mut request, kind, namespace, name, part, &patch).await?;
    Ok(reply::warned(show(app, kind, &patched, StatusCode::OK, parts, &format), request.warnings))
}

async fn delete(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let (options, dry_run) = delete_options(app, parts, body).await?;
    let mut request = Request { dry_run, ..Request::by(&caller.user) };
    let (namespace, name) = place(caller, kind);
    match app.registry.delete(&mut request, kind, namespace, name, &options).await? {
        Deleted::Object(object) => Ok(show(app, kind, &object, StatusCode::OK, parts, &format)),
        Deleted::Status { name, uid } => {
            let details = json!({"name": name, "group": kind.group, "kind": kind.plural, "uid": uid});
            let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
            if kind.group.is_empty()
                && let Some(details) = status["details"].as_object_mut()
            {
                details.shift_remove("group");
            }
            Ok(reply::object(StatusCode::OK, &status, &format))
        }
    }
}

async fn delete_collection(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let (options, dry_run) = delete_options(app, parts, body).await?;
    let mut request = Request { dry_run, ..Request::by(&caller.user) };
    let which = options::list(query(parts))?;
    let gone =
        app.registry.delete_collection(&mut request, kind, place(caller, kind).0, &which, &options).await?;
    Ok(show_list(app, kind, &gone, parts, &format))
}

/// Options come in the body or, when that is empty, in the query.
async fn delete_options(app: &App, parts: &Parts, body: Body) -> Result<(DeleteOptions, bool), Failure> {
    let bytes = body::read(&parts.headers, body, app.config.max_request_bytes).await?;
    let from_query = options::write(query(parts), "DeleteOptions")?;
    let seconds = |text: String| {
        text.parse::<i64>().map_err(|_| {
            Failure::from(Error::BadRequest(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
        })
    };
    let mut options = DeleteOptions {
        grace_period_seconds: parameter(query(parts), "gracePeriodSeconds").map(seconds).transpose()?,
        ..DeleteOptions::default()
    };
    let mut dry_run = from_query.dry_run;
    if !bytes.is_empty() {
        let expected =
            Expected::named("", "v1", "DeleteOptions", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
        let expected = expected.ok_or_else(|| Failure::internal("DeleteOptions are not in the table"))?;
        let sent =
            codec::decode(&bytes, body::media(&parts.headers)?, &expected, FieldValidation::Ignore)?.object;
        let text = |path: &[&str]| Some(sent.str_at(path).to_owned()).filter(|t| !t.is_empty());
        options.grace_period_seconds =
            sent.get("gracePeriodSeconds").and_then(Value::as_i64).or(options.grace_period_seconds);
        options.uid = text(&["preconditions", "uid"]);
        options.resource_version = text(&["preconditions", "resourceVersion"]);
        dry_run |= sent.get("dryRun").and_then(Value::as_array).is_some_and(|d| d.iter().any(|v| v == "All"));
    }
    Ok((options, dry_run))
}
