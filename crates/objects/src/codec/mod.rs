//! Bodies to objects and back, by the schema table.
//!
//! Decoding follows apimachinery's serializers: which kind is it, is it the expected one, does each field
//! have its Go type; unknown and repeated fields are dropped, warned of or refused as the client asked. The
//! error's text is the message of the 400 that the client sees.
//!
//! ```
//! use tokensmith_api::Media;
//! use tokensmith_objects::codec::{Expected, FieldValidation, decode, encode};
//! use tokensmith_objects::schema;
//!
//! let pods = Expected::kind(schema::kind("", "pods").unwrap());
//! let body = b"metadata: {name: web, color: red}";
//! let decoded = decode(body, Media::Yaml, &pods, FieldValidation::Warn)?;
//! assert_eq!(decoded.object.name(), "web");
//! assert_eq!(decoded.warnings, [r#"unknown field "metadata.color""#]);
//! let json = encode(&decoded.object, Media::Json, false);
//! assert!(json.starts_with(br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web""#));
//!
//! let strict = decode(body, Media::Yaml, &pods, FieldValidation::Strict).unwrap_err();
//! assert!(strict.to_string().ends_with(r#"strict decoding error: unknown field "metadata.color""#));
//! # Ok::<_, tokensmith_objects::codec::DecodeError>(())
//! ```

mod check;
mod encode;
mod inner;
mod protobuf;
#[cfg(test)]
pub(crate) mod samples;
mod shown;
mod transcode;
mod unstructured;
mod wire;

use serde_json::Value;
use tokensmith_api::{Findings, Media, json, proto, yaml};

pub use check::{TypeError, base64_offset, what};
pub use encode::{encode, encode_of, encode_value, finish};
pub(crate) use inner::{list_text, read_list, read_one};
pub(crate) use shown::shown_of;
pub use transcode::{
    ListMeta, ProtobufList, protobuf_item, protobuf_list, protobuf_metadata, protobuf_metadata_item,
    protobuf_of,
};
pub use unstructured::ConvertError;
pub use wire::is_wire;

use crate::Object;
use crate::field::go_quote;
use crate::schema::{self, Kind, TypeRef};

/// What a body must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Its type in the table.
    pub schema: TypeRef<'a>,
    /// Another group and version of which the same type is taken; none where that is empty.
    pub also: &'a str,
}

impl<'a> Expected<'a> {
    /// An object of a kind.
    pub fn kind(kind: &'a Kind) -> Self {
        Expected {
            group: &kind.group,
            version: &kind.version,
            kind: &kind.kind,
            schema: kind.message(),
            also: "",
        }
    }

    /// A built-in type that is no kind's: `TokenRequest`.
    pub fn named(group: &'a str, version: &'a str, kind: &'a str, type_name: &str) -> Option<Self> {
        Some(Expected { group, version, kind, schema: schema::type_of(type_name)?, also: "" })
    }
}

/// What to do with fields that the type does not have (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Refuse the body.
    Strict,
    /// Drop them and say so.
    #[default]
    Warn,
}

/// A decoded body.
#[derive(Debug)]
pub struct Decoded {
    /// Fields in Go's order, unknown ones gone, `kind` and `apiVersion` filled in.
    pub object: Object,
    /// For the `Warning` headers: unknown and repeated fields.
    pub warnings: Vec<String>,
}

/// Why a body is not what was expected; the text is the message that the client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It says what it is, and that is not what was expected.
    #[error("{kind} in version {} cannot be handled as a {expected}: {source}", go_quote(version))]
    CannotHandle {
        /// The kind that it says.
        kind: String,
        /// The version that it says.
        version: String,
        /// The kind that was expected.
        expected: String,
        /// Why not.
        source: Box<DecodeError>,
    },
    /// Its kind is known, and is no form of the expected one.
    #[error("converting ({version}.{kind}) to ({group}.{expected}): unknown conversion")]
    Conversion {
        /// The kind that it says.
        kind: String,
        /// The version that it says.
        version: String,
        /// The expected kind's group, as Go's packages are named.
        group: String,
        /// The expected kind.
        expected: String,
    },
    /// Its `apiVersion` is none.
    #[error("unexpected GroupVersion string: {0}")]
    GroupVersion(String),
    /// It is no JSON.
    #[error("couldn't get version/kind; json parse error: {0}")]
    Json(#[from] json::SyntaxError),
    /// Its kind is not known.
    #[error(
        "no kind {} is registered for version {} in scheme \"{scheme}\"",
        go_quote(kind),
        go_quote(version)
    )]
    NoKind {
        /// The kind that it says.
        kind: String,
        /// The version that it says.
        version: String,
        /// Where upstream's scheme is made: part of a message that clients see.
        scheme: &'static str,
    },
    /// It is JSON, but no object.
    #[error(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {0} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )]
    NoObject(&'static str),
    /// It is no protobuf message.
    #[error(transparent)]
    Protobuf(#[from] proto::ProtoError),
    /// Fields that are unknown or repeated.
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
    /// A field has another type.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// What a strategic merge patch has made does not fit its type.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// `kind` or `apiVersion` is no string.
    #[error(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {what} into Go struct field .{field} of type string"
    )]
    TypeMeta {
        /// What it is.
        what: &'static str,
        /// Which of them.
        field: &'static str,
    },
    /// It does not even say what it is (apiserver `handlers/rest.go`, `transformDecodeError`).
    #[error("the object provided is unrecognized (must be of type {expected}): {source} ({start})")]
    Unrecognized {
        /// The kind that was expected.
        expected: String,
        /// Why not.
        source: Box<DecodeError>,
        /// How it begins.
        start: String,
    },
    /// It is no YAML.
    #[error("{}", .0.cause())]
    Yaml(#[from] yaml::YamlError),
}

