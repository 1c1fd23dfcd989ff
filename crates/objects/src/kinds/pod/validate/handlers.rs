//! Probes, and what is done when a container begins and ends.

use serde_json::Value;

use super::Pod;
use crate::field::Findings;
use crate::kinds::look::{list, number, some, text};
use crate::names;
use crate::path::Path;

/// A container's lifecycle and its probes.
pub(super) fn of_container(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, container: &Value) {
    if let Some(lifecycle) = some(container, "lifecycle") {
        let at = &at.child("lifecycle");
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = some(lifecycle, hook).map(|given| (given, at.child(hook))) {
                handler(errors, &hook.1, pod, hook.0, &["exec", "httpGet", "tcpSocket", "sleep"]);
            }
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = some(container, name) else { continue };
        let at = &at.child(name);
        self::probe(errors, at, pod, probe);
        let (field, grace) =
            ("terminationGracePeriodSeconds", number(probe, "terminationGracePeriodSeconds"));
        match name {
            "readinessProbe" => {
                if let Some(grace) = grace {
                    errors.invalid(&at.child(field), grace, "must not be set for readinessProbes");
                }
            }
            _ => {
                let threshold = number(probe, "successThreshold").unwrap_or(0);
                if threshold != 1 {
                    errors.invalid(&at.child("successThreshold"), threshold, "must be 1");
                }
            }
        }
    }
}

fn probe(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, probe: &Value) {
    handler(errors, at, pod, probe, &["exec", "httpGet", "tcpSocket", "grpc"]);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        super::not_negative(errors, &at.child(field), number(probe, field).unwrap_or(0));
    }
    let field = "terminationGracePeriodSeconds";
    if let Some(seconds) = number(probe, field).filter(|seconds| *seconds <= 0) {
        errors.invalid(&at.child(field), seconds, "must be greater than 0");
    }
}

/// One of several ways to do it.
fn handler(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, handler: &Value, ways: &[&str]) {
    let mut given = ways.iter().filter_map(|way| some(handler, way).map(|action| (*way, action)));
    let Some((way, action)) = given.next() else {
        return errors.required(at, "must specify a handler type");
    };
    {
        let at = &at.child(way);
        match way {
            "exec" if list(action, "command").is_empty() => errors.required(&at.child("command"), ""),
            "exec" => {}
            "httpGet" => http_get(errors, at, action),
            "tcpSocket" => port(errors, &at.child("port"), &action["port"]),
            "grpc" => port(errors, &at.child("port"), &action["port"]),
            _ => sleep(errors, at, pod, number(action, "seconds").unwrap_or(0)),
        }
    }
    given.for_each(|(way, _)| errors.forbidden(&at.child(way), "may not specify more than 1 handler type"));
}

fn http_get(errors: &mut Findings, at: &Path<'_>, action: &Value) {
    if text(action, "path").is_empty() {
        errors.required(&at.child("path"), "");
    }
    port(errors, &at.child("port"), &action["port"]);
    let scheme = text(action, "scheme");
    if !["HTTP", "HTTPS"].contains(&scheme) {
        errors.not_supported(&at.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in list(action, "httpHeaders") {
        let name = text(header, "name");
        errors.each(&at.child("httpHeaders"), name, names::header(name));
    }
}

/// A port, by its number or by its name.
fn port(errors: &mut Findings, at: &Path<'_>, port: &Value) {
    match port {
        Value::String(name) => errors.each(at, name, names::port(name)),
        port => super::port_number(errors, at, port.as_i64().unwrap_or(0)),
    }
}

fn sleep(errors: &mut Findings, at: &Path<'_>, pod: &Pod<'_>, seconds: i64) {
    let Some(grace) = number(pod.spec, "terminationGracePeriodSeconds") else { return };
    if seconds < 0 || seconds > grace {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(at, seconds, detail);
    }
}
