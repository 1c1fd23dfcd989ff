//! Why a command did not do what it was asked, and the exit code that says so.

use std::fmt;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::output::{Closed, aside, print_text};

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
            let printed = print_text(text);
            return printed.map_or_else(|e| Failure::from(e).report(), |()| ExitCode::SUCCESS);
        }
        if !matches!(self, Failure::Closed | Failure::Exit(_)) {
            aside(&format!("error: {}", one_line(&self.to_string())));
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

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Failure::Help(error.render().ansi().to_string())
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Failure::Usage(
                "a command is missing; `tokensmith --help` lists them, `tokensmith COMMAND --help` explains one"
                    .into(),
            ),
            _ => Failure::Usage(clap_line(&error)),
        }
    }
}

/// clap explains itself over several paragraphs; this keeps the finding, the tips and where to read on.
fn clap_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut line = String::new();
    for paragraph in text.split("\n\n") {
        let paragraph = paragraph.trim();
        if paragraph.is_empty() || paragraph.starts_with("Usage:") || paragraph.starts_with("For more") {
            continue;
        }
        if !line.is_empty() {
            line.push_str("; ");
        }
        line.push_str(&one_line(paragraph.strip_prefix("error: ").unwrap_or(paragraph)));
    }
    let command = match error.get(ContextKind::Usage) {
        // "Usage: tokensmith serve [OPTIONS]": the words before the first flag or placeholder.
        Some(ContextValue::StyledStr(usage)) => usage
            .to_string()
            .trim_start_matches("Usage: ")
            .split_whitespace()
            .take_while(|w| w.chars().all(|c| c.is_ascii_lowercase()))
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::from("tokensmith"),
    };
    format!("{line}; see `{command} --help`")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn failure(args: &[&str]) -> Failure {
        Cli::try_parse_from(["tokensmith"].iter().chain(args)).map(|_| ()).unwrap_err().into()
    }

    #[test]
    fn a_wrong_flag_is_one_line_with_a_tip() {
        let Failure::Usage(text) = failure(&["serve", "--secure-prt=1"]) else { panic!() };
        assert_eq!(
            text,
            "unexpected argument '--secure-prt' found; tip: a similar argument exists: '--secure-port'; see `tokensmith serve --help`"
        );
    }

    #[test]
    fn a_wrong_value_says_what_is_wrong_with_it() {
        let Failure::Usage(text) = failure(&["serve", "--secure-port=70000"]) else { panic!() };
        assert!(
            text.starts_with("invalid value '70000' for '--secure-port <PORT>': 70000 is not in 0..=65535"),
            "{text}"
        );
    }

    #[test]
    fn help_is_no_failure() {
        assert_eq!(failure(&["serve", "--help"]).code(), 0);
        assert_eq!(failure(&[]).code(), 2);
    }
}
