//! Kubernetes objects as data.
//!
//! The built-in kinds come from one schema table; defaulting, validation, strict decoding, patches,
//! selectors and tables work on it. Pure: knows no HTTP and no store.

// Only `moment` may use operators that panic where a time does not fit (see clippy.toml).
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod address;
pub mod bootstrap;
pub mod codec;
mod cursor;
pub mod defaults;
mod difference;
pub mod field;
pub mod kinds;
mod local_path;
pub mod look;
pub mod names;
pub mod object;
pub mod openapi;
pub mod patch;
mod path;

pub mod quantity;
pub mod schema;
pub mod selector;
pub mod stored;
pub mod strategy;
pub mod table;
pub mod validate;

pub use field::{FieldError, Findings};
pub use kinds::pod;
pub use local_path::{LocalPath, LocalPathError};
pub use look::Look;
pub use object::Object;
pub use stored::{Part, Reader, Stored};
