//! What changes an object: patches, and server-side apply (apiserver `handlers/patch.go`).

use axum::body::Body;
use http::request::Parts;
use tokensmith_core::Error;
use tokensmith_objects::codec::FieldValidation;
use tokensmith_objects::patch::{Patch, PatchError};
use tokensmith_objects::schema::Kind;
use tokensmith_registry::{Config, WriteOptions};

use super::objects::{Objects, convertible, enter_for, place, query};
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::heavy;
use crate::reply::Format;

/// Server-side apply. It comes as YAML, of which JSON is a part.
const APPLY: &str = "application/apply-patch+yaml";

/// What is to become of an object.
pub(super) enum Change {
    /// This is to be in it.
    Apply(Config),
    /// It is changed so.
    Patch(Patch),
}

/// A change, read.
pub(super) struct SentChange {
    pub(super) format: Format,
    pub(super) options: WriteOptions,
    pub(super) change: Change,
}

/// Reads a change in upstream's order: `Content-Type`, `Accept`, body, query, object, change. One of what is not there is a 404,
/// whatever it says, unless it is an apply that `makes` its object.
pub(super) async fn read_change(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    makes: bool,
    parts: &Parts,
    body: Body,
) -> Result<SentChange, Failure> {
    let media = media(parts);
    let applies = media == APPLY;
    if !applies && !Patch::knows(&media, kind) {
        return Err(unsupported(kind));
    }
    let format = Format::of(&parts.headers, query(parts), convertible)?;
    let bytes = body::read(parts.version, &parts.headers, body, with.limit).await?;
    let options = WriteOptions::patch(query(parts), applies)?;
    format.judge()?;
    let (namespace, name) = place(caller, kind);
    let there = match with.registry.get(kind, namespace, name) {
        Err(missing) if !(applies && makes) => return Err(missing.seen_as(kind).into()),
        there => there.ok(),
    };
    enter_for(kind, there.as_deref()).await;
    let closely = options.field_validation() != FieldValidation::Ignore;
    if applies {
        return Ok(SentChange { format, options, change: Change::Apply(Config::read(&bytes, closely)?) });
    }
    let patch = match Patch::read(&media, &bytes, closely) {
        Some(Ok(patch)) => patch,
        Some(Err(PatchError::Malformed(e))) => return Err(Error::BadRequest(e.to_string()).into()),
        Some(Err(e)) => return Err(Error::TooLarge(e.to_string()).into()),
        None => return Err(unsupported(kind)),
    };
    if patch.copies() {
        heavy::enter().await;
    }
    Ok(SentChange { format, options, change: Change::Patch(patch) })
}

/// What kind of patch it is.
fn media(parts: &Parts) -> String {
    let media = parts.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    media.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
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
