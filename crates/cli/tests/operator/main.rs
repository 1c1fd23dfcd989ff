//! `tokensmith` as an operator runs it: what it leaves on disk, what it writes down, what it refuses to start with.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod audit;
mod client;
mod files;
mod health;
mod issuers;
mod lost;
#[expect(dead_code, reason = "another suite uses the rest")]
mod process;
