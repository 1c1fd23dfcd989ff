//! Logs of the commands that stay: to standard error, as `TOKENSMITH_LOG` filters them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use crate::output::colours;

/// Begins to log; a second call in one process changes nothing.
pub fn start() {
    begin("warn,tokensmith=info");
}

/// Begins to log warnings alone: the output is another program's.
pub fn start_quietly() {
    begin("warn");
}

fn begin(filter: &str) {
    let filter = EnvFilter::try_from_env("TOKENSMITH_LOG").unwrap_or_else(|_| EnvFilter::new(filter));
    let begun = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Of a line that cannot be written nothing is said: that goes to the same place, and panics if it fails.
        .log_internal_errors(false)
        .with_ansi(colours(&io::stderr()))
        .try_init();
    if begun.is_ok() {
        std::panic::set_hook(Box::new(panicked));
        // Around that one.
        tokensmith_store::hush();
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
