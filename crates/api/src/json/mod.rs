//! JSON as Go reads and writes it.

mod read;
mod write;

pub use read::{MAX_DEPTH, Parsed, SyntaxError, parse};
pub use write::{Members, indent, list, sorted, to_vec, write, write_int, write_sorted, write_str};
