//! The command line as a client: which server, with which credentials, and the requests themselves.

pub mod flags;
pub mod http;
pub mod target;
pub mod tls;
