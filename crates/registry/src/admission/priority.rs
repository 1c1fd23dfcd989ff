//! A pod's priority is its class's, and one class at most is that of pods that name none
//! (`plugin/pkg/admission/priority`).

use serde_json::Value;
use tokensmith_objects::kinds::priority_class::SYSTEM;
use tokensmith_objects::{Object, Stored};

use super::is_stored;
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_core::error::Error;

/// Fills in what the class of a new pod says, and refuses another priority.
pub(super) struct Priority;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";
const LOWER: &str = "PreemptLowerPriority";

impl Admission for Priority {
    fn handles(&self, write: &Write<'_>) -> bool {
        let classes = write.is_of(GROUP, CLASSES) && write.operation != Operation::Connect;
        write.subresource.is_empty() && (classes || (write.is_of("", "pods") && is_stored(write)))
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        let class = write.resource == CLASSES;
        match (write.operation, new, write.old) {
            (Operation::Delete, _, old) if class => may_go(write, old),
            (_, Some(_), _) if class => Ok(()),
            (Operation::Update, Some(pod), Some(old)) => {
                stay(pod, old);
                Ok(())
            }
            (_, Some(pod), _) => given(write, pod),
            _ => Ok(()),
        }
        .into()
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.filter(|_| write.resource == CLASSES).map_or(Ok(()), |new| only_default(write, new)).into()
    }
}

/// Upstream's storage says so of one that is deleted by its name, and not of those in a collection.
fn may_go(write: &Write<'_>, old: Option<&Object>) -> Result<(), Error> {
    match SYSTEM.iter().any(|(name, ..)| *name == write.name) {
        true => Err(write.forbidden(old, "this is a system priority class and cannot be deleted")),
        false => Ok(()),
    }
}

fn only_default(write: &Write<'_>, class: &Object) -> Result<(), Error> {
    if class.get("globalDefault") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    match default_class(write).filter(|there| there.name() != class.name()) {
        Some(there) => {
            let cause = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                there.name()
            );
            Err(write.forbidden(Some(class), cause))
        }
        None => Ok(()),
    }
}

/// The class of pods that name none: should there be several, the lowest.
fn default_class<'a>(write: &Write<'a>) -> Option<&'a Stored> {
    let classes = write.objects.list(GROUP, CLASSES, "").map(|(_, class)| &**class);
    classes.filter(|class| class.raw(&["globalDefault"]) == Some("true")).min_by_key(|class| value(class))
}

fn value(class: &Stored) -> i64 {
    class.value(&["value"]).and_then(|value| value.as_i64()).unwrap_or(0)
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
    let class = match pod.str_at(&["spec", "priorityClassName"]) {
        "" => default_class(write),
        name => match write.objects.get(GROUP, CLASSES, "", name) {
            Some(class) => Some(&**class),
            None => {
                let cause = format!("no PriorityClass with name {name} was found");
                return Err(write.forbidden(Some(pod), cause));
            }
        },
    };
    let priority = class.map_or(0, value);
    let lower = |class: &Stored| match &*class.text(&["preemptionPolicy"]) {
        "" => LOWER.to_owned(),
        policy => policy.to_owned(),
    };
    let preemption = class.map_or_else(|| LOWER.to_owned(), lower);
    let name = class.map(|class| class.name().to_owned());
    let computed = "priority admission controller computed";
    if let Some(own) = pod.at(&["spec", "priority"]).and_then(Value::as_i64).filter(|own| *own != priority) {
        let cause = format!(
            "the integer value of priority ({own}) must not be provided in pod spec; {computed} {priority} from the given PriorityClass name"
        );
        return Err(write.forbidden(Some(pod), cause));
    }
    let policy = pod.str_at(&["spec", "preemptionPolicy"]);
    if !policy.is_empty() && policy != preemption {
        let cause = format!(
            "the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; {computed} {preemption} from the given PriorityClass name"
        );
        return Err(write.forbidden(Some(pod), cause));
    }
    if let Some(name) = name {
        pod.set(&["spec", "priorityClassName"], name);
    }
    pod.set(&["spec", "priority"], priority);
    pod.set(&["spec", "preemptionPolicy"], preemption);
    Ok(())
}
