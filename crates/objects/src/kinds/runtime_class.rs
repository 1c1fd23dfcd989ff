//! Runtime classes: what runs a pod.

use serde_json::Value;
use time::OffsetDateTime;

use super::Rules;
use super::look::{list, of};
use super::pod::validate::{resources, scheduling};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, selector, stays};
use crate::{Object, names};

/// What handles a pod, what that costs, and where.
#[derive(Debug)]
pub(super) struct RuntimeClass;

impl Rules for RuntimeClass {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "Handler").then(|| object.str_at(&["handler"]).into())
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let handler = object.str_at(&["handler"]);
        match handler {
            "" => errors.required(&Path::new("handler"), ""),
            handler => errors.each(&Path::new("handler"), handler, names::label(handler)),
        }
        resources::overhead(errors, &Path::new("overhead"), &of(object, "overhead")["podFixed"]);
        let (at, where_) = (&Path::new("scheduling"), of(object, "scheduling"));
        selector::labels(errors, &at.child("nodeSelector"), &where_["nodeSelector"]);
        scheduling::tolerations(errors, &at.child("tolerations"), list(where_, "tolerations"));
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        stays(errors, &Path::new("handler"), of(new, "handler"), of(old, "handler"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::testing::{changed, created};

    #[test]
    fn a_runtime_has_a_handler_that_stays() {
        let class = |handler: &str| json!({"handler": handler});
        let found = |class: Value| created("node.k8s.io", "runtimeclasses", class);
        assert!(found(class("kata-fc")).is_empty());
        assert_eq!(found(class("a.b")), ["handler: Invalid value: \"a.b\": must not contain dots"]);
        assert_eq!(
            changed("node.k8s.io", "runtimeclasses", class("a"), class("b")),
            ["handler: Invalid value: \"b\": field is immutable"]
        );
        assert_eq!(
            found(
                json!({"handler": "a", "overhead": {"podFixed": {"cpu": "-1"}}, "scheduling": {"tolerations": [{"operator": "Equal"}]}})
            ),
            [
                "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
                "scheduling.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ]
        );
    }
}
