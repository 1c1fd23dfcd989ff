//! What containers, pods and claims of a namespace may ask for, and what they get who ask for nothing
//! (`plugin/pkg/admission/limitranger`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::{Map, Value};
use tokensmith_core::access::admission::{Admission, Answer, Operation, Write};
use tokensmith_core::error::Error;
use tokensmith_objects::field::Findings;
use tokensmith_objects::{Object, pod, quantity};

use super::{is_made, is_stored};

/// Goes by the limit ranges of the namespace.
pub(super) struct LimitRanger;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const CLAIMS: &str = "persistentvolumeclaims";

impl Admission for LimitRanger {
    /// What a pod asks for does not change later, but by `/resize`.
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, "pods")
            || (write.is_of("", "pods") && write.subresource == "resize")
            || (write.is_of("", CLAIMS) && write.subresource.is_empty() && is_stored(write))
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        let Some(pod) = new.filter(|_| write.resource == "pods") else { return Ok(()).into() };
        let all = limits(write);
        bearable(write, pod, &all).map(|()| all.iter().for_each(|limits| fill(pod, limits))).into()
    }

    fn validate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a Object>,
        _warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.map_or(Ok(()), |new| judge(write, new)).into()
    }
}

/// `spec.limits` of each limit range of the namespace.
fn limits(write: &Write<'_>) -> Vec<Value> {
    let ranges = write.objects.list("", "limitranges", write.namespace);
    ranges.filter_map(|(_, range)| range.value(&["spec", "limits"])).collect()
}

/// So many amounts are set or judged: two objects that are as large as a request may be would make a third as large as their
/// product.
const MOST: usize = 200_000;

/// Refuses what would take too long and become too large.
fn bearable(write: &Write<'_>, pod: &Object, limits: &[Value]) -> Result<(), Error> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let containers = count(&spec["containers"]).saturating_add(count(&spec["initContainers"]));
    let amounts = limits.iter().flat_map(|limits| limits.as_array().into_iter().flatten());
    let amounts: usize =
        amounts.map(|limit| FIELDS.map(|f| entries(&limit[f]).count()).iter().sum::<usize>()).sum();
    match containers.saturating_mul(amounts) > MOST {
        true => {
            let cause = format!("{containers} containers have too many limits: {amounts} amounts for each");
            Err(write.forbidden(Some(pod), cause))
        }
        false => Ok(()),
    }
}

const FIELDS: [&str; 5] = ["default", "defaultRequest", "max", "maxLimitRequestRatio", "min"];

