//! Logs of the commands that stay: lines on standard error, for people or as JSON, as `--log` (`TOKENSMITH_LOG`) lets them
//! through. `RUST_LOG` is not read: it is meant for whatever else runs in the same environment.
//!
//! A level alone is about tokensmith; the libraries below warn. They are asked by name (`debug,h2=debug`), and some of them
//! show what is on the wire at `trace`: so none of them gets further than `debug`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::panic::PanicHookInfo;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, ValueEnum};
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::given;
use crate::output::colours;

/// The variable of `--log-format`.
pub const FORMAT: &str = "TOKENSMITH_LOG_FORMAT";

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogFlags {
    /// Log lines of this level and above: off, error, warn, info, debug or trace; TARGET=LEVEL, by commas, for parts and for
    /// libraries (info,tokensmith_registry=debug,h2=debug)
    #[arg(long, value_name = "LEVEL", env = "TOKENSMITH_LOG")]
    log: Option<Filter>,

    /// The form of the log
    #[arg(long, value_name = "FORM", env = FORMAT, value_enum, default_value_t)]
    log_format: Format,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An object with timestamp, level, message, target and what belongs to it.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Which lines are let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    own: LevelFilter,
    parts: Vec<(String, LevelFilter)>,
}

/// What is no filter.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL")]
pub struct NoFilter(String);

impl FromStr for Filter {
    type Err = NoFilter;

    fn from_str(text: &str) -> Result<Self, NoFilter> {
        let mut filter = Filter { own: LevelFilter::INFO, parts: Vec::new() };
        for part in text.split(',').map(str::trim) {
            let no = || NoFilter(part.to_owned());
            let named = |target: &str| {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                !target.is_empty() && target.chars().all(plain)
            };
            match part.split_once('=') {
                None => filter.own = level(part).ok_or_else(no)?,
                Some((target, shown)) if named(target) => {
                    filter.parts.push((target.to_owned(), level(shown).ok_or_else(no)?));
                }
                Some(_) => return Err(no()),
            }
        }
        Ok(filter)
    }
}

/// No number, and nothing that is empty, as the library would take it.
fn level(text: &str) -> Option<LevelFilter> {
    text.parse().ok().filter(|_| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic()))
}

/// As `EnvFilter` reads it.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},tokensmith={}", self.own.min(LevelFilter::WARN), self.own)?;
        for (target, level) in &self.parts {
            let most = if target.starts_with("tokensmith") { LevelFilter::TRACE } else { LevelFilter::DEBUG };
            write!(f, ",{target}={}", (*level).min(most))?;
        }
        Ok(())
    }
}

/// Whether what is said on standard error is to be JSON: from the moment that the format is known.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether standard error holds lines of JSON and nothing else.
pub fn as_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// Says what is wrong with a command line in the form that it asks for, which it may do before or behind what is wrong, or by
/// the variable. Only what stays has a log.
pub fn as_asked(command: &clap::Command, line: &[OsString], variable: Option<OsString>) {
    let Some(format) = command.get_arguments().find(|arg| arg.get_id() == "log_format") else { return };
    let Some(flag) = format.get_long().map(|long| format!("--{long}")) else { return };
    let mut given = variable;
    let mut line = line.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = line.next() {
        match arg.to_str().and_then(|arg| arg.strip_prefix(&flag)) {
            Some("") => given = line.next().cloned(),
            Some(value) => given = value.strip_prefix('=').map(Into::into).or(given),
            None => {}
        }
    }
    if given.is_some_and(|given| given == "json") {
        AS_JSON.store(true, Ordering::Relaxed);
    }
}

/// What is said beside the log, as a line of it. No filter keeps it away.
pub fn as_line(text: &str) -> String {
    let (level, message) = match text.split_once(": ") {
        Some(("error", rest)) => ("ERROR", rest),
        Some(("warning" | "Warning", rest)) => ("WARN", rest),
        Some(("note", rest)) => ("INFO", rest),
        _ => ("INFO", text),
    };
    let now = SystemClock::new().now().format(&Rfc3339).unwrap_or_default();
    json!({ "timestamp": now, "level": level, "message": message, "target": "tokensmith" }).to_string()
}

impl LogFlags {
    /// What is said from now on is in the log's form, what stops a start before the log begins included.
    pub fn speak(&self) {
        AS_JSON.store(self.log_format == Format::Json, Ordering::Relaxed);
    }

    /// Begins to log; a second call in one process changes nothing.
    pub fn start(&self) {
        self.begin(LevelFilter::INFO);
    }

    /// Begins to log warnings alone, unless more is asked for: the output is another program's.
    pub fn start_quietly(&self) {
        self.begin(LevelFilter::WARN);
    }

    fn begin(&self, usual: LevelFilter) {
        let filter = self.log.clone().unwrap_or(Filter { own: usual, parts: Vec::new() });
        let lines = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter.to_string()))
            .with_writer(io::stderr)
            // Of a line that cannot be written nothing is said: that goes to the same place, and panics if it fails.
            .log_internal_errors(false);
        let begun = match self.log_format {
            Format::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
            Format::Text => lines.with_ansi(colours(&io::stderr())).try_init(),
        };
        if begun.is_ok() {
            self.speak();
            std::panic::set_hook(Box::new(panicked));
            // Around that one.
            tokensmith_store::hush();
            // Who stays is told once what counts for nothing.
            given::warn_of_strangers();
        }
    }
}

/// Says where a panic was, and what it says if that is a text of the program's own.
fn panicked(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(place, thread = thread.name().unwrap_or("?"), "panicked: {}", said(info));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        tracing::error!("the panic's trace:\n{trace}");
    }
}

/// A text that was put together at run time may hold what it was about: `byte index 7 is not a char boundary` shows the
/// whole string, and that may be a client's token.
fn said<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    match (payload.downcast_ref::<&'static str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) if cfg!(debug_assertions) => text,
        _ => "its text is withheld, it may hold a secret",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_about_tokensmith_and_libraries_are_asked_by_name() {
        for (text, read) in [
            ("info", "warn,tokensmith=info"),
            ("DEBUG", "warn,tokensmith=debug"),
            ("error", "error,tokensmith=error"),
            ("off", "off,tokensmith=off"),
            ("warn,tokensmith=info", "warn,tokensmith=warn,tokensmith=info"),
            (
                "debug,h2=trace, tokensmith_core::keys=trace",
                "warn,tokensmith=debug,h2=debug,tokensmith_core::keys=trace",
            ),
        ] {
            assert_eq!(text.parse::<Filter>().unwrap().to_string(), read, "{text}");
        }
        for text in
            ["", "inof", "2", "info,", "h2=", "=info", "h2=loud", "[span]=info", "a b=info", "info debug"]
        {
            assert!(text.parse::<Filter>().is_err(), "{text:?}");
        }
    }
}
