//! Selectors: by label (as text and as `metav1.LabelSelector`) and by field.

mod field;
mod label;
mod several;

pub use field::{FieldRequirement, FieldSelector};
pub use label::LabelSelector;
pub use several::LabelSelectors;
