//! The command line as a client: which server, with which credentials, and the requests themselves.

pub mod flags;

use tokensmith_client::Client;
use tokensmith_client::Target;
pub use tokensmith_client::{http, target};

use crate::failure::Failure;

/// A client that prints the server's warnings as kubectl does, and waits where the server asks for it.
///
/// # Errors
/// The target's certificates cannot be used.
pub fn connect(target: &Target) -> Result<Client, Failure> {
    let client = Client::new(target)?.patient();
    Ok(client.on_warning(|text| crate::output::aside(&format!("Warning: {text}"))))
}
