//! A command in the place of a container: its pod's volumes at their mount paths, and its environment.
//!
//! ```text
//! pod, Root ─► Context::prepare ─► Prepared ─► file ─► run ─► a process of its own: init ─► the command
//!                (environment)                        (command)      └─► namespace::enter
//! ```
//!
//! Promises: nothing outside the command's process changes, no folder is made on the machine for a mount path; a secret of
//! the environment is in no argument; signals reach the command, and its exit code comes back. Where no namespace can be
//! had, the environment names the places where the volumes really are. What the command of a killed process has left running
//! is found by its namespace, and ended (`survivors`). It reads pods and roots by `tokensmith-agent`, which keeps the volumes
//! fresh meanwhile; it knows no flags, and writes no file itself.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod command;
mod environment;
mod error;
pub mod init;
pub mod namespace;
pub mod survivors;
mod variables;

pub use command::{Signals, exit_code, run, signalled, signals};
pub use environment::{Context, Prepared};
pub use error::{EnvError, ExecError};
pub use init::{InitError, Spec, init};
pub use variables::EnvPlan;