/// Decodes a body.
pub fn decode(
    body: &[u8],
    media: Media,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    if media == Media::Protobuf {
        return decode_protobuf(body, expected);
    }
    let (value, odd) = parse(body, media).map_err(|cause| unrecognized(expected, cause, body))?;
    decode_tree(value, odd, expected, validation, body)
}

/// Decodes the options of a delete. They may say that they are of any group and version, as upstream's scheme of
/// options has it; unknown fields mean nothing, and the texts are the decoder's own.
pub fn decode_delete_options(body: &[u8], media: Media) -> Result<Object, DecodeError> {
    let schema =
        schema::type_of("apis/meta/v1.DeleteOptions").expect("the options are in the table, a test says so");
    let known = |api_version: &str, kind: &str| match kind {
        "" | DELETE_OPTIONS => Ok(()),
        kind => {
            let version = if api_version.is_empty() { "v1" } else { api_version };
            Err(DecodeError::NoKind { kind: kind.into(), version: version.into(), scheme: OPTIONS_SCHEME })
        }
    };
    let decoded = match media {
        Media::Protobuf => {
            let unknown = proto::unframe(body)?;
            known(unknown.api_version, unknown.kind)?;
            Ok(protobuf::decode(unknown.raw, schema)?)
        }
        media => parse(body, media).and_then(|(value, _)| {
            let (map, api_version, kind) = document(value)?;
            known(&api_version, &kind)?;
            Ok(check::Check::default().object(schema, map)?)
        }),
    };
    decoded.map(Object)
}

const DELETE_OPTIONS: &str = "DeleteOptions";

/// A body's value, and what strict reading says of it.
fn parse(body: &[u8], media: Media) -> Result<(Value, Findings), DecodeError> {
    if media == Media::Yaml {
        let parsed = yaml::parse(body)?;
        let odd = if parsed.duplicates.is_empty() { None } else { yaml::repeated(body) };
        return Ok((parsed.value, Findings::after(odd.into_iter().collect())));
    }
    let parsed = json::parse(body)?;
    let mut odd = Findings::default();
    repeated(&parsed.duplicates).into_iter().for_each(|text| odd.push(|| text));
    Ok((parsed.value, odd))
}

/// What strict reading says of repeated keys.
pub fn repeated(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| format!("duplicate field \"{path}\"")).collect()
}

/// A body as a map, and what it says that it is: `apiVersion` and `kind`.
fn document(value: Value) -> Result<(serde_json::Map<String, Value>, String, String), DecodeError> {
    // `null` decodes into an empty struct in Go.
    let value = if value.is_null() { Value::Object(Default::default()) } else { value };
    let Value::Object(map) = value else {
        return Err(DecodeError::NoObject(check::what(&value)));
    };
    let (api_version, kind) = (type_meta(&map, "apiVersion")?, type_meta(&map, "kind")?);
    match api_version.matches('/').count() {
        0 | 1 => Ok((map, api_version, kind)),
        _ => Err(DecodeError::GroupVersion(api_version)),
    }
}

/// Decodes a tree that was made from an object and a patch: the same checks as for a body.
pub fn decode_value(
    value: Value,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    decode_tree(value, Findings::default(), expected, validation, b"")
}

fn decode_tree(
    value: Value,
    odd: Findings,
    expected: &Expected<'_>,
    validation: FieldValidation,
    body: &[u8],
) -> Result<Decoded, DecodeError> {
    let (map, api_version, kind) = document(value).map_err(|cause| unrecognized(expected, cause, body))?;
    if let Err(other) = expect_kind(&api_version, &kind, expected) {
        // What it says that it is is read first: a field of the wrong type counts before the wrong kind.
        let (_, version) = schema::group_version(&api_version);
        let read =
            schema::type_of_kind(&api_version, &kind).map(|of| check::Check::default().object(of, map));
        return Err(match read {
            Some(Err(cause)) => cannot_handle(&kind, version, expected, cause),
            _ => other,
        });
    }
    typed(map, odd, expected, validation)
        .map_err(|cause| cannot_handle(expected.kind, expected.version, expected, cause))
}

