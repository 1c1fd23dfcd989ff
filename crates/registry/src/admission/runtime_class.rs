//! What runs a pod is a class of its own (`plugin/pkg/admission/runtimeclass`). None is served, so none is there.

use serde_json::Value;
use tokensmith_objects::Object;

use super::is_made;
use tokensmith_core::access::admission::{Admission, Answer, Write};
use tokensmith_core::error::Error;
use tokensmith_objects::field::go_quote;

/// Refuses a class that is not there, and a pod that says itself what its class adds.
pub(super) struct RuntimeClass;

impl Admission for RuntimeClass {
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, "pods")
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.map_or(Ok(()), |pod| class(write, pod)).into()
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        let overhead = new.and_then(|pod| pod.at(&["spec", "overhead"])).and_then(Value::as_object);
        match overhead.is_some_and(|overhead| !overhead.is_empty()) {
            true => {
                let cause =
                    "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
                Err(write.forbidden(new, cause)).into()
            }
            false => Ok(()).into(),
        }
    }
}

fn class(write: &Write<'_>, pod: &Object) -> Result<(), Error> {
    match pod.at(&["spec", "runtimeClassName"]).and_then(Value::as_str) {
        Some(name) => {
            let cause = format!("pod rejected: RuntimeClass {} not found", go_quote(name));
            Err(write.forbidden(Some(pod), cause))
        }
        None => Ok(()),
    }
}
