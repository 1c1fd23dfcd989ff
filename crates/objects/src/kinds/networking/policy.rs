//! Network policies: which pods may talk to which.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::{list, number, of, some, strings, text};
use super::super::service::port_number;
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, selector};
use crate::{Object, address, names};

/// Of pods in one namespace.
#[derive(Debug)]
pub(in super::super) struct NetworkPolicy;

const SPEC: Path<'static> = Path::new("spec");
/// What is let in, and what is let out: the rules' name, their ports', their peers'.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

impl Rules for NetworkPolicy {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        (column == "Pod-Selector").then(|| crate::table::selector(&of(object, "spec")["podSelector"]))
    }

    fn defaults(&self, object: &mut Object) {
        let spec = of(object, "spec");
        if list(spec, "policyTypes").is_empty() {
            let types = match list(spec, "egress").is_empty() {
                true => json!(["Ingress"]),
                false => json!(["Ingress", "Egress"]),
            };
            object.set(&["spec", "policyTypes"], types);
        }
        for (direction, _) in DIRECTIONS {
            let rules = object.0.get_mut("spec").and_then(|spec| spec.get_mut(direction));
            each(rules, |rule| each(rule.get_mut("ports"), |port| default(port, "protocol", "TCP")));
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let spec = of(object, "spec");
        selector::validate(errors, &SPEC.child("podSelector"), &spec["podSelector"]);
        for (direction, peers) in DIRECTIONS {
            for (index, rule) in list(spec, direction).iter().enumerate() {
                let at = SPEC.child(direction);
                let at = &at.index(index);
                for (index, port) in list(rule, "ports").iter().enumerate() {
                    self::port(errors, &at.child("ports").index(index), port);
                }
                for (index, peer) in list(rule, peers).iter().enumerate() {
                    self::peer(errors, &at.child(peers).index(index), peer);
                }
            }
        }
        let at = &SPEC.child("policyTypes");
        if list(spec, "policyTypes").len() > 2 {
            return errors.invalid(
                at,
                spec["policyTypes"].clone(),
                "may not specify more than two policyTypes",
            );
        }
        for (index, kind) in strings(spec, "policyTypes").enumerate() {
            if !["Ingress", "Egress"].contains(&kind) {
                errors.not_supported(&at.index(index), kind, &["Ingress", "Egress"]);
            }
        }
    }
}

fn port(errors: &mut Findings, at: &Path<'_>, port: &Value) {
    if let Some(protocol) = some(port, "protocol").and_then(Value::as_str)
        && !["TCP", "UDP", "SCTP"].contains(&protocol)
    {
        errors.not_supported(&at.child("protocol"), protocol, &["TCP", "UDP", "SCTP"]);
    }
    let (end, here) = (number(port, "endPort"), &at.child("endPort"));
    match (&port["port"], end) {
        (Value::Null, Some(end)) => {
            errors.invalid(here, end, "may not be specified when `port` is not specified");
        }
        (Value::Null, None) => {}
        (Value::String(name), end) => {
            if let Some(end) = end {
                errors.invalid(here, end, "may not be specified when `port` is non-numeric");
            }
            errors.each(&at.child("port"), name, names::port(name));
        }
        (first, end) => {
            let first = first.as_i64().unwrap_or(0);
            port_number(errors, &at.child("port"), first);
            if let Some(end) = end {
                if end < first {
                    errors.invalid(here, first, "must be greater than or equal to `port`");
                }
                port_number(errors, here, end);
            }
        }
    }
}

fn peer(errors: &mut Findings, at: &Path<'_>, peer: &Value) {
    let mut selectors = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(given) = some(peer, field) {
            selectors += 1;
            selector::validate(errors, &at.child(field), given);
        }
    }
    match some(peer, "ipBlock") {
        None if selectors == 0 => errors.required(at, "must specify a peer"),
        None => {}
        Some(block) => {
            self::block(errors, &at.child("ipBlock"), block);
            if selectors > 0 {
                errors.forbidden(at, "may not specify both ipBlock and another peer");
            }
        }
    }
}

fn block(errors: &mut Findings, at: &Path<'_>, block: &Value) {
    let (here, network) = (&at.child("cidr"), text(block, "cidr"));
    if network.is_empty() {
        return errors.required(here, "");
    }
    let before = errors.len();
    address::cidr(errors, here, network);
    let good = errors.len() == before;
    for (index, except) in strings(block, "except").enumerate() {
        let here = at.child("except");
        let here = &here.index(index);
        let before = errors.len();
        address::cidr(errors, here, except);
        if good && errors.len() == before && !address::is_within(except, network) {
            errors.invalid(here, except, "must be a strict subset of `cidr`");
        }
    }
}
