//! What runs a pod is a class, which says what that costs and where it may be (`plugin/pkg/admission/runtimeclass`).

use serde_json::Value;
use tokensmith_objects::field::go_quote;
use tokensmith_objects::{Object, Stored};

use super::{is_made, tolerations};
use tokensmith_core::access::admission::{Admission, Answer, Write};
use tokensmith_core::error::Error;

/// Refuses a class that is not there, and a pod that says itself what its class adds.
pub(super) struct RuntimeClass;

impl Admission for RuntimeClass {
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, ("", "pods"))
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.map_or(Ok(()), |pod| complete(write, pod)).into()
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.map_or(Ok(()), |pod| same_overhead(write, pod)).into()
    }
}

fn class<'a>(write: &Write<'a>, pod: &Object) -> Result<Option<&'a Stored>, Error> {
    let Some(name) = pod.at(&["spec", "runtimeClassName"]).and_then(Value::as_str) else { return Ok(None) };
    match write.objects.get("node.k8s.io", "runtimeclasses", "", name) {
        Some(class) => Ok(Some(class)),
        None => {
            let cause = format!("pod rejected: RuntimeClass {} not found", go_quote(name));
            Err(write.forbidden(Some(pod), cause))
        }
    }
}

fn complete(write: &Write<'_>, pod: &mut Object) -> Result<(), Error> {
    let Some(class) = class(write, pod)? else { return Ok(()) };
    if let Some(fixed) = class.value(&["overhead"]).map(|overhead| overhead["podFixed"].clone()) {
        if pod.at(&["spec", "overhead"]).is_some_and(|own| *own != fixed) {
            return Err(write.forbidden(Some(pod), OTHER));
        }
        if !fixed.is_null() {
            pod.set(&["spec", "overhead"], fixed);
        }
    }
    let Some(place) = class.value(&["scheduling"]) else { return Ok(()) };
    for (key, value) in place["nodeSelector"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or("");
        match pod.at(&["spec", "nodeSelector", key]).and_then(Value::as_str) {
            Some(own) if own != value => {
                let cause = format!(
                    "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
                );
                return Err(write.forbidden(Some(pod), cause));
            }
            _ => pod.set(&["spec", "nodeSelector", key], value),
        }
    }
    let more = place["tolerations"].as_array().map_or(&[][..], Vec::as_slice);
    if !more.is_empty() {
        let own = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let merged = tolerations::merge(own.iter().chain(more).cloned().collect());
        pod.set(&["spec", "tolerations"], merged);
    }
    Ok(())
}

fn same_overhead(write: &Write<'_>, pod: &Object) -> Result<(), Error> {
    let own = pod.at(&["spec", "overhead"]).filter(|own| own.as_object().is_some_and(|own| !own.is_empty()));
    let fixed = class(write, pod)?.and_then(|class| class.value(&["overhead"]));
    match fixed {
        Some(fixed) if own != Some(&fixed["podFixed"]) && !(own.is_none() && fixed["podFixed"].is_null()) => {
            Err(write.forbidden(Some(pod), OTHER))
        }
        None if own.is_some() => {
            let cause = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            Err(write.forbidden(Some(pod), cause))
        }
        _ => Ok(()),
    }
}

const OTHER: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
