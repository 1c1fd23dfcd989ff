//! A token, or its id, from wherever a user has it: argument, file or standard input.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use crate::failure::Failure;

/// A token is some kilobytes; what is longer is something else.
const MAX: u64 = 1 << 20;

/// The text; of an argument that is not there or `-`, standard input's.
///
/// # Errors
/// It cannot be read, or a terminal is asked.
pub fn read(argument: Option<&str>, file: Option<&Path>) -> Result<String, Failure> {
    let mut text = String::new();
    match (argument, file) {
        (Some(token), _) if token != "-" => text.push_str(token),
        (_, Some(path)) if path != "-" => {
            let file = std::fs::File::open(path);
            let read = file.and_then(|f| f.take(MAX + 1).read_to_string(&mut text));
            read.map_err(|e| Failure::failed(format!("cannot read {}: {e}", path.display())))?;
        }
        _ => {
            if io::stdin().is_terminal() {
                return Err(Failure::usage(
                    "no token: pipe one in, or give --file, or the token itself as argument",
                ));
            }
            let read = io::stdin().take(MAX + 1).read_to_string(&mut text);
            read.map_err(|e| Failure::failed(format!("cannot read standard input: {e}")))?;
        }
    }
    match text.len() as u64 {
        0..=MAX => Ok(text),
        _ => Err(Failure::failed("this is not a token: it is longer than 1 MiB")),
    }
}
