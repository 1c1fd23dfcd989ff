//! Connections: the one accept loop, for the server, the sidecar, the signer and what is looked at by operators.
//!
//! ```text
//! accept ─► crowd (a place, or another's) ─► tls (hello, a turn, handshake) ─► http (requests, a turn each) ─► Serve
//! ```
//!
//! Promises: whoever says nothing, little, or too much costs a bounded amount, and never keeps another one out. Connections
//! have places, in all and by address; a newcomer takes the place of the one who has been silent for longest. Work has turns,
//! which go round the addresses and, within each, its connections. Headers that wait, and answers that nobody reads, are
//! bounded in bytes. A stop waits for what is under way, and for nobody who is silent. It knows neither who a client is nor
//! what is asked.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod accept;
mod activity;
mod begun;
mod block;
mod body;
mod bounds;
mod crowd;
pub mod descriptors;
mod frames;
mod gather;
mod hpack;
mod http;
mod metered;
#[cfg(test)]
mod pieces;
mod places;
mod reply;
mod serve;
pub mod socket;
mod stats;
mod stream;
mod sums;
mod target;
mod tls;
mod turns;
mod unread;

pub use accept::{Accept, Accepted, Listening, TcpAccept, serve};
pub use body::RequestBody;
pub use bounds::Bounds;
pub use http::Strange;
pub use places::Lifetime;
pub use reply::Weight;
pub use serve::{Connection, Serve};
pub use stats::Stats;
pub use stream::Socket;
pub use tls::{Here, Tls, TlsSettings};
pub use unread::Room;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
