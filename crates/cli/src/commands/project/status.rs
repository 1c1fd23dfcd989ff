//! `project status`: how fresh the tokens of a root are.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokensmith_agent::projector::status::Status;
use tokensmith_core::Clock;
use tokensmith_core::clock::SystemClock;

use crate::failure::Failure;
use crate::output::{self, Output};

/// Tell how fresh the tokens below a root are
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The folder that `tokensmith project` keeps
    #[arg(long, value_name = "DIR", env = "TOKENSMITH_ROOT")]
    pub root: PathBuf,

    /// Print it as
    #[arg(long, short, value_name = "FORM", value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

impl StatusArgs {
    /// Prints what is there. It needs no agent: one that has died raises no alarm, but its tokens grow old.
    ///
    /// # Errors
    /// The folder cannot be read; exit code 3 when something needs someone.
    pub fn run(self) -> Result<(), Failure> {
        let status = Status::read(&self.root, SystemClock::new().now());
        let status = status.map_err(|e| Failure::failed(format!("cannot read {e}")))?;
        let data = serde_json::to_value(&status).context("cannot print the status")?;
        output::print(self.output, &data, || status.to_string())?;
        match status.alarms.as_slice() {
            [] => Ok(()),
            [alarm] => Err(Failure::guard(alarm.to_string())),
            [alarm, others @ ..] => Err(Failure::guard(format!("{alarm}; and {} more", others.len()))),
        }
    }
}
