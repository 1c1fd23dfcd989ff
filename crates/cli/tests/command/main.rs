//! `tokensmith` as a command among others: pipes, terminals, what it says.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod certificates;
mod ci;
mod help;
mod logs;
mod pipes;
#[path = "../operator/process.rs"]
#[expect(dead_code, reason = "another suite uses the rest")]
mod process;
mod secrets;
mod surroundings;
mod usage;
