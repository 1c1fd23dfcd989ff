//! Why a command did not do what it was asked, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

use tokensmith_core::ledger::jti::holds_token;

use crate::output::{Closed, aside, print_coloured, printable};

/// A command's failure. Its text is one line: what is wrong and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Exit code 141, as of a program that SIGPIPE ends, and nothing to say: nobody reads what it prints any more.
    Closed,
    /// This exit code, and nothing to say: a command that was run for the user ended so.
    Exit(u8),
    /// Exit code 1: it was tried and did not work.
    Failed(String),
    /// Exit code 3: it would have worked, but would have harmed what is there.
    Guard(String),
    /// Exit code 0: the user asked for help or the version, here it is.
    Help(String),
    /// Exit code 2: what was asked for makes no sense.
    Usage(String),
}

impl Failure {
    /// It did not work.
    pub fn failed(text: impl Into<String>) -> Self {
        Failure::Failed(text.into())
    }

    /// A guard refuses.
    pub fn guard(text: impl Into<String>) -> Self {
        Failure::Guard(text.into())
    }

    /// The command line is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Failure::Usage(text.into())
    }

    /// Prints the text where it belongs and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if let Failure::Help(text) = self {
            let printed = print_coloured(text);
            return printed.map_or_else(|e| Failure::from(e).report(), |()| ExitCode::SUCCESS);
        }
        if !matches!(self, Failure::Closed | Failure::Exit(_)) {
            aside(&format!("error: {}", printable(&without_tokens(&one_line(&self.to_string())))));
        }
        ExitCode::from(self.code())
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Closed => 141,
            Failure::Exit(code) => *code,
            Failure::Help(_) => 0,
            Failure::Failed(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Guard(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Closed => write!(f, "{Closed}"),
            Failure::Exit(code) => write!(f, "exit code {code}"),
            Failure::Failed(text) | Failure::Guard(text) | Failure::Help(text) | Failure::Usage(text) => {
                f.write_str(text)
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        if error.is::<Closed>() {
            return Failure::Closed;
        }
        Failure::Failed(format!("{error:#}"))
    }
}

impl From<tokensmith_client::Error> for Failure {
    fn from(error: tokensmith_client::Error) -> Self {
        match error {
            tokensmith_client::Error::Failed(text) => Failure::Failed(text),
            tokensmith_client::Error::Usage(text) => Failure::Usage(text),
        }
    }
}

/// What stands for a value that is not repeated.
pub const WITHHELD: &str = "(withheld)";

/// A token that was given as a file, a name or a context would be in every log that keeps the error.
fn without_tokens(line: &str) -> String {
    if !holds_token(line) {
        return line.to_owned();
    }
    let words = line.split(' ').map(|word| if holds_token(word) { WITHHELD } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// All of a text as one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
