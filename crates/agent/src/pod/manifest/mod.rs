//! Objects from a file, as `kubectl apply` reads them: the pods, and what they may need. The rest is named and left.

mod place;
mod template;

use std::collections::HashMap;
use std::sync::Arc;

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

pub use place::{Left, Place};

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
    /// It has no name, and would get another one each time.
    #[error(
        "{what} has a generateName: each start would make another one and find no volume again; give it a metadata.name"
    )]
    GenerateName {
        /// E.g. `Pod default/web-…`.
        what: String,
    },
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
    /// A list is in a list.
    #[error("a {0} in a list is not read")]
    Nested(String),
    /// It is a text or a number.
    #[error("the document is no object")]
    NotAnObject,
    /// More than an API server takes.
    #[error("a manifest may not have more than {MAX_BYTES} bytes")]
    TooLong,
    /// A list has a field that lists do not have.
    #[error("strict decoding error: unknown field {}", go_quote(.0))]
    UnknownField(String),
    /// A workload without a pod.
    #[error("{0} has no pod template")]
    NoTemplate(String),
    /// It is no YAML.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// The same object twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} stands twice: {first} and {second}")]
pub struct TwiceError {
    /// E.g. `Pod default/a`.
    pub what: String,
    /// Where it stands first.
    pub first: Place,
    /// And where again.
    pub second: Place,
}

/// The longest file, in bytes; no request to an API server may be longer.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;

/// How a manifest is read.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// What the file is called.
    pub file: &'a str,
    /// Where objects are that do not say it.
    pub namespace: &'a str,
    /// Whether the pods of workloads' templates are taken.
    pub templates: bool,
}

/// What stands in one file, or in several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// Pods, and what pods may need: Namespaces, ServiceAccounts, ConfigMaps and Secrets.
    pub taken: Vec<Item>,
    /// Everything else.
    pub left: Vec<Left>,
}

/// An object that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Decoded, defaulted, valid.
    pub object: Object,
    /// Where it stands.
    pub place: Place,
}

impl Item {
    /// E.g. `Pod default/a`.
    pub fn what(&self) -> String {
        let Object(object) = &self.object;
        let meta =
            |field: &str| object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str);
        let (space, name) = (meta("namespace").unwrap_or_default(), meta("name").unwrap_or_default());
        let slash = if space.is_empty() { "" } else { "/" };
        format!("{} {space}{slash}{name}", self.object.kind())
    }
}

impl Manifest {
    /// The pods.
    pub fn pods(&self) -> impl Iterator<Item = &Item> {
        self.taken.iter().filter(|item| item.object.kind() == "Pod")
    }

    /// What stands in several files.
    ///
    /// # Errors
    /// An object stands twice, in one file or in two.
    pub fn join<'a>(files: impl IntoIterator<Item = &'a Manifest>) -> Result<Manifest, TwiceError> {
        let mut all = Manifest::default();
        let mut places: HashMap<String, Place> = HashMap::new();
        for file in files {
            for item in &file.taken {
                let (what, second) = (item.what(), item.place.clone());
                if let Some(first) = places.insert(what.clone(), second.clone()) {
                    return Err(TwiceError { what, first, second });
                }
            }
            all.taken.extend(file.taken.iter().cloned());
            all.left.extend(file.left.iter().cloned());
        }
        Ok(all)
    }
}

/// The objects of a YAML or JSON text: one, several documents, or lists of them. Those that are taken are decoded strictly,
/// filled in with Kubernetes' defaults and validated, with one exception: how short a token may live is for the server to
/// say. Objects without a namespace get that of `reading`.
///
/// # Errors
/// The first document that is wrong, and what is wrong with it.
pub fn manifest(text: &str, reading: &Reading<'_>) -> Result<Manifest, ManifestError> {
    // As editors of Windows begin a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = documents(text);
    let count = documents.len();
    let fail = |at: usize, cause| ManifestError { document: at + 1, documents: count, cause };
    if text.len() > MAX_BYTES {
        return Err(fail(0, DocumentError::TooLong));
    }
    let file: Arc<str> = reading.file.into();
    let mut found = Manifest::default();
    for (at, (line, document)) in documents.iter().enumerate() {
        let place = Place { file: file.clone(), line: *line, item: None };
        read(document, reading, &place, &mut found).map_err(|cause| fail(at, cause))?;
    }
    match found.taken.is_empty() && found.left.is_empty() {
        true => Err(fail(0, DocumentError::Empty)),
        false => Ok(found),
    }
}

/// Kinds that are taken, all of `v1`.
const KINDS: [&str; 5] = ["ConfigMap", "Namespace", "Pod", "Secret", "ServiceAccount"];

/// Splits where a line is `---` alone or with a comment (apimachinery `util/yaml`, `YAMLReader`). Each with the line that its
/// first word stands on.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let (mut documents, mut start, mut at, mut first) = (Vec::new(), 0, 0, 1);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.trim().starts_with('#'))
        {
            documents.push((first, &text[start..at]));
            start = at + line.len();
            first = number + 2;
        }
        at += line.len();
    }
    documents.push((first, &text[start..]));
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let begun = |(line, document): (usize, &'_ str)| {
        document.lines().position(|text| !blank(text)).map(|before| line + before)
    };
    documents.into_iter().filter_map(|found| Some((begun(found)?, found.1))).collect()
}

