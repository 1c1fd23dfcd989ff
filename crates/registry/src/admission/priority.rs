//! A pod's priority is its class's (`plugin/pkg/admission/priority`).

use serde_json::Value;
use tokensmith_objects::Object;

use super::is_stored;
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_core::error::Error;

/// Fills in what the class of a new pod says, and refuses another priority.
pub(super) struct Priority;

/// Classes that every cluster has; others are not served.
const CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
const LOWER: &str = "PreemptLowerPriority";

impl Admission for Priority {
    fn handles(&self, write: &Write<'_>) -> bool {
        write.is_of("", "pods") && write.subresource.is_empty() && is_stored(write)
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        let Some(pod) = new else { return Ok(()).into() };
        match (write.operation, write.old) {
            (Operation::Update, Some(old)) => {
                stay(pod, old);
                Ok(())
            }
            _ => given(write, pod),
        }
        .into()
    }
}

/// What the pod got when it was made stays where a change does not name it.
fn stay(pod: &mut Object, old: &Object) {
    for field in ["priority", "preemptionPolicy"] {
        if let (None, Some(value)) = (pod.at(&["spec", field]), old.at(&["spec", field])) {
            pod.set(&["spec", field], value.clone());
        }
    }
}

fn given(write: &Write<'_>, pod: &mut Object) -> Result<(), Error> {
    let priority = match pod.str_at(&["spec", "priorityClassName"]) {
        "" => 0,
        class => match CLASSES.iter().find(|(name, _)| *name == class) {
            Some((_, priority)) => *priority,
            None => {
                let cause = format!("no PriorityClass with name {class} was found");
                return Err(write.forbidden(Some(pod), cause));
            }
        },
    };
    let computed = "priority admission controller computed";
    if let Some(own) = pod.at(&["spec", "priority"]).and_then(Value::as_i64).filter(|own| *own != priority) {
        let cause = format!(
            "the integer value of priority ({own}) must not be provided in pod spec; {computed} {priority} from the given PriorityClass name"
        );
        return Err(write.forbidden(Some(pod), cause));
    }
    let policy = pod.str_at(&["spec", "preemptionPolicy"]);
    if !["", LOWER].contains(&policy) {
        let cause = format!(
            "the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; {computed} {LOWER} from the given PriorityClass name"
        );
        return Err(write.forbidden(Some(pod), cause));
    }
    pod.set(&["spec", "priority"], priority);
    pod.set(&["spec", "preemptionPolicy"], LOWER);
    Ok(())
}
