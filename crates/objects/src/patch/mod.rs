//! Patches: an object and a change give a new object (apiserver `endpoints/handlers/patch.go`).

mod json;
mod merge;
mod strategic;
mod tree;

use serde_json::{Map, Value};

use crate::Object;
use crate::codec::{
    DecodeError, Decoded, Expected, FieldValidation, decode_merged, decode_patched, repeated, what,
};
use crate::field::go_quote;
use crate::schema::Kind;

/// A change that a client sends with PATCH.
#[derive(Debug)]
pub struct Patch {
    change: Change,
    odd: Vec<String>,
}

#[derive(Debug)]
enum Change {
    /// `application/json-patch+json` (RFC 6902).
    Json(Value),
    /// `application/merge-patch+json` (RFC 7386).
    Merge(Value),
    /// `application/strategic-merge-patch+json`.
    Strategic(Map<String, Value>),
}

/// Why a patch does not apply; the text is the message that the client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 422: what it makes of the object is none of its kind.
    #[error("{cause}")]
    Decode {
        /// What the error shows: what was made, or what is left of a strategic merge patch.
        shown: String,
        /// Why not.
        cause: Box<DecodeError>,
    },
    /// 400: a directive of a strategic merge patch is not what it should be.
    #[error("{0}")]
    Directive(&'static str),
    /// 400: it is no patch.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A strategic merge patch does not fit the object or its type; upstream has classified none of these errors.
    #[error("{0}")]
    Merge(String),
    /// 413: it names items of one key so often that it costs more than it weighs.
    #[error("a strategic merge patch may not name large items of a list again and again")]
    Repeated,
    /// 413: it has more operations than allowed.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
    /// 422: it does not fit the document.
    #[error("the server rejected our request due to an error in our request")]
    Unfit,
}

/// Why a body is no patch, in the words of upstream's libraries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON.
    #[error(transparent)]
    Json(#[from] tokensmith_api::json::SyntaxError),
    /// A merge patch that is no object, where nobody looks closely.
    #[error("Invalid JSON Patch")]
    NoObject,
    /// Read closely, it has no steps or no fields.
    #[error("error decoding patch: {0}")]
    Read(Box<Malformed>),
    /// Another JSON type than Go's.
    #[error("json: cannot unmarshal {what} into Go {into}")]
    Type {
        /// What stands there.
        what: &'static str,
        /// What should.
        into: String,
    },
}

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// As many operations as kube-apiserver takes in one JSON patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// ```
/// use serde_json::json;
/// use tokensmith_objects::codec::{Expected, FieldValidation};
/// use tokensmith_objects::patch::Patch;
/// use tokensmith_objects::{Object, schema};
///
/// let patch = br#"{"metadata": {"labels": {"a": null, "b": "2"}}}"#;
/// let patch = Patch::read("application/merge-patch+json", patch, true).unwrap()?;
/// let pod = Object::from_value(json!({"metadata": {"name": "web", "labels": {"a": "1"}}})).unwrap();
/// let pods = Expected::kind(schema::kind("", "pods").unwrap());
/// let changed = patch.change(pod, &pods, FieldValidation::Warn)?.object;
/// assert_eq!(changed.at(&["metadata", "labels"]), Some(&json!({"b": "2"})));
/// assert!(Patch::read("text/plain", b"", true).is_none());
/// # Ok::<_, tokensmith_objects::patch::PatchError>(())
/// ```
impl Patch {
    /// The patch that a body of this media type is; `None` for another media type. Unless odd fields are ignored it is read
    /// closely first, which has words of its own.
    pub fn read(media: &str, body: &[u8], closely: bool) -> Option<Result<Patch, PatchError>> {
        let read = match media {
            JSON => Patch::read_json,
            MERGE => Patch::read_merge,
            STRATEGIC => Patch::read_strategic,
            _ => return None,
        };
        let wrong = |cause: Malformed| match closely {
            _ if media == STRATEGIC || cause == Malformed::NoObject => cause,
            true => Malformed::Read(Box::new(cause)),
            false if media == MERGE => Malformed::NoObject,
            false => cause,
        };
        Some(read(body, closely).map_err(|cause| wrong(cause).into()))
    }

    fn read_json(body: &[u8], closely: bool) -> Result<Patch, Malformed> {
        let parsed = tokensmith_api::json::parse(body)?;
        let whole = if closely { "[]handlers.jsonPatchOp" } else { "jsonpatch.Patch" };
        let steps = match &parsed.value {
            Value::Array(steps) => steps.as_slice(),
            Value::Null => &[],
            other => {
                return Err(Malformed::Type { what: what(other), into: format!("value of type {whole}") });
            }
        };
        let one = if closely { "handlers.jsonPatchOp" } else { "jsonpatch.Operation" };
        let mut unknown = Vec::new();
        for (index, step) in steps.iter().enumerate().filter(|(_, step)| !step.is_null()) {
            let Value::Object(step) = step else {
                return Err(Malformed::Type { what: what(step), into: format!("value of type {one}") });
            };
            for (name, value) in step.iter().filter(|_| closely) {
                let text = ["op", "path", "from"].contains(&name.as_str());
                if text && !value.is_string() && !value.is_null() {
                    let into = format!("struct field jsonPatchOp.{name} of type string");
                    return Err(Malformed::Type { what: what(value), into });
                }
                if !text && name != "value" {
                    unknown
                        .push(format!("json patch unknown field {}", go_quote(&format!("[{index}].{name}"))));
                }
            }
        }
        let mut odd: Vec<_> =
            repeated(&parsed.duplicates).into_iter().map(|text| format!("json patch {text}")).collect();
        odd.extend(unknown);
        Ok(Patch { change: Change::Json(parsed.value), odd })
    }

