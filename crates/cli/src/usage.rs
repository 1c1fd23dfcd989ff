//! What is said of a wrong command line, and how help is laid out.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};
use tokensmith_core::ledger::jti::holds_token;

use crate::failure::{Failure, WITHHELD, one_line};

/// No line is broken here, and it looks like a space; made one again when it is printed.
const TIED: char = '\u{a0}';

/// A command line, and the command that it is about.
pub struct Line {
    /// The arguments. A value below zero is tied to its flag: `--duration -5m` would be a bundle of flags.
    pub args: Vec<OsString>,
    /// `tokensmith token create`.
    pub command: String,
}

impl Line {
    /// Goes through the arguments.
    pub fn read(root: &Command, args: Vec<OsString>) -> Self {
        let (mut command, mut at) = (root.get_name().to_owned(), root);
        let (mut out, mut args) = (Vec::with_capacity(args.len()), args.into_iter().peekable());
        out.extend(args.next());
        while let Some(arg) = args.next() {
            let text = arg.to_str().unwrap_or_default().to_owned();
            if text == "--" {
                out.push(arg);
                break;
            }
            if let Some(inner) = at.find_subcommand(&text) {
                command = format!("{command} {}", inner.get_name());
                at = inner;
            }
            if !takes_value(at, &text) {
                out.push(arg);
            } else if args.peek().is_some_and(|value| below_zero(value)) {
                let mut tied = arg;
                tied.push("=");
                tied.extend(args.next());
                out.push(tied);
            } else {
                out.push(arg);
                out.extend(args.next());
            }
        }
        out.extend(args);
        Line { args: out, command }
    }

    /// The grammar of that command.
    pub fn at<'a>(&self, root: &'a Command) -> &'a Command {
        let mut names = self.command.split(' ').skip(1);
        names.try_fold(root, |at, name| at.find_subcommand(name)).unwrap_or(root)
    }

    /// What clap has to say.
    pub fn failure(&self, root: &Command, error: &clap::Error) -> Failure {
        let command = &self.command;
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Failure::Help(untied(&error.render().ansi().to_string()))
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Failure::Usage(format!(
                "a command is missing; `{command} --help` lists them, `{command} COMMAND --help` explains one"
            )),
            _ => {
                let from = self.variable(root, error).map(|name| format!(" (from {name})"));
                Failure::Usage(format!(
                    "{}{}; see `{command} --help`",
                    found(error),
                    from.unwrap_or_default()
                ))
            }
        }
    }

    /// Where a wrong value comes from, if it is not from here.
    fn variable(&self, root: &Command, error: &clap::Error) -> Option<String> {
        let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
        let flag = shown.split([' ', '=', '[']).next()?;
        let here = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(flag));
        let arg = self
            .at(root)
            .get_arguments()
            .find(|arg| arg.get_long().is_some_and(|long| flag == format!("--{long}")))?;
        let name = arg.get_env().filter(|name| std::env::var_os(name).is_some())?;
        (!self.args.iter().any(here)).then(|| name.to_string_lossy().into_owned())
    }
}

fn takes_value(command: &Command, arg: &str) -> bool {
    let named = |given: &&Arg| given.get_long().is_some_and(|long| arg.strip_prefix("--") == Some(long));
    let needs = |given: &Arg| given.get_action().takes_values() && !given.is_require_equals_set();
    command.get_arguments().find(named).is_some_and(needs)
}

