//! Why a selector is none, in the words that Kubernetes answers with.

use crate::field::go_quote;

/// Why a text or an object is no selector; the text is the message that the client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// A backslash before something else than a backslash, a comma or an equals sign.
    #[error("invalid field selector: invalid escape sequence in value: {0}")]
    Escape(String),
    /// A key or a value that no label has.
    #[error("{what}: Invalid value: {}: {}", go_quote(text), findings.join("; "))]
    Invalid {
        /// Where it stands.
        what: String,
        /// The key or value.
        text: String,
        /// What is wrong with it.
        findings: Vec<String>,
    },
    /// A comparison with what is no number.
    #[error("values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer", go_quote(.0))]
    NoInteger(String),
    /// A set that is empty where it must not be.
    #[error("for 'in', 'notin' operators, values set can't be empty")]
    NoValues,
    /// An operator that an object cannot have.
    #[error("{} is not a valid label selector operator", go_quote(.0))]
    Operator(String),
    /// A set that does not begin.
    #[error("found '{0}' expected: '('")]
    Parenthesis(String),
    /// What is wrong with one requirement.
    #[error("unable to parse requirement: {0}")]
    Requirement(Box<SelectorError>),
    /// A field requirement without an operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// All of the text.
        selector: String,
        /// The part of it.
        term: String,
    },
    /// The same in words of the kind's own.
    #[error("{0}")]
    Unselectable(String),
    /// A field that objects of a kind are not selected by which has no fields of its own for that.
    #[error("{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", go_quote(.0))]
    Unknown(String),
    /// Something stands where something else should.
    #[error("found '{found}', expected: {expected}")]
    Unexpected {
        /// What stands there; empty at the end.
        found: String,
        /// What could.
        expected: &'static str,
    },
    /// A comma or an equals sign without its backslash.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(char),
    /// A field that objects of the kind are not selected by.
    #[error("field label not supported: {0}")]
    Unsupported(String),
    /// A set where there must be none.
    #[error("values set must be empty for exists and does not exist")]
    Values,
}

impl SelectorError {
    pub(super) fn unexpected(found: &str, expected: &'static str) -> Self {
        SelectorError::Unexpected { found: found.into(), expected }
    }
}
