//! Patches: a document and a change give a new document.
//!
//! Strategic merge and apply take the same place: another variant, the same `apply`.

mod json;
mod merge;

use serde_json::Value;

/// A change that a client sends with PATCH.
#[derive(Debug)]
pub enum Patch {
    /// `application/json-patch+json` (RFC 6902).
    Json(Value),
    /// `application/merge-patch+json` (RFC 7386).
    Merge(Value),
}

/// Why a patch does not apply; the text is the message that the client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 400: it is no patch.
    #[error("{0}")]
    Malformed(String),
    /// 413: it has more operations than allowed.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
    /// 422: it does not fit the document.
    #[error("the server rejected our request due to an error in our request")]
    Unfit,
}

/// As many operations as kube-apiserver takes in one JSON patch.
pub const MAX_OPERATIONS: usize = 10_000;

impl Patch {
    /// The patch that a body of this media type is; `None` for another media type.
    pub fn read(media: &str, body: &[u8]) -> Option<Result<Patch, PatchError>> {
        let read = |wrap: fn(Value) -> Patch| {
            let parsed = tokensmith_api::json::parse(body);
            parsed.map(|p| wrap(p.value)).map_err(|e| PatchError::Malformed(e.to_string()))
        };
        match media {
            "application/json-patch+json" => Some(read(Patch::Json)),
            "application/merge-patch+json" => Some(read(Patch::Merge)),
            _ => None,
        }
    }

    /// The document after the change.
    pub fn apply(&self, document: &Value) -> Result<Value, PatchError> {
        match self {
            Patch::Json(patch) => json::apply(document, patch),
            Patch::Merge(patch) => merge::apply(document, patch),
        }
    }
}