/// No flag begins with a digit.
fn below_zero(value: &OsStr) -> bool {
    let text = value.to_str().and_then(|text| text.strip_prefix('-'));
    text.is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// clap explains itself over several paragraphs; this keeps the finding and the tips.
fn found(error: &clap::Error) -> String {
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
    withheld(error, &line)
}

/// No flag, name or number that is worth repeating is longer.
const LONGEST: usize = 64;

/// The finding without what may be a secret: a token that lacks its quotes or stands in the wrong place, a password in a URL.
fn withheld(error: &clap::Error, line: &str) -> String {
    let given = [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue];
    let given = given.into_iter().filter_map(|kind| error.get(kind));
    let mut line = line.to_owned();
    for value in given {
        // Of several words each may look harmless.
        if let ContextValue::String(value) = value
            && value.contains(char::is_whitespace)
            && is_withheld(value)
        {
            line = line.replace(&one_line(value), WITHHELD);
        }
    }
    let words = line.split(' ').map(|word| {
        // What surrounds it, and its dashes, show what was made of it.
        let bare = word.trim_matches(|c: char| "'\"`,;:()".contains(c)).trim_start_matches('-');
        if is_withheld(bare) { word.replace(bare, WITHHELD) } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a value is long, holds a token, or says who one is, as `jane:s3cret@host` does.
fn is_withheld(value: &str) -> bool {
    let somebody = |value: &str| value.split_once('@').is_some_and(|(before, _)| before.contains(':'));
    // clap's own lists of flags are not a value.
    let own = value.starts_with(['<', '[']);
    !own && (value.chars().nth(LONGEST).is_some() || holds_token(value) || somebody(value))
}

/// The text below the flags: lines that are indented are to be pasted and stay as they are, however wide; others are prose,
/// whose lines in the source are not the reader's.
pub fn laid_out(text: &str) -> String {
    let mut out = String::new();
    let mut prose = false;
    for line in text.lines() {
        let pasted = line.starts_with(' ');
        match (line.is_empty(), pasted) {
            (true, _) => out.push_str("\n\n"),
            (_, true) => out.push_str(&format!("\n{}", line.replace(' ', &TIED.to_string()))),
            _ if prose => out.push_str(&format!(" {line}")),
            _ => out.push_str(&format!("\n{line}")),
        }
        prose = !line.is_empty() && !pasted && !line.ends_with(':');
    }
    while out.contains("\n\n\n") {
        out = out.replace("\n\n\n", "\n\n");
    }
    out.trim_matches('\n').to_owned()
}

/// The text with spaces where lines were tied together.
pub fn untied(text: &str) -> String {
    text.replace(TIED, " ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    fn line(words: &[&str]) -> Line {
        let args = ["tokensmith"].iter().chain(words).map(Into::into).collect();
        Line::read(&Cli::command(), args)
    }

    #[test]
    fn the_command_is_found_among_its_arguments() {
        for (words, command) in [
            (&["token", "create", "list"][..], "tokensmith token create"),
            (&["token", "--help"], "tokensmith token"),
            (&["backup", "--to", "verify"], "tokensmith backup"),
            (&["backup", "verify", "x"], "tokensmith backup verify"),
            (&["nothing", "serve"], "tokensmith serve"),
            (&["serve", "--", "token"], "tokensmith serve"),
            (&[], "tokensmith"),
        ] {
            assert_eq!(line(words).command, command, "{words:?}");
        }
    }

    #[test]
    fn a_value_below_zero_is_a_value() {
        for (words, args) in [
            (&["token", "create", "--duration", "-5m"][..], "tokensmith token create --duration=-5m"),
            (
                &["serve", "--secure-port", "-1", "--ephemeral"],
                "tokensmith serve --secure-port=-1 --ephemeral",
            ),
            (&["token", "create", "x", "-5m"], "tokensmith token create x -5m"),
            (&["token", "list", "--output", "json"], "tokensmith token list --output json"),
            (&["serve", "--", "--event-ttl", "-5m"], "tokensmith serve -- --event-ttl -5m"),
        ] {
            assert_eq!(line(words).args.join(" ".as_ref()), args, "{words:?}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_withheld() {
        let long = "a".repeat(LONGEST);
        for harmless in ["", "-", "--secure-prt", "token", "jane@example.com", "https://h:6443", &long] {
            assert!(!is_withheld(harmless), "{harmless}");
        }
        let token = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA";
        for secret in [
            token,
            &format!("Bearer {token}"),
            &format!("token={token}"),
            "jane:s3cret@10.0.0.1:6443",
            "https://jane:s3cret@h",
            &format!("{long}a"),
        ] {
            assert!(is_withheld(secret), "{secret}");
        }
    }

    #[test]
    fn prose_flows_and_what_is_pasted_stays() {
        let text = "Some prose\nthat goes on.\n\nExamples:\n  # one\n  a  b\n\n  c\nAnd\nmore.";
        assert_eq!(
            untied(&laid_out(text)),
            "Some prose that goes on.\n\nExamples:\n  # one\n  a  b\n\n  c\nAnd more."
        );
    }
}
