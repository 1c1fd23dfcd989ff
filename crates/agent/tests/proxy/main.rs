//! The proxy over real sockets, and the source of its tokens.
//!
//! `world` starts proxies, `upstream` is what is behind them and tells what it has got.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod api_source;
mod browsers;
mod claims;
mod crowd;
mod drain;
mod exchange;
mod file_source;
mod forward;
mod grpc;
mod layer;
mod limits;
mod reverse;
mod revoked_keys;
mod smuggling;
mod streaming;
mod token_mode;
mod tunnels;
mod unix_sockets;
mod upstream;
mod verified;
mod world;
