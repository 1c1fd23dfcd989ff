//! Tokens that a pod has exchanged: its annotation `tokensmith.dev/exchange`, a JSON list.
//!
//! ```json
//! [{"volume": "tokens", "from": "token", "path": "api-token", "audience": "https://api.example.com", "scope": "read"}]
//! ```
//!
//! Each gives its volume one more file, `path`, with the token that the one at `from` (a serviceAccountToken of the same volume)
//! is exchanged for. Where tokens are exchanged a pod does not say: it is not trusted with a URL to which tokens are sent.

use std::collections::HashSet;

use serde_json::{Map, Value};
use tokensmith_api::json;
use tokensmith_client::exchange::{Judged, audience, resource, scope};
use tokensmith_objects::{FieldError, LocalPath, Object};

use super::parse::{Parsed, local_path, text};
use super::plan::VolumePlan;
use super::source::{Source, TokenProjection};
use crate::exchange::ExchangeSpec;

/// The annotation of a pod with the tokens that it has exchanged.
pub const ANNOTATION: &str = "tokensmith.dev/exchange";

/// Each is a request every few minutes, to a server that somebody else runs.
const MOST: usize = 16;
/// Of the audiences, resources and scopes of one of them.
const MOST_VALUES: usize = 16;

/// Of which token a file is made, and what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// The file of the same volume with the token that is given.
    pub from: LocalPath,
    /// What is asked for.
    pub spec: ExchangeSpec,
}

/// Adds what the annotation asks for to the volumes.
pub(super) fn add(pod: &Object, volumes: &mut [VolumePlan]) -> Parsed<()> {
    let here = format!("metadata.annotations[{ANNOTATION}]");
    let Some(given) = pod.at(&["metadata", "annotations"]).and_then(|all| all.get(ANNOTATION)) else {
        return Ok(());
    };
    let invalid = |detail: &str| FieldError::invalid(here.clone(), given, detail);
    let parsed = json::parse(given.as_str().unwrap_or_default().as_bytes());
    let parsed = parsed.map_err(|error| invalid(&format!("must be a JSON list: {error}")))?;
    if let Some(twice) = parsed.duplicates.first() {
        return Err(invalid(&format!("{twice} stands in it twice")));
    }
    let Value::Array(entries) = parsed.value else { return Err(invalid("must be a JSON list")) };
    if entries.len() > MOST {
        return Err(FieldError::too_many(here, entries.len(), MOST));
    }
    for (at, entry) in entries.iter().enumerate() {
        one(&format!("{here}[{at}]"), entry, volumes)?;
    }
    Ok(())
}

fn one(here: &str, entry: &Value, volumes: &mut [VolumePlan]) -> Parsed<()> {
    const FIELDS: [&str; 6] = ["audience", "from", "path", "resource", "scope", "volume"];
    let Value::Object(fields) = entry else {
        return Err(FieldError::invalid(here, entry, "must be an object"));
    };
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let known = format!("is no field: {} are", FIELDS.join(", "));
        return Err(FieldError::forbidden(format!("{here}.{unknown}"), &known));
    }
    let name = text(entry, "volume");
    let at = format!("{here}.volume");
    let volume = match volumes.iter_mut().find(|volume| volume.name == name) {
        _ if name.is_empty() => return Err(FieldError::required(at, "")),
        Some(volume) => volume,
        None => return Err(FieldError::invalid(at, &entry["volume"], "no volume of files has this name")),
    };
    let from = local_path(&format!("{here}.from"), text(entry, "from"))?;
    let subject = volume.sources.iter().rev().find_map(|source| match source {
        Source::ServiceAccountToken(token) if token.exchange.is_none() && token.path == from => Some(token),
        _ => None,
    });
    let Some(subject) = subject else {
        let detail = "no serviceAccountToken of the volume has this path";
        return Err(FieldError::invalid(format!("{here}.from"), &entry["from"], detail));
    };
    let expiration_seconds = subject.expiration_seconds;
    let path = local_path(&format!("{here}.path"), text(entry, "path"))?;
    // The names of a whole ConfigMap's or Secret's files are not known yet: they are judged with the payload.
    let taken: HashSet<&LocalPath> = volume.sources.iter().flat_map(paths).collect();
    if taken.contains(&path) {
        let detail = "another source of the volume has this path";
        return Err(FieldError::invalid(format!("{here}.path"), &entry["path"], detail));
    }
    let spec = ExchangeSpec {
        audience: values(here, fields, "audience", false, audience)?,
        resource: values(here, fields, "resource", false, resource)?,
        scope: values(here, fields, "scope", true, scope)?,
    };
    let audience = spec.audience.first().or(spec.resource.first()).cloned();
    let exchange = Some(Exchange { from, spec });
    volume.sources.push(Source::ServiceAccountToken(TokenProjection {
        audience,
        expiration_seconds,
        path,
        exchange,
    }));
    Ok(())
}

/// A text, or a list of texts. Scopes may stand in one text as in OAuth, with blanks between them.
fn values(
    here: &str,
    fields: &Map<String, Value>,
    name: &str,
    blanks: bool,
    judge: fn(&str) -> Judged,
) -> Parsed<Vec<String>> {
    let at = format!("{here}.{name}");
    let no_text = |value| FieldError::invalid(at.clone(), value, "must be a text or a list of texts");
    let found: Vec<String> = match fields.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(text)) if blanks => text.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(list @ Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| no_text(list))?
        }
        Some(other) => return Err(no_text(other)),
    };
    if found.len() > MOST_VALUES {
        return Err(FieldError::too_many(at, found.len(), MOST_VALUES));
    }
    for value in &found {
        judge(value).map_err(|detail| FieldError::invalid(at.clone(), &value.as_str().into(), detail))?;
    }
    Ok(found)
}

/// The files that a source is known to make.
fn paths(source: &Source) -> Vec<&LocalPath> {
    match source {
        Source::ClusterTrustBundle(bundle) => vec![&bundle.path],
        Source::ConfigMap(object) | Source::Secret(object) => {
            object.items.iter().map(|item| &item.path).collect()
        }
        Source::DownwardApi(files) => files.iter().map(|file| &file.path).collect(),
        Source::ServiceAccountToken(token) => vec![&token.path],
    }
}
