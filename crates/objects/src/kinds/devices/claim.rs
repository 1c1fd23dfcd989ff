//! Claims, their templates, and classes of devices.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::driver;
use crate::Object;
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::{list, text};
use crate::names;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// What somebody wants.
#[derive(Debug)]
pub(crate) struct Claim;

/// What claims are made of.
#[derive(Debug)]
pub(crate) struct ClaimTemplate;

/// What is wanted by name.
#[derive(Debug)]
pub(crate) struct Class;

const SPEC: Path<'static> = Path::new("spec");

impl Rules for Claim {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        (column == "State").then(|| {
            let mut states = Vec::new();
            if object.deletion_timestamp().is_some() {
                states.push("deleted");
            }
            let status = object.get("status").unwrap_or(&Value::Null);
            let allocated = status["allocation"].is_object();
            if allocated {
                states.push("allocated");
            }
            if !list(status, "reservedFor").is_empty() {
                states.push("reserved");
            } else if !allocated {
                states.push("pending");
            }
            states.join(",").into()
        })
    }

    fn defaults(&self, object: &mut Object) {
        defaults(object.0.get_mut("spec"));
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        devices(errors, &SPEC.child("devices"), &object.get("spec").unwrap_or(&Value::Null)["devices"]);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        immutable(errors, new, old);
    }
}

impl Rules for ClaimTemplate {
    fn defaults(&self, object: &mut Object) {
        defaults(object.0.get_mut("spec").and_then(|spec| spec.get_mut("spec")));
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let devices = &object.get("spec").unwrap_or(&Value::Null)["spec"]["devices"];
        self::devices(errors, &SPEC.child("spec.devices"), devices);
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        immutable(errors, new, old);
    }
}

impl Rules for Class {
    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        selectors(errors, &SPEC.child("selectors"), spec);
        let at = SPEC.child("config");
        for (index, config) in list(spec, "config").iter().enumerate() {
            opaque(errors, &at.index(index), config);
        }
    }
}

fn immutable(errors: &mut Findings, new: &Object, old: &Object) {
    if new.get("spec") != old.get("spec") {
        errors.invalid(&SPEC, new.get("spec").cloned().unwrap_or_default(), "field is immutable");
    }
}

fn defaults(spec: Option<&mut Value>) {
    let requests =
        spec.and_then(|spec| spec.get_mut("devices")).and_then(|devices| devices.get_mut("requests"));
    each(requests, |request| {
        if let Some(exactly) = request.get_mut("exactly").and_then(Value::as_object_mut) {
            default_request(exactly);
        }
        each(request.get_mut("firstAvailable"), default_request);
    });
}

fn default_request(request: &mut serde_json::Map<String, Value>) {
    default(request, "allocationMode", EXACT);
    let none = request.get("count").is_none_or(|count| count == 0);
    if none && request.get("allocationMode").is_some_and(|mode| mode == EXACT) {
        request.insert("count".into(), 1.into());
    }
    each(request.get_mut("tolerations"), |toleration| default(toleration, "operator", "Equal"));
}

const EXACT: &str = "ExactCount";
const MAX_LIST: usize = 32;

/// The names of requests, each with those of its alternatives.
type Names<'a> = HashMap<&'a str, HashSet<&'a str>>;

fn devices(errors: &mut Findings, at: &Path<'_>, devices: &Value) {
    let (requests, mut known) = (list(devices, "requests"), Names::new());
    let field = at.child("requests");
    if requests.len() > MAX_LIST {
        errors.too_many(&field, requests.len(), MAX_LIST);
    }
    for (index, one) in requests.iter().enumerate() {
        let at = &field.index(index);
        request(errors, at, one);
        let alternatives = list(one, "firstAvailable").iter().map(|one| text(one, "name")).collect();
        let name = text(one, "name");
        if known.insert(name, alternatives).is_some() {
            errors.duplicate(at, name);
        }
    }
    let field = at.child("constraints");
    for (index, one) in list(devices, "constraints").iter().enumerate() {
        references(errors, &field.index(index).child("requests"), one, &known);
    }
    let field = at.child("config");
    for (index, one) in list(devices, "config").iter().enumerate() {
        let at = &field.index(index);
        references(errors, &at.child("requests"), one, &known);
        opaque(errors, at, one);
    }
}

fn request(errors: &mut Findings, at: &Path<'_>, request: &Value) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    name(errors, &at.child("name"), request);
    let (exactly, first) = (request["exactly"].is_object(), list(request, "firstAvailable"));
    match (exactly, first.is_empty()) {
        (false, true) => errors.required(at, ONE),
        (true, false) => errors.invalid(at, Value::Null, format!("{ONE}, but multiple fields are set")),
        (true, true) => one(errors, &at.child("exactly"), &request["exactly"]),
        (false, false) => {
            let field = at.child("firstAvailable");
            for (index, alternative) in first.iter().enumerate() {
                let at = &field.index(index);
                name(errors, &at.child("name"), alternative);
                one(errors, at, alternative);
            }
        }
    }
}

fn name(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    let name = text(of, "name");
    match name {
        "" => errors.required(at, ""),
        _ => errors.each(at, name, names::label(name)),
    }
}

fn one(errors: &mut Findings, at: &Path<'_>, request: &Value) {
    let class = text(request, "deviceClassName");
    match class {
        "" => errors.required(&at.child("deviceClassName"), ""),
        _ => errors.each(&at.child("deviceClassName"), class, names::subdomain(class)),
    }
    selectors(errors, &at.child("selectors"), request);
    let (mode, count) = (text(request, "allocationMode"), request["count"].as_i64().unwrap_or(0));
    match mode {
        "All" if count != 0 => {
            let detail = "must not be specified when allocationMode is 'All'";
            errors.invalid(&at.child("count"), count, detail);
        }
        EXACT if count <= 0 => errors.invalid(&at.child("count"), count, "must be greater than zero"),
        "All" | EXACT => {}
        _ => errors.not_supported(&at.child("allocationMode"), mode, &["All", EXACT]),
    }
}

fn selectors(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    for (index, selector) in list(of, "selectors").iter().enumerate() {
        if !selector["cel"].is_object() {
            errors.required(&at.index(index).child("cel"), "");
        }
    }
}

fn opaque(errors: &mut Findings, at: &Path<'_>, config: &Value) {
    let at = at.child("opaque");
    match config["opaque"].is_object() {
        true => driver(errors, &at.child("driver"), text(&config["opaque"], "driver")),
        false => errors.required(&at, ""),
    }
}

/// Requests that are there, each once.
fn references(errors: &mut Findings, at: &Path<'_>, of: &Value, known: &Names<'_>) {
    let mut seen = HashSet::new();
    for (index, name) in list(of, "requests").iter().enumerate() {
        let (at, name) = (at.index(index), name.as_str().unwrap_or(""));
        let (request, alternative) = name.split_once('/').map_or((name, None), |(a, b)| (a, Some(b)));
        let there = known.get(request).is_some_and(|all| alternative.is_none_or(|one| all.contains(one)));
        if !there {
            let detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
            errors.invalid(&at, name, detail);
        }
        if !seen.insert(name) {
            errors.duplicate(&at, name);
        }
    }
}
