//! Kubernetes objects as data.
//!
//! The built-in kinds come from one schema table; defaulting, validation, strict decoding, patches,
//! selectors and tables work on it. Pure: knows no HTTP and no store.

pub mod field;
pub mod object;

pub use field::FieldError;
pub use object::Object;
