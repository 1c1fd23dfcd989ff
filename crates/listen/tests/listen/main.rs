//! The accept loop and its connections, on loopback and a clock that is moved.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod answers;
mod end;
mod newcomers;
mod requests;
mod world;
