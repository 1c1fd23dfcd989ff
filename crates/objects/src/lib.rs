//! Kubernetes objects as data.
//!
//! The built-in kinds come from one schema table; defaulting, validation, strict decoding, patches,
//! selectors and tables work on it. Pure: knows no HTTP and no store.

pub mod codec;
pub mod field;
pub mod object;
pub mod quantity;
pub mod schema;

pub use field::FieldError;
pub use object::Object;
