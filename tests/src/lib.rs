//! What the black-box suites share: a real `tokensmith` process with a data directory of its own, and a
//! client that speaks to it over TLS with its CA.

pub mod agent;
pub mod client;
pub mod cost;
pub mod jws;
pub mod process;
pub mod server;
pub mod token_endpoint;

pub use agent::Agent;
pub use client::{Answer, Client};
pub use server::Server;
pub use token_endpoint::TokenEndpoint;
