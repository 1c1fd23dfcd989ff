//! A query's parameters as Go reads them (`net/url`, apimachinery `runtime/conversion.go`).

use std::num::{IntErrorKind, ParseIntError};

use tokensmith_objects::FieldError;
use tokensmith_objects::field::go_quote;

use tokensmith_core::access::request::{flag, parameters};
use tokensmith_core::error::Error;

/// A query that has been taken apart.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn read(query: &str) -> Self {
        Query(parameters(query).collect())
    }

    /// All values of a parameter, in their order.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == name).map(|(_, v)| v.clone()).collect()
    }

    /// The first value, if the parameter is there at all.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// The first value; an absent parameter is an empty one.
    pub(super) fn text(&self, name: &str) -> String {
        self.first(name).unwrap_or_default().to_owned()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.first(name).map(flag)
    }

    /// A number in Go's words for what is none; an empty value is none, too.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        let Some(text) = self.first(name) else { return Ok(None) };
        let parsed = text.parse().map(Some);
        parsed.map_err(|e| Error::BadRequest(NoNumber::new("ParseInt", text, e).to_string()))
    }
}

/// A number as Go's `strconv.ParseUint` reads it: digits alone.
pub(crate) fn unsigned(text: &str) -> Result<u64, NoNumber> {
    let digits = if text.starts_with('+') { "-" } else { text };
    digits.parse().map_err(|e| NoNumber::new("ParseUint", text, e))
}

/// The resource version that an option asks for; 0 where it is empty.
pub(super) fn revision(text: &str) -> Result<u64, FieldError> {
    match text {
        "" => Ok(0),
        text => unsigned(text)
            .map_err(|cause| FieldError::invalid("resourceVersion", &text.into(), cause.to_string())),
    }
}

/// A text that is no number, in the words of Go's `strconv`.
#[derive(Debug, thiserror::Error)]
#[error("strconv.{function}: parsing {}: {}", go_quote(text), go_words(source))]
pub(crate) struct NoNumber {
    function: &'static str,
    text: String,
    source: ParseIntError,
}

impl NoNumber {
    fn new(function: &'static str, text: &str, source: ParseIntError) -> Self {
        NoNumber { function, text: text.to_owned(), source }
    }
}

fn go_words(e: &ParseIntError) -> &'static str {
    match e.kind() {
        IntErrorKind::NegOverflow | IntErrorKind::PosOverflow => "value out of range",
        _ => "invalid syntax",
    }
}
