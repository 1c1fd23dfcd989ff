//! Kubernetes objects as data.
//!
//! The built-in kinds come from one schema table; defaulting, validation, strict decoding, patches,
//! selectors and tables work on it. Pure: knows no HTTP and no store.

pub mod bootstrap;
pub mod codec;
pub mod defaults;
pub mod field;
pub mod names;
pub mod object;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod selector;
pub mod strategy;
pub mod table;
pub mod validate;

pub use field::FieldError;
pub use object::Object;
