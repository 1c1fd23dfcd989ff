//! Ingresses: which names and paths lead to which services.

use serde_json::Value;
use time::OffsetDateTime;

use super::super::Rules;
use super::super::look::{list, number, of, some, strings, text};
use super::super::service::{balanced, host_name, port_number};
use super::reference;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, address, names};

/// Rules of its own, or a backend for all.
#[derive(Debug)]
pub(in super::super) struct Ingress;

const SPEC: Path<'static> = Path::new("spec");
/// How a class was named before there was a field.
const CLASS: &str = "kubernetes.io/ingress.class";

impl Rules for Ingress {
    fn key(&self) -> Option<&'static str> {
        Some("ingress")
    }

    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        let spec = of(object, "spec");
        let cell = match column {
            "Class" => some(spec, "ingressClassName").cloned().unwrap_or_else(|| "<none>".into()),
            "Hosts" => hosts(list(spec, "rules")).into(),
            "Address" => balanced(&of(object, "status")["loadBalancer"]).into(),
            "Ports" if list(spec, "tls").is_empty() => "80".into(),
            "Ports" => "80, 443".into(),
            _ => return None,
        };
        Some(cell)
    }

    fn status_alone(&self) -> bool {
        false
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        whole(errors, object);
        let class = object.str_at(&["spec", "ingressClassName"]);
        if let Some(annotated) = object.annotation(CLASS)
            && !class.is_empty()
            && annotated != class
        {
            let at = Path::new("annotations");
            errors.invalid(
                &at.child(CLASS),
                annotated,
                "must match `ingressClassName` when both are specified",
            );
        }
    }

    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, _: &Object, _: &Limits) {
        whole(errors, new);
    }

    fn validate_status(&self, errors: &mut Findings, new: &Object, _: &Object) {
        let at = Path::new("status.loadBalancer.ingress");
        for (index, one) in list(&of(new, "status")["loadBalancer"], "ingress").iter().enumerate() {
            let at = &at.index(index);
            let ip = text(one, "ip");
            if !ip.is_empty() {
                address::ip(errors, &at.child("ip"), ip);
            }
            host_name(errors, &at.child("hostname"), text(one, "hostname"));
        }
    }
}

fn whole(errors: &mut Findings, ingress: &Object) {
    let spec = of(ingress, "spec");
    let (rules, backend) = (list(spec, "rules"), some(spec, "defaultBackend"));
    if rules.is_empty() && backend.is_none() {
        errors.invalid(&SPEC, Value::Null, "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(backend) = backend {
        self::backend(errors, &SPEC.child("defaultBackend"), backend);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = SPEC.child("rules");
        self::rule(errors, &at.index(index), rule);
    }
    for (index, tls) in list(spec, "tls").iter().enumerate() {
        let at = SPEC.child("tls");
        let at = &at.index(index);
        for (index, host) in strings(tls, "hosts").enumerate() {
            self::host(errors, &at.child("hosts").index(index), host);
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() {
            errors.each(&at.child("secretName"), secret, names::subdomain(secret));
        }
    }
    if let Some(class) = some(spec, "ingressClassName").and_then(Value::as_str) {
        errors.each(&SPEC.child("ingressClassName"), class, names::subdomain(class));
    }
}

fn rule(errors: &mut Findings, at: &Path<'_>, rule: &Value) {
    let host = text(rule, "host");
    if !host.is_empty() {
        if address::is_ip(host) {
            errors.invalid(&at.child("host"), host, "must be a DNS name, not an IP address");
        }
        self::host(errors, &at.child("host"), host);
    }
    let Some(http) = some(rule, "http") else { return };
    let at = at.child("http.paths");
    let paths = list(http, "paths");
    if paths.is_empty() {
        errors.required(&at, "");
    }
    for (index, path) in paths.iter().enumerate() {
        self::path(errors, &at.index(index), path);
    }
}

fn host(errors: &mut Findings, at: &Path<'_>, host: &str) {
    if !host.contains('*') {
        return errors.each(at, host, names::subdomain(host));
    }
    let good = host.strip_prefix("*.").is_some_and(|rest| names::subdomain(rest).is_empty());
    if !good {
        errors.invalid(at, host, WILDCARD);
    }
}

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn path(errors: &mut Findings, at: &Path<'_>, path: &Value) {
    let (kind, text) = (some(path, "pathType").and_then(Value::as_str), text(path, "path"));
    let here = &at.child("path");
    match kind {
        None => errors.required(&at.child("pathType"), "pathType must be specified"),
        Some("Exact" | "Prefix") => {
            if !text.starts_with('/') {
                errors.invalid(here, text, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| text.contains(**part)) {
                errors.invalid(here, text, format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|end| text.ends_with(**end)) {
                errors.invalid(here, text, format!("cannot end with '{end}'"));
            }
        }
        Some("ImplementationSpecific") if !text.is_empty() && !text.starts_with('/') => {
            errors.invalid(here, text, "must be an absolute path");
        }
        Some("ImplementationSpecific") => {}
        Some(other) => {
            errors.not_supported(
                &at.child("pathType"),
                other,
                &["Exact", "ImplementationSpecific", "Prefix"],
            );
        }
    }
    backend(errors, &at.child("backend"), &path["backend"]);
}

fn backend(errors: &mut Findings, at: &Path<'_>, backend: &Value) {
    match (some(backend, "resource"), some(backend, "service")) {
        (Some(_), Some(_)) => errors.invalid(at, "", "cannot set both resource and service backends"),
        (Some(resource), None) => reference(errors, &at.child("resource"), resource),
        (None, Some(service)) => {
            match text(service, "name") {
                "" => errors.required(&at.child("service.name"), ""),
                name => errors.each(&at.child("service.name"), name, names::label(name)),
            }
            let (name, port) =
                (text(&service["port"], "name"), number(&service["port"], "number").unwrap_or(0));
            match (name, port) {
                ("", 0) => errors.required(at, "port name or number is required"),
                ("", port) => port_number(errors, &at.child("service.port.number"), port),
                (name, 0) => errors.each(&at.child("service.port.name"), name, names::port(name)),
                _ => errors.invalid(at, "", "cannot set both port name & port number"),
            }
        }
        (None, None) => errors.invalid(at, "", "resource or service backend is required"),
    }
}

/// Names of the first rules.
fn hosts(rules: &[Value]) -> String {
    let named: Vec<&str> =
        rules.iter().map(|rule| text(rule, "host")).filter(|host| !host.is_empty()).collect();
    match &named[..] {
        [] => "*".into(),
        [first, second, third, _, ..] => {
            format!("{first},{second},{third} + {} more...", rules.len().saturating_sub(3))
        }
        few => few.join(","),
    }
}