/// Decodes what a patch has made of an object. The texts are the decoder's own: upstream puts them behind the document.
/// `odd` is what strict reading says of the patch itself.
pub fn decode_patched(
    patched: Value,
    odd: Vec<String>,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let (map, api_version, kind) = document(patched)?;
    expect_kind(&api_version, &kind, expected)?;
    typed(map, Findings::after(odd), expected, validation)
}

/// Reads what a strategic merge patch has made of an object. What it says that it is does not count.
pub fn decode_merged(
    merged: serde_json::Map<String, Value>,
    odd: Vec<String>,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let (object, odd) = unstructured::convert(expected.schema, merged, Findings::after(odd))?;
    judged(object, odd, expected, validation)
}

fn typed(
    map: serde_json::Map<String, Value>,
    odd: Findings,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let mut check = check::Check::from(odd);
    let object = check.object(expected.schema, map)?;
    judged(object, check.into_odd().into_texts(), expected, validation)
}

fn judged(
    object: serde_json::Map<String, Value>,
    odd: Vec<String>,
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let warnings = match validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => odd,
        FieldValidation::Strict if odd.is_empty() => Vec::new(),
        FieldValidation::Strict => return Err(DecodeError::Strict(odd)),
    };
    Ok(Decoded { object: with_type_meta(object, expected), warnings })
}

fn decode_protobuf(body: &[u8], expected: &Expected<'_>) -> Result<Decoded, DecodeError> {
    let unknown = proto::unframe(body).map_err(|e| unrecognized(expected, e, body))?;
    // Here upstream takes a version that is none for one that nobody has said (`FromAPIVersionAndKind`).
    let version = if unknown.api_version.matches('/').count() > 1 { "" } else { unknown.api_version };
    expect_kind(version, unknown.kind, expected)?;
    let object = protobuf::decode(unknown.raw, expected.schema)
        .map_err(|e| cannot_handle(expected.kind, expected.version, expected, e))?;
    Ok(Decoded { object: with_type_meta(object, expected), warnings: Vec::new() })
}

/// `kind` or `apiVersion` of a body; Go reads them first and on their own.
fn type_meta(map: &serde_json::Map<String, Value>, field: &'static str) -> Result<String, DecodeError> {
    // Here, and here alone, Go's decoder takes names in any case; the last one counts.
    let named = map.iter().rev().find(|(key, value)| key.eq_ignore_ascii_case(field) && !value.is_null());
    match named.map(|(_, value)| value) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(DecodeError::TypeMeta { what: check::what(other), field }),
    }
}

/// A missing kind or version defaults to the expected one; another one is refused in the scheme's words.
fn expect_kind(api_version: &str, kind: &str, expected: &Expected<'_>) -> Result<(), DecodeError> {
    let kind = if kind.is_empty() { expected.kind } else { kind };
    let (group, version) = match api_version {
        "" => (expected.group, expected.version),
        given if !expected.also.is_empty() && given == expected.also && kind == expected.kind => {
            (expected.group, expected.version)
        }
        given => schema::group_version(given),
    };
    if (group, version, kind) == (expected.group, expected.version, expected.kind) {
        return Ok(());
    }
    let known = |kind: &str| {
        schema::is_registered(group, version, kind)
            || schema::type_of_kind(&schema::api_version(group, version), kind).is_some()
    };
    let cause = if known(kind) || kind.strip_suffix("List").is_some_and(known) {
        let group = match expected.group.split('.').next() {
            Some("") | None => "core",
            Some(first) => first,
        };
        let (kind, version) = (kind.to_owned(), version.to_owned());
        DecodeError::Conversion { kind, version, group: group.into(), expected: expected.kind.into() }
    } else {
        let version = schema::api_version(group, version);
        DecodeError::NoKind { kind: kind.into(), version, scheme: SCHEME }
    };
    Err(cannot_handle(kind, version, expected, cause))
}

/// Where upstream's scheme of objects is made.
const SCHEME: &str = "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30";
/// The same of the scheme that knows options.
const OPTIONS_SCHEME: &str = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27";

fn with_type_meta(object: serde_json::Map<String, Value>, expected: &Expected<'_>) -> Object {
    let mut map = serde_json::Map::with_capacity(object.len() + 2);
    map.insert("kind".into(), expected.kind.into());
    map.insert("apiVersion".into(), schema::api_version(expected.group, expected.version).into());
    map.extend(object);
    Object(map)
}

fn cannot_handle(
    kind: &str,
    version: &str,
    expected: &Expected<'_>,
    source: impl Into<DecodeError>,
) -> DecodeError {
    DecodeError::CannotHandle {
        kind: kind.into(),
        version: version.into(),
        expected: expected.kind.into(),
        source: Box::new(source.into()),
    }
}

fn unrecognized(expected: &Expected<'_>, source: impl Into<DecodeError>, body: &[u8]) -> DecodeError {
    DecodeError::Unrecognized {
        expected: expected.kind.into(),
        source: Box::new(source.into()),
        start: summary(body),
    }
}

fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let (head, more) = (&body[..body.len().min(SHOWN)], if body.len() > SHOWN { " ..." } else { "" });
    match body.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", head.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
