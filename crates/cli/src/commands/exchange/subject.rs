//! The tokens that are given: from files, pipes, or a server. None comes from the command line, which everyone can read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use serde_json::json;

use crate::client::connect;
use crate::client::flags::ClientFlags;
use crate::commands::mint::{request, token_of};
use crate::commands::named::named;
use crate::failure::Failure;

/// Tokens have a few thousand bytes.
const MAX: u64 = 64 << 10;

/// The token in a file; of `-` and of nothing, standard input's.
///
/// # Errors
/// It cannot be read, or is none.
pub fn read(file: Option<&Path>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let name = match file.filter(|path| *path != "-") {
        Some(path) => {
            let file = File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut bytes));
            file.map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
            path.display().to_string()
        }
        None => {
            if io::stdin().is_terminal() {
                let text = "no token to give: pipe one in, or give --token-file or --service-account";
                return Err(Failure::usage(text));
            }
            let read = io::stdin().take(MAX + 1).read_to_end(&mut bytes);
            read.map_err(|e| Failure::failed(format!("cannot read standard input: {e}")))?;
            "standard input".to_owned()
        }
    };
    let none = |why: &str| Failure::failed(format!("{name} holds no token: {why}"));
    if bytes.len() as u64 > MAX {
        return Err(none("it is longer than 64 KiB"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| none("it is no text"))?.trim();
    match text {
        "" => Err(none("it is empty")),
        text if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err(none("there are blanks or line breaks in it"))
        }
        text => Ok(text.to_owned()),
    }
}

/// A token of an account.
///
/// # Errors
/// The server cannot be reached, or refuses.
pub async fn minted(client: &ClientFlags, name: &str, audiences: &[String]) -> Result<String, Failure> {
    let target = client.target()?;
    let (namespace, name) = named("service account", name, client, &target)?;
    let mut body = json!({ "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {} });
    if !audiences.is_empty() {
        body["spec"]["audiences"] = audiences.into();
    }
    let answer = request(&connect(&target)?, namespace, name, &body).await?;
    token_of(&answer).map(str::to_owned)
}
