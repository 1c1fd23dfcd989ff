//! Logs of the commands that stay: to standard error, as `TOKENSMITH_LOG` filters them.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Begins to log; a second call in one process changes nothing.
pub fn start() {
    let filter =
        EnvFilter::try_from_env("TOKENSMITH_LOG").unwrap_or_else(|_| EnvFilter::new("warn,tokensmith=info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}
