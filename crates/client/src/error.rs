//! Why there is no client, or no answer.

use std::fmt;

/// A failure. Its text is one line without secrets: what is wrong and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It was tried and did not work.
    Failed(String),
    /// What was asked for makes no sense.
    Usage(String),
}

impl Error {
    /// It did not work.
    pub fn failed(text: impl Into<String>) -> Self {
        Error::Failed(text.into())
    }

    /// It makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Error::Usage(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Error::Failed(text) | Error::Usage(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for Error {}