    fn read_merge(body: &[u8], _: bool) -> Result<Patch, Malformed> {
        match read_fields(body)? {
            (Value::Null, _) => Err(Malformed::NoObject),
            (fields, odd) => Ok(Patch { change: Change::Merge(fields), odd }),
        }
    }

    /// Go reads null into no map, which has no fields.
    fn read_strategic(body: &[u8], _: bool) -> Result<Patch, Malformed> {
        let (fields, odd) = read_fields(body)?;
        let fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        Ok(Patch { change: Change::Strategic(fields), odd })
    }

    /// What strict reading says of the patch itself.
    pub fn odd(&self) -> &[String] {
        &self.odd
    }

    /// Whether it copies parts of the document: then a short patch of a small object can make as much as a large body.
    pub fn copies(&self) -> bool {
        let copies = |step: &Value| step.get("op").is_some_and(|op| op == "copy");
        matches!(&self.change, Change::Json(Value::Array(steps)) if steps.iter().any(copies))
    }

    /// Whether objects of a kind have patches of this media type: strategic merge goes by what Go declares.
    pub fn knows(media: &str, kind: &Kind) -> bool {
        [JSON, MERGE].contains(&media) || media == STRATEGIC && kind.is_declared()
    }

    /// The object after the change, read as what it should be.
    pub fn change(
        &self,
        object: Object,
        expected: &Expected<'_>,
        validation: FieldValidation,
    ) -> Result<Decoded, PatchError> {
        let odd = self.odd.clone();
        match &self.change {
            Change::Json(patch) => {
                let document = object.into_value();
                let patched = json::apply(&document, patch)?;
                decode_patched(patched, odd, expected, validation)
                    .map_err(|cause| PatchError::decode(json::shown(&document, patch), cause))
            }
            Change::Merge(patch) => {
                let document = object.into_value();
                let patched = merge::apply(&document, patch);
                decode_patched(patched, odd, expected, validation)
                    .map_err(|cause| PatchError::decode(merge::shown(&document, patch), cause))
            }
            Change::Strategic(patch) => {
                let (Object(mut document), mut patch) = (object, patch.clone());
                strategic::apply(&mut document, &mut patch, expected.schema)?;
                decode_merged(document, odd, expected, validation)
                    .map_err(|cause| PatchError::decode(strategic::printed(&Value::Object(patch)), cause))
            }
        }
    }
}

/// The fields that a patch has, or null; and what strict reading says of it.
fn read_fields(body: &[u8]) -> Result<(Value, Vec<String>), Malformed> {
    let parsed = tokensmith_api::json::parse(body)?;
    if !parsed.value.is_object() && !parsed.value.is_null() {
        let into = "value of type map[string]interface {}".into();
        return Err(Malformed::Type { what: what(&parsed.value), into });
    }
    Ok((parsed.value, repeated(&parsed.duplicates)))
}

impl PatchError {
    fn decode(shown: String, cause: DecodeError) -> PatchError {
        PatchError::Decode { shown, cause: Box::new(cause) }
    }
}

impl From<strategic::Failure> for PatchError {
    fn from(failure: strategic::Failure) -> Self {
        match failure {
            strategic::Failure::Format(text) => PatchError::Directive(text),
            strategic::Failure::Repeated => PatchError::Repeated,
            strategic::Failure::Told(text) => PatchError::Merge(text),
            strategic::Failure::Unfit => PatchError::Unfit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_patch_is_told_as_it_is_read() {
        let told =
            |media: &str, body: &str, closely| match Patch::read(media, body.as_bytes(), closely).unwrap() {
                Ok(patch) => patch.odd().join(", "),
                Err(e) => e.to_string(),
            };
        for (media, body, closely, want) in [
            (
                JSON,
                "{}",
                true,
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            ),
            (JSON, "{}", false, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
            (
                JSON,
                "[1]",
                true,
                "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
            ),
            (
                JSON,
                r#"[{"op":1}]"#,
                true,
                "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
            ),
            (
                JSON,
                r#"[{"op":"add","path":"/a","value":1,"valu":2,"op":"add"}]"#,
                true,
                r#"json patch duplicate field "[0].op", json patch unknown field "[0].valu""#,
            ),
            (JSON, "null", true, ""),
            (
                MERGE,
                "[]",
                true,
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (MERGE, "[]", false, "Invalid JSON Patch"),
            (MERGE, "null", true, "Invalid JSON Patch"),
            (MERGE, "{", true, "error decoding patch: unexpected end of JSON input"),
            (MERGE, r#"{"a":1,"a":2}"#, true, r#"duplicate field "a""#),
        ] {
            assert_eq!(told(media, body, closely), want, "{body} {closely}");
        }
    }
}
