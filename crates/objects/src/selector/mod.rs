//! Selectors: by label (as text and as `metav1.LabelSelector`) and by field.

mod field;
mod label;

pub use field::{FieldRequirement, FieldSelector};
pub use label::LabelSelector;
