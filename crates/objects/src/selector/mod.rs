//! Selectors: by label (as text and as `metav1.LabelSelector`) and by field.
//!
//! ```
//! use serde_json::json;
//! use tokensmith_objects::selector::{FieldSelector, LabelSelector};
//! use tokensmith_objects::{Object, schema};
//!
//! let labels = LabelSelector::parse("app in (web,api),!old")?;
//! let fields = FieldSelector::parse(schema::kind("", "pods").unwrap(), "spec.nodeName=n")?;
//! let pod = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"nodeName": "n"}});
//! let pod = Object::from_value(pod).unwrap();
//! assert!(labels.matches(&pod) && fields.matches(&pod));
//! let error = LabelSelector::parse("app=a,").unwrap_err();
//! assert_eq!(error.to_string(), "found '', expected: identifier after ','");
//! # Ok::<_, tokensmith_objects::selector::SelectorError>(())
//! ```

mod error;
mod field;
mod label;
mod several;

pub use error::SelectorError;
pub use field::{FieldRequirement, FieldSelector};
pub use label::LabelSelector;
pub use several::LabelSelectors;
