//! The projector against an API server in memory, with a clock that tests move.

mod api;
mod basics;
mod memory;
mod world;
