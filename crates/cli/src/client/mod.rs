//! The command line as a client: which server, with which credentials, and the requests themselves.

pub mod flags;

use tokensmith_client::Client;
use tokensmith_client::Target;
pub use tokensmith_client::{http, target, tls};

use crate::failure::Failure;

/// A client that prints the server's warnings as kubectl does.
///
/// # Errors
/// The target's certificates cannot be used.
pub fn connect(target: &Target) -> Result<Client, Failure> {
    Ok(Client::new(target)?.on_warning(|text| crate::output::aside(&format!("Warning: {text}"))))
}
