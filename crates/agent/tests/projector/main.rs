//! The projector against an API server in memory, with a clock that tests move.

mod api;
mod basics;
mod clocks;
mod fleet;
#[path = "../../src/refresh/kubelet.rs"]
mod kubelet;
mod memory;
mod objects;
mod restart;
mod running;
mod trouble;
mod world;
