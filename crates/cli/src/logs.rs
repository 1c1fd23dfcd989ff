//! Logs of the commands that stay: to standard error, as `TOKENSMITH_LOG` filters them.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

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
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init();
}