fn read(
    document: &str,
    reading: &Reading<'_>,
    place: &Place,
    found: &mut Manifest,
) -> Result<(), DocumentError> {
    let json = document.trim_start().starts_with('{');
    let parsed = if json { json::parse(document.as_bytes())? } else { yaml::parse(document.as_bytes())? };
    if parsed.value.is_null() {
        return Ok(());
    }
    let (api_version, kind) = type_of(&parsed.value)?;
    if let Some(item) = item_kind(&parsed.value, &api_version, &kind) {
        if let Some(path) = parsed.duplicates.into_iter().next() {
            return Err(DocumentError::Duplicate(path));
        }
        return items(parsed.value, &api_version, &item, reading, place, found);
    }
    let media = if json { Media::Json } else { Media::Yaml };
    let decode = |expected: &Expected<'_>| {
        codec::decode(document.as_bytes(), media, expected, FieldValidation::Strict)
    };
    take((&api_version, &kind), &parsed.value, decode, reading, place, found)
}

/// Of which kind the items are, where this is a list: `""` where each says it.
fn item_kind(value: &Value, api_version: &str, kind: &str) -> Option<String> {
    let item = kind.strip_suffix("List")?;
    // Another group may have a kind that is called so and is none.
    (api_version == "v1" || value.get("items").is_some_and(|items| items.is_array() || items.is_null()))
        .then(|| item.to_owned())
}

/// The objects of a `List`, or of a list of one kind.
fn items(
    list: Value,
    api_version: &str,
    kind: &str,
    reading: &Reading<'_>,
    place: &Place,
    found: &mut Manifest,
) -> Result<(), DocumentError> {
    let Value::Object(mut list) = list else { return Ok(()) };
    if let Some(field) =
        list.keys().find(|field| !matches!(field.as_str(), "apiVersion" | "items" | "kind" | "metadata"))
    {
        return Err(DocumentError::UnknownField(field.clone()));
    }
    let items = match list.shift_remove("items") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(DocumentError::Items),
    };
    for (at, mut item) in items.into_iter().enumerate() {
        let place = Place { item: Some(at), ..place.clone() };
        // In a list of one kind the items need not say it again.
        if let (Value::Object(item), false) = (&mut item, kind.is_empty())
            && !item.contains_key("kind")
        {
            item.insert("kind".into(), kind.into());
            item.entry("apiVersion").or_insert_with(|| api_version.into());
        }
        let mut read = || {
            let (api_version, kind) = type_of(&item)?;
            if let Some(inner) = item_kind(&item, &api_version, &kind) {
                return items_of_items(&inner);
            }
            let decode = |expected: &Expected<'_>| {
                codec::decode_value(item.clone(), expected, FieldValidation::Strict)
            };
            take((&api_version, &kind), &item, decode, reading, &place, found)
        };
        read().map_err(|cause| DocumentError::Item { at, cause: Box::new(cause) })?;
    }
    Ok(())
}

/// Lists of lists are nobody's, and could be as deep as they like.
fn items_of_items(kind: &str) -> Result<(), DocumentError> {
    Err(DocumentError::Nested(format!("{kind}List")))
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

/// Takes an object, or names it as one that is left.
fn take(
    (api_version, kind): (&str, &str),
    value: &Value,
    decode: impl Fn(&Expected<'_>) -> Result<codec::Decoded, DecodeError>,
    reading: &Reading<'_>,
    place: &Place,
    found: &mut Manifest,
) -> Result<(), DocumentError> {
    let template = template::place(api_version, kind);
    let wanted = match template {
        Some(_) => reading.templates,
        None => api_version == "v1" && KINDS.contains(&kind),
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some(known) = Schema::builtin().kind(group, version, kind).filter(|_| wanted) else {
        let left = Left {
            what: place::named(kind, value),
            place: place.clone(),
            template: template.is_some() && !reading.templates,
        };
        found.left.push(left);
        return Ok(());
    };
    let mut object = decode(&Expected::kind(known))?.object;
    if object.name().is_empty() && !object.str_at(&["metadata", "generateName"]).is_empty() {
        return Err(DocumentError::GenerateName { what: place::named(kind, value) });
    }
    if known.namespaced && object.namespace().is_empty() {
        object.set(&["metadata", "namespace"], reading.namespace);
    }
    let object = match template {
        None => finish(known, object)?,
        Some(at) => {
            let pods = Schema::builtin().kind("", "v1", "Pod");
            let pod = template::pod(&object, at).zip(pods);
            let (pod, pods) = pod.ok_or_else(|| DocumentError::NoTemplate(place::named(kind, value)))?;
            finish(pods, pod)?
        }
    };
    found.taken.push(Item { object, place: place.clone() });
    Ok(())
}

/// Defaults and validation, as on a create.
fn finish(kind: &Kind, mut object: Object) -> Result<Object, DocumentError> {
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
