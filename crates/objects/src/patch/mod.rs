//! Patches: a document and a change give a new document.
//!
//! Strategic merge and apply take the same place: another variant, the same `apply`.

mod json;
mod merge;
mod tree;

use serde_json::Value;

use crate::codec::repeated;

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
}

/// Why a patch does not apply; the text is the message that the client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 400: it is no patch.
    #[error(transparent)]
    Malformed(#[from] Malformed),
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
    /// A JSON patch is a list.
    #[error("json: cannot unmarshal object into Go value of type jsonpatch.Patch")]
    NoList,
    /// A merge patch is an object.
    #[error("Invalid JSON Patch")]
    NoObject,
}

/// As many operations as kube-apiserver takes in one JSON patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// ```
/// use serde_json::json;
/// use tokensmith_objects::patch::Patch;
///
/// let patch = Patch::read("application/merge-patch+json", br#"{"a": null, "b": 2}"#).unwrap()?;
/// assert_eq!(patch.apply(&json!({"a": 1}))?, json!({"b": 2}));
/// assert!(Patch::read("text/plain", b"").is_none());
/// # Ok::<_, tokensmith_objects::patch::PatchError>(())
/// ```
impl Patch {
    /// The patch that a body of this media type is; `None` for another media type.
    pub fn read(media: &str, body: &[u8]) -> Option<Result<Patch, PatchError>> {
        let read = |wrap: fn(Value) -> Change, whose: &str| {
            let parsed = tokensmith_api::json::parse(body);
            let parsed = parsed.map_err(Malformed::from)?;
            let odd = repeated(&parsed.duplicates).into_iter().map(|text| format!("{whose}{text}")).collect();
            Ok(Patch { change: wrap(parsed.value), odd })
        };
        match media {
            "application/json-patch+json" => Some(read(Change::Json, "json patch ")),
            "application/merge-patch+json" => Some(read(Change::Merge, "")),
            _ => None,
        }
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

    /// Whether there are patches of this media type.
    pub fn knows(media: &str) -> bool {
        ["application/json-patch+json", "application/merge-patch+json"].contains(&media)
    }

    /// The document after the change.
    pub fn apply(&self, document: &Value) -> Result<Value, PatchError> {
        match &self.change {
            Change::Json(patch) => json::apply(document, patch),
            Change::Merge(patch) => merge::apply(document, patch),
        }
    }
}
