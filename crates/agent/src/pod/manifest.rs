//! Objects from a file, as `kubectl apply` reads them.

use serde_json::Value;
use tokensmith_api::json::SyntaxError;
use tokensmith_api::yaml::YamlError;
use tokensmith_api::{Media, json, yaml};
use tokensmith_objects::codec::{self, DecodeError, Expected, FieldValidation};
use tokensmith_objects::field::go_quote;
use tokensmith_objects::schema::{Kind, Schema};
use tokensmith_objects::validate::{self, Limits};
use tokensmith_objects::{Object, defaults, strategy};

use super::error::one_line;

/// Why a file cannot be used, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", if *.documents > 1 { format!("document {document}: ") } else { String::new() }, one_line(&cause.to_string()))]
pub struct ManifestError {
    /// Which document, from 1.
    pub document: usize,
    /// How many the file has.
    pub documents: usize,
    /// What is wrong with it.
    pub cause: DocumentError,
}

/// What is wrong with a document, in Kubernetes' words where it has them.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It does not say of which version its object is.
    #[error("Object 'apiVersion' is missing")]
    ApiVersion,
    /// It is not an object of its kind.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A list has a field twice.
    #[error("strict decoding error: duplicate field {}", go_quote(.0))]
    Duplicate(String),
    /// Nothing is in the file.
    #[error("no objects in the manifest")]
    Empty,
    /// As the API server's 422 says it.
    #[error(transparent)]
    Invalid(Box<tokensmith_core::Error>),
    /// An item of a list is wrong.
    #[error("items[{at}]: {cause}")]
    Item {
        /// Which, from 0.
        at: usize,
        /// What is wrong with it.
        #[source]
        cause: Box<DocumentError>,
    },
    /// What a list holds is no list.
    #[error("items must be a list")]
    Items,
    /// It is no JSON.
    #[error("json parse error: {0}")]
    Json(#[from] SyntaxError),
    /// It does not say of which kind its object is.
    #[error("Object 'Kind' is missing")]
    Kind,
    /// It is a text or a number.
    #[error("the document is no object")]
    NotAnObject,
    /// More than an API server takes.
    #[error("a manifest may not have more than {MAX_BYTES} bytes")]
    TooLong,
    /// A list has a field that lists do not have.
    #[error("strict decoding error: unknown field {}", go_quote(.0))]
    UnknownField(String),
    /// No pod is made of it.
    #[error(
        "no use for kind {} in version {}: it must be one of {}", go_quote(kind), go_quote(version), KINDS.join(", ")
    )]
    Unused {
        /// Its kind.
        kind: String,
        /// Its `apiVersion`.
        version: String,
    },
    /// It is no YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// The longest file, in bytes; no request to an API server may be longer.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;

/// The objects of a YAML or JSON text: one, several documents, or a `List`; Pods, ServiceAccounts, ConfigMaps and
/// Secrets. They are decoded strictly, filled in with Kubernetes' defaults and validated, with one exception: how short a
/// token may live is for the server to say. Objects without a namespace get `namespace`.
///
/// # Errors
/// The first document that is wrong, and what is wrong with it.
pub fn manifest(text: &str, namespace: &str) -> Result<Vec<Object>, ManifestError> {
    let documents = documents(text);
    let count = documents.len();
    let fail = |at: usize, cause| ManifestError { document: at + 1, documents: count, cause };
    if text.len() > MAX_BYTES {
        return Err(fail(0, DocumentError::TooLong));
    }
    let mut objects = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        objects.extend(read(document, namespace).map_err(|cause| fail(at, cause))?);
    }
    match objects.is_empty() {
        true => Err(fail(0, DocumentError::Empty)),
        false => Ok(objects),
    }
}

/// Kinds that a manifest may have, all of `v1`.
const KINDS: [&str; 4] = ["ConfigMap", "Pod", "Secret", "ServiceAccount"];

