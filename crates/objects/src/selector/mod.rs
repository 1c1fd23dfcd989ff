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
pub(crate) mod written;

pub use error::SelectorError;
pub use field::{FieldRequirement, FieldSelector};
pub use label::LabelSelector;
pub use several::LabelSelectors;
pub use written::written;

use std::borrow::Cow;

use serde_json::Value;

use crate::Object;

/// What can be selected: an object as a tree, or as it is kept.
pub trait Selectable {
    /// Calls with each label and its value.
    fn labels(&self, each: &mut dyn FnMut(&str, &str));

    /// The value at a path of field names.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, Value>>;
}

impl Selectable for Object {
    fn labels(&self, each: &mut dyn FnMut(&str, &str)) {
        let labels = self.at(&["metadata", "labels"]).and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            if let Some(value) = value.as_str() {
                each(key, value);
            }
        }
    }

    fn field(&self, path: &[&str]) -> Option<Cow<'_, Value>> {
        self.at(path).map(Cow::Borrowed)
    }
}
