//! JSON as Go reads and writes it.
//!
//! ```
//! use tokensmith_api::json;
//!
//! let read = json::parse(br#"{"b": 1, "a": "<", "b": 2.0}"#)?;
//! assert_eq!(read.duplicates, ["b"]);
//! assert_eq!(json::to_vec(&read.value), br#"{"b":2,"a":"\u003c"}"#);
//! let error = json::parse(b"{").unwrap_err();
//! assert_eq!(error.to_string(), "unexpected end of JSON input");
//!
//! let mut out = Vec::new();
//! let mut object = json::Members::begin(&mut out);
//! json::write_str(object.member("iss"), "https://issuer");
//! json::write_int(object.member("exp"), 7);
//! object.end();
//! assert_eq!(out, br#"{"iss":"https://issuer","exp":7}"#);
//! # Ok::<_, json::SyntaxError>(())
//! ```

mod read;
mod write;

pub use read::{MAX_DEPTH, Parsed, SyntaxError, parse, plain};
pub use write::{Members, indent, list, shown, sorted, to_vec, write, write_int, write_sorted, write_str};