/// Splits where a line is `---` alone or with a comment (apimachinery `util/yaml`, `YAMLReader`).
fn documents(text: &str) -> Vec<&str> {
    let (mut documents, mut start, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        if line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.trim().starts_with('#'))
        {
            documents.push(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    documents.push(&text[start..]);
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    documents.retain(|document| !document.lines().all(blank));
    documents
}

fn read(document: &str, namespace: &str) -> Result<Vec<Object>, DocumentError> {
    let json = document.trim_start().starts_with('{');
    let parsed = if json { json::parse(document.as_bytes())? } else { yaml::parse(document.as_bytes())? };
    if parsed.value.is_null() {
        return Ok(Vec::new());
    }
    let (api_version, kind) = type_of(&parsed.value)?;
    if let Some(item) = kind.strip_suffix("List").filter(|_| api_version == "v1") {
        if let Some(path) = parsed.duplicates.into_iter().next() {
            return Err(DocumentError::Duplicate(path));
        }
        return items(parsed.value, item, namespace);
    }
    let expected = expected(&api_version, &kind)?;
    let media = if json { Media::Json } else { Media::Yaml };
    let decoded = codec::decode(document.as_bytes(), media, &expected.1, FieldValidation::Strict)?;
    finish(expected.0, decoded.object, namespace).map(|object| vec![object])
}

/// The objects of a `List`, or of a list of one kind.
fn items(list: Value, kind: &str, namespace: &str) -> Result<Vec<Object>, DocumentError> {
    let Value::Object(mut list) = list else { return Ok(Vec::new()) };
    if let Some(field) =
        list.keys().find(|field| !matches!(field.as_str(), "apiVersion" | "items" | "kind" | "metadata"))
    {
        return Err(DocumentError::UnknownField(field.clone()));
    }
    let items = match list.shift_remove("items") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(DocumentError::Items),
    };
    let read = |item: Value| {
        let (kind, expected) = match (kind, item.get("kind")) {
            // In a list of one kind the items need not say it again.
            (kind, None) if !kind.is_empty() => expected("v1", kind)?,
            _ => {
                let (api_version, kind) = type_of(&item)?;
                expected(&api_version, &kind)?
            }
        };
        let decoded = codec::decode_value(item, &expected, FieldValidation::Strict);
        finish(kind, decoded?.object, namespace)
    };
    let failed = |at, cause| DocumentError::Item { at, cause: Box::new(cause) };
    let numbered = items.into_iter().enumerate();
    numbered.map(|(at, item)| read(item).map_err(|cause| failed(at, cause))).collect()
}

fn type_of(value: &Value) -> Result<(String, String), DocumentError> {
    let Value::Object(map) = value else { return Err(DocumentError::NotAnObject) };
    let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    match (text("apiVersion"), text("kind")) {
        (_, kind) if kind.is_empty() => Err(DocumentError::Kind),
        (version, _) if version.is_empty() => Err(DocumentError::ApiVersion),
        both => Ok(both),
    }
}

fn expected(api_version: &str, kind: &str) -> Result<(&'static Kind, Expected<'static>), DocumentError> {
    let found = KINDS.contains(&kind) && api_version == "v1";
    match Schema::builtin().kind("", "v1", kind).filter(|_| found) {
        Some(kind) => Ok((&**kind, Expected::kind(kind))),
        None => Err(DocumentError::Unused { kind: kind.to_owned(), version: api_version.to_owned() }),
    }
}

/// Defaults and validation, as on a create.
fn finish(kind: &Kind, mut object: Object, namespace: &str) -> Result<Object, DocumentError> {
    if object.namespace().is_empty() {
        object.set(&["metadata", "namespace"], namespace);
    }
    defaults::apply(kind, &mut object);
    let mut created = object.clone();
    // A server's admission gives a pod its account.
    if kind.kind == "Pod" && created.str_at(&["spec", "serviceAccountName"]).is_empty() {
        created.set(&["spec", "serviceAccountName"], "default");
    }
    // What stands in a Secret's stringData counts as data.
    strategy::prepare_create(kind, &mut created);
    let limits = Limits { min_token_expiration_seconds: i64::MIN };
    let errors = validate::create(kind, &created, &limits);
    match errors.is_empty() {
        true => Ok(object),
        false => {
            let invalid = tokensmith_core::Error::invalid(&kind.group, &kind.kind, object.name(), errors);
            Err(DocumentError::Invalid(Box::new(invalid)))
        }
    }
}