/// Gives each container what it does not ask for itself, and says so.
fn fill(pod: &mut Object, limits: &Value) {
    let (mut requests, mut most) = (Map::new(), Map::new());
    for limit in of_type(limits, "Container") {
        requests
            .extend(entries(&limit["defaultRequest"]).map(|(name, amount)| (name.clone(), amount.clone())));
        most.extend(entries(&limit["default"]).map(|(name, amount)| (name.clone(), amount.clone())));
    }
    let mut told = Vec::new();
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers =
            pod.0.get_mut("spec").and_then(|spec| spec.get_mut(field)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            for (which, given, word) in [("requests", &requests, "request"), ("limits", &most, "limit")] {
                let set = add(container, which, given);
                if !set.is_empty() {
                    let name = container["name"].as_str().unwrap_or("");
                    told.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.set(&["metadata", "annotations", ANNOTATION], text);
    }
}

/// Adds amounts of resources that are not named; gives their names in order.
fn add(container: &mut Value, which: &str, given: &Map<String, Value>) -> Vec<String> {
    let there = container["resources"][which].as_object();
    let missing: BTreeMap<_, _> =
        given.iter().filter(|(name, _)| there.is_none_or(|there| !there.contains_key(*name))).collect();
    for (name, amount) in &missing {
        container["resources"][which][name.as_str()] = (*amount).clone();
    }
    missing.into_keys().cloned().collect()
}

fn judge(write: &Write<'_>, new: &Object) -> Result<(), Error> {
    if write.operation == Operation::Update && new.deletion_timestamp().is_some() {
        return Ok(());
    }
    let all = limits(write);
    bearable(write, new, &all)?;
    for limits in all {
        let mut found = Vec::new();
        match write.resource {
            CLAIMS => claim(&mut found, new, &limits),
            _ => whole(&mut found, new, &limits),
        }
        // Go's aggregate says a text once.
        let mut told = HashSet::new();
        found.retain(|text| told.insert(text.clone()));
        let more = found.len().saturating_sub(Findings::MOST);
        found.truncate(Findings::MOST);
        if more > 0 {
            found.push(format!("... and {more} more"));
        }
        match &found[..] {
            [] => {}
            [one] => return Err(write.forbidden(Some(new), one.as_str())),
            all => return Err(write.forbidden(Some(new), format!("[{}]", all.join(", ")))),
        }
    }
    Ok(())
}

fn claim(found: &mut Vec<String>, claim: &Object, limits: &Value) {
    let resources = claim.at(&["spec", "resources", "requests"]).unwrap_or(&Value::Null);
    let asked = |name: &str| resources[name].as_str();
    for limit in of_type(limits, "PersistentVolumeClaim") {
        let bound = Bound { of: "PersistentVolumeClaim", asked: &asked, most: &|_| None };
        bounds(&limit["min"]).for_each(|(name, least)| found.extend(bound.least(name, least)));
        for (name, most) in bounds(&limit["max"]) {
            let text = format!("maximum {name} usage per PersistentVolumeClaim is {most}");
            match asked(name) {
                None => found.push(format!("{text}.  No request is specified")),
                Some(asked) if quantity::compare(asked, most).is_gt() => {
                    found.push(format!("{text}, but request is {asked}"));
                }
                Some(_) => {}
            }
        }
    }
}

fn whole(found: &mut Vec<String>, pod: &Object, limits: &Value) {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    for limit in of_type(limits, "Container") {
        for field in ["containers", "initContainers"] {
            for container in spec[field].as_array().into_iter().flatten() {
                let amount =
                    |which: &'static str| move |name: &str| container["resources"][which][name].as_str();
                let (asked, most) = (amount("requests"), amount("limits"));
                Bound { of: "Container", asked: &asked, most: &most }.judge(found, limit);
            }
        }
    }
    for limit in of_type(limits, "Pod") {
        let (requests, most) = (pod::together(spec, "requests"), pod::together(spec, "limits"));
        let asked = |name: &str| requests.get(name).map(String::as_str);
        let most = |name: &str| most.get(name).map(String::as_str);
        Bound { of: "Pod", asked: &asked, most: &most }.judge(found, limit);
    }
}

/// What something asks for and may use at most, by the names of resources.
struct Bound<'a> {
    of: &'a str,
    asked: &'a dyn Fn(&str) -> Option<&'a str>,
    most: &'a dyn Fn(&str) -> Option<&'a str>,
}

impl Bound<'_> {
    fn judge(&self, found: &mut Vec<String>, limit: &Value) {
        bounds(&limit["min"]).for_each(|(name, least)| found.extend(self.least(name, least)));
        bounds(&limit["max"]).for_each(|(name, most)| found.extend(self.most(name, most)));
        bounds(&limit["maxLimitRequestRatio"])
            .for_each(|(name, ratio)| found.extend(self.ratio(name, ratio)));
    }

    fn least(&self, name: &str, least: &str) -> Option<String> {
        let text = format!("minimum {name} usage per {} is {least}", self.of);
        let below = |amount: &&str| quantity::compare(amount, least).is_lt();
        let Some(asked) = (self.asked)(name) else {
            return Some(format!("{text}.  No request is specified"));
        };
        if below(&asked) {
            return Some(format!("{text}, but request is {asked}"));
        }
        (self.most)(name).filter(below).map(|most| format!("{text}, but limit is {most}"))
    }

    fn most(&self, name: &str, bound: &str) -> Option<String> {
        let text = format!("maximum {name} usage per {} is {bound}", self.of);
        let above = |amount: &&str| quantity::compare(amount, bound).is_gt();
        let Some(most) = (self.most)(name) else { return Some(format!("{text}.  No limit is specified")) };
        if above(&most) {
            return Some(format!("{text}, but limit is {most}"));
        }
        (self.asked)(name).filter(above).map(|asked| format!("{text}, but request is {asked}"))
    }

    fn ratio(&self, name: &str, ratio: &str) -> Option<String> {
        let text = format!("{name} max limit to request ratio per {} is {ratio}", self.of);
        let given =
            |amount: Option<&str>| amount.and_then(quantity::milli_value).filter(|amount| *amount != 0);
        let Some(asked) = given((self.asked)(name)) else {
            return Some(format!("{text}, but no request is specified or request is 0"));
        };
        let Some(most) = given((self.most)(name)) else {
            return Some(format!("{text}, but no limit is specified or limit is 0"));
        };
        let observed = most as f64 / asked as f64;
        let allowed = quantity::milli_value(ratio).unwrap_or(0) as f64 / 1000.0;
        (observed > allowed).then(|| format!("{text}, but provided ratio is {observed:.6}"))
    }
}

fn of_type<'a>(limits: &'a Value, of: &'a str) -> impl Iterator<Item = &'a Value> {
    limits.as_array().into_iter().flatten().filter(move |limit| limit["type"] == of)
}

fn entries(amounts: &Value) -> impl Iterator<Item = (&String, &Value)> {
    amounts.as_object().into_iter().flatten()
}

/// Amounts in the order of their names.
fn bounds(amounts: &Value) -> impl Iterator<Item = (&str, &str)> {
    let all: BTreeSet<_> =
        entries(amounts).map(|(name, amount)| (name.as_str(), amount.as_str().unwrap_or(""))).collect();
    all.into_iter()
}
