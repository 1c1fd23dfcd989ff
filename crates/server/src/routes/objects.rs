//! Stored kinds: list, create, read, replace, patch, delete.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokensmith_api::media::As;
use tokensmith_api::yaml;
use tokensmith_core::{Clock, Error};
use tokensmith_objects::codec::{Expected, FieldValidation, what};
use tokensmith_objects::patch::{Patch, PatchError};
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Object, Stored, names};
use tokensmith_registry::{Deleted, GetOptions, ListOptions, Registry, Request, Subresource, WriteOptions};

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
    judge_name(caller)?;
    let one_namespace = !kind.namespaced || !caller.info.attributes.namespace.is_empty();
    match (&parts.method, named) {
        (&Method::GET, true) => get(with, caller, kind, parts).await,
        (&Method::GET, false) if caller.info.attributes.verb == "watch" => {
            watch::serve(with, caller, kind, parts).await
        }
        (&Method::GET, false) => list(with, caller, kind, parts).await,
        (&Method::POST, false) if one_namespace => create(with, caller, kind, parts, body).await,
        (&Method::PUT, true) => update(with, caller, kind, Subresource::None, parts, body).await,
        (&Method::PATCH, true) => patch(with, caller, kind, Subresource::None, parts, body).await,
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
        (&Method::PATCH, _) => patch(with, caller, kind, which, parts, body).await,
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
fn place<'a>(caller: &'a Caller, kind: &Kind) -> (&'a str, &'a str) {
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
    let created = or_told(created.map_err(|e| e.seen_as(kind)), &mut request)?;
    enter_to_show(&format, kind, [&*created]).await;
    Ok(reply::warned(show(&*with.clock, kind, &created, StatusCode::CREATED, &format), request.warnings))
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
    let (object, made) = or_told(updated.map_err(|e| e.seen_as(kind)), &mut request)?;
    enter_to_show(&format, kind, [&*object]).await;
    let code = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(reply::warned(show(&*with.clock, kind, &object, code, &format), request.warnings))
}

async fn patch(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    part: Subresource<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    if media(parts) == APPLY {
        return apply(with, caller, kind, part, parts, body).await;
    }
    let SentPatch { format, options, patch } = read_patch(with, caller, kind, parts, body).await?;
    let mut request = Request { options, ..asked(caller, parts) };
    let (namespace, name) = place(caller, kind);
    let patched = with.registry.patch(&mut request, kind, namespace, name, part, &patch).await;
    let patched = or_told(patched.map_err(|e| e.seen_as(kind)), &mut request)?;
    enter_to_show(&format, kind, [&*patched]).await;
    Ok(reply::warned(show(&*with.clock, kind, &patched, StatusCode::OK, &format), request.warnings))
}

