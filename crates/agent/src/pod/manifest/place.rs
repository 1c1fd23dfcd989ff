//! Where in which file something stands, and what a manifest has that is not taken.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::super::error::one_line;

/// Where something stands, as `FILE:LINE`, for people who look it up there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Where its document begins, from 1.
    pub line: usize,
    /// Which item of a list, from 0.
    pub item: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        self.item.map_or(Ok(()), |at| write!(f, " items[{at}]"))
    }
}

/// Something that stands in a manifest and is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// E.g. `Role default/reader`.
    pub what: String,
    /// Where it stands.
    pub place: Place,
    /// It has a pod template, which is taken when that is asked for.
    pub template: bool,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.template {
            true => "--from-templates takes the pod of its template",
            false => "no volume is made of it",
        };
        write!(f, "{}: {} is left out: {why}", self.place, self.what)
    }
}

/// An object as people name it: its kind, and where it is known its namespace, and its name.
pub(super) fn named(kind: &str, object: &Value) -> String {
    let meta = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let name = match (meta("name"), meta("generateName")) {
        ("", prefix) => format!("{prefix}…"),
        (name, _) => name.to_owned(),
    };
    let space = meta("namespace");
    let slash = if space.is_empty() { "" } else { "/" };
    one_line(&format!("{kind} {space}{slash}{name}"))
}
