//! The projector against an API server in memory, with a clock that tests move.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod api;
mod basics;
mod checks;
mod clocks;
mod disk;
mod exchange;
mod fleet;
#[path = "../../src/refresh/kubelet.rs"]
mod kubelet;
mod listed;
mod memory;
mod objects;
mod restart;
mod running;
mod trouble;
mod world;