/// Server-side apply. It comes as YAML, of which JSON is a part.
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// What kind of patch it is.
pub(super) fn media(parts: &Parts) -> String {
    let media = parts.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    media.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

async fn apply(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    part: Subresource<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Failure> {
    let makes = part == Subresource::None;
    let SentConfig { format, options, config, warnings } =
        read_config(with, caller, kind, makes, parts, body).await?;
    let mut request = Request { options, warnings, ..asked(caller, parts) };
    let (namespace, name) = place(caller, kind);
    let applied = with.registry.apply(&mut request, kind, namespace, name, part, &config).await;
    let (object, made) = or_told(applied.map_err(|e| e.seen_as(kind)), &mut request)?;
    enter_to_show(&format, kind, [&*object]).await;
    let code = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(reply::warned(show(&*with.clock, kind, &object, code, &format), request.warnings))
}

/// What is to be applied, read.
pub(super) struct SentConfig {
    pub(super) format: Format,
    pub(super) options: WriteOptions,
    pub(super) config: Object,
    pub(super) warnings: Vec<String>,
}

/// Reads it in upstream's order (`handlers/patch.go`). What does not make its object is a 404 where there is none.
pub(super) async fn read_config(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    makes: bool,
    parts: &Parts,
    body: Body,
) -> Result<SentConfig, Failure> {
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let bytes = body::read(parts.version, &parts.headers, body, with.limit).await?;
    let options = WriteOptions::patch(query(parts), true)?;
    format.judge()?;
    let (namespace, name) = place(caller, kind);
    let there = match with.registry.get(kind, namespace, name) {
        Err(missing) if !makes => return Err(missing.seen_as(kind).into()),
        there => there.ok(),
    };
    enter_for(kind, there.as_deref()).await;
    let wrong = |cause: &str| Error::BadRequest(format!("error decoding YAML: {cause}"));
    let read = yaml::parse(&bytes).map_err(|e| wrong(&with_line(&e.to_string())))?;
    let config = match read.value {
        Value::Null => Object::default(),
        value => {
            let what = what(&value);
            let other = format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
            );
            Object::from_value(value).ok_or_else(|| wrong(&other))?
        }
    };
    // A repeated key is told to who asks for that.
    let closely = options.field_validation() != FieldValidation::Ignore && !read.duplicates.is_empty();
    let odd = if closely { yaml::repeated(&bytes) } else { None };
    let odd = odd.map(|odd| format!("error converting YAML to JSON: {odd}"));
    match odd {
        Some(odd) if options.field_validation() == FieldValidation::Strict => {
            Err(Error::BadRequest(format!("error strict decoding YAML: {odd}")).into())
        }
        odd => Ok(SentConfig { format, options, config, warnings: odd.into_iter().collect() }),
    }
}

/// go-yaml says the line first, and of the first line nothing.
fn with_line(text: &str) -> String {
    let placed = text.rsplit_once(" at line ").and_then(|(text, place)| {
        let (line, column) = place.split_once(", column ")?;
        let cause = text.strip_prefix("error converting YAML to JSON: yaml: ")?;
        column.parse::<u64>().ok()?;
        Some((cause, line.parse::<u64>().ok()?))
    });
    match placed {
        Some((cause, 0 | 1)) => format!("error converting YAML to JSON: yaml: {cause}"),
        Some((cause, line)) => format!("error converting YAML to JSON: yaml: line {line}: {cause}"),
        None => text.into(),
    }
}

/// A patch, read.
pub(super) struct SentPatch {
    pub(super) format: Format,
    pub(super) options: WriteOptions,
    pub(super) patch: Patch,
}

/// Reads a patch in upstream's order (`handlers/patch.go`): `Content-Type`, `Accept`, body, query, object, patch.
pub(super) async fn read_patch(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
    body: Body,
) -> Result<SentPatch, Failure> {
    let media = media(parts);
    if !Patch::knows(&media, kind) {
        return Err(unsupported(kind));
    }
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let bytes = body::read(parts.version, &parts.headers, body, with.limit).await?;
    let options = WriteOptions::patch(query(parts), false)?;
    format.judge()?;
    let (namespace, name) = place(caller, kind);
    // A patch of what is not there is a 404, whatever it says.
    let old = with.registry.get(kind, namespace, name).map_err(|e| e.seen_as(kind))?;
    enter_for(kind, Some(&old)).await;
    let closely = options.field_validation() != FieldValidation::Ignore;
    let patch = match Patch::read(&media, &bytes, closely) {
        Some(Ok(patch)) => patch,
        Some(Err(PatchError::Malformed(e))) => return Err(Error::BadRequest(e.to_string()).into()),
        Some(Err(e)) => return Err(Error::TooLarge(e.to_string()).into()),
        None => return Err(unsupported(kind)),
    };
    if patch.copies() {
        heavy::enter().await;
    }
    Ok(SentPatch { format, options, patch })
}

/// 415: of kinds that Go declares the router says it, of others (custom resources) the handler, which names what it takes.
fn unsupported(kind: &Kind) -> Failure {
    match kind.is_declared() {
        true => Failure::unsupported_patch(),
        false => Failure::unsupported_media(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ),
    }
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
    let deleted = deleted.map_err(|e| e.seen_as(kind))?;
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
    with.registry.delete_collection(&mut request, kind, &gone, &options).await?;
    // As upstream: what cannot be shown has been done all the same.
    show::fits(&format, kind, true).map_err(|e| Failure::beside(e, std::mem::take(&mut request.warnings)))?;
    enter_to_show(&format, kind, gone.items.iter().map(|object| &**object)).await;
    Ok(reply::warned(show_list(&*with.clock, kind, &gone, &format), request.warnings))
}
