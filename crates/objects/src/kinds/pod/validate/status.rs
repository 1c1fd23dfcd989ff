//! What may become of a pod's status (`ValidatePodStatusUpdate`): who reports it does so in steps that a pod can take.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{annotations, security};
use crate::field::{Findings, Reason};
use crate::kinds::internal;
use crate::kinds::look::{list, number, of, some, text};
use crate::path::Path;
use crate::validate::stays;
use crate::{FieldError, Object, address, names};

/// A status that was replaced. The spec is the stored one's.
pub(in crate::kinds::pod) fn status(errors: &mut Findings, new: &Object, old: &Object) {
    let (spec, status, before) = (of(new, "spec"), of(new, "status"), of(old, "status"));
    annotations::changed(errors, new, old);
    annotations::all(errors, &annotations::AT, of(new, "metadata"), spec);
    // Upstream says so of metadata.
    let at = Path::new("metadata.conditions");
    for (index, condition) in list(status, "conditions").iter().enumerate() {
        let kind = text(condition, "type");
        if !OWN.contains(&kind) {
            errors.each(&at.index(index).child("Type"), kind, names::qualified(kind));
        }
    }
    let at = &Path::new("status");
    let node = text(status, "nominatedNodeName");
    if !node.is_empty() && node != text(before, "nominatedNodeName") {
        errors.each(&at.child("nominatedNodeName"), node, names::subdomain(node));
    }
    let class = |status: &Value| Value::from(text(status, "qosClass"));
    stays(errors, &at.child("qosClass"), &class(status), &class(before));
    for (field, containers) in CONTAINERS {
        transitions(errors, &at.child(field), list(status, field), list(before, field), spec, containers);
    }
    claims(errors, &at.child("resourceClaimStatuses"), status, spec);
    pod_addresses(errors, &at.child("podIPs"), list(status, "podIPs"));
    host_addresses(errors, &at.child("hostIPs"), text(status, "hostIP"), list(status, "hostIPs"));
    let windows = spec["os"]["name"].as_str().unwrap_or("linux");
    for (field, _) in CONTAINERS {
        users(errors, &at.child(field), list(status, field), windows);
    }
    for (field, containers) in CONTAINERS {
        resources(errors, &at.child(field), list(status, field), containers.map(|field| list(spec, field)));
    }
}

/// Conditions that need no qualified name.
const OWN: [&str; 3] = ["PodScheduled", "Ready", "Initialized"];
/// Statuses of containers, and where the containers are; those that were put beside others are never started again, and claim nothing.
const CONTAINERS: [(&str, Option<&str>); 3] = [
    ("containerStatuses", Some("containers")),
    ("initContainerStatuses", Some("initContainers")),
    ("ephemeralContainerStatuses", None),
];

/// What has ended and is not started again stays so.
fn transitions(
    errors: &mut Findings,
    at: &Path<'_>,
    new: &[Value],
    old: &[Value],
    spec: &Value,
    containers: Option<&str>,
) {
    let whole = containers.map_or("Never", |_| text(spec, "restartPolicy"));
    if whole == "Always" || (containers.is_some() && restarts_all(spec)) {
        return;
    }
    let mut alive: HashMap<&str, usize> = HashMap::new();
    for status in new.iter().filter(|status| some(&status["state"], "terminated").is_none()) {
        let count = alive.entry(text(status, "name")).or_default();
        *count = count.saturating_add(1);
    }
    let by_name: HashMap<&str, &Value> = {
        let all = containers.map_or(&[][..], |field| list(spec, field)).iter().rev();
        all.map(|container| (text(container, "name"), container)).collect()
    };
    for (index, status) in old.iter().enumerate() {
        let Some(ended) = some(&status["state"], "terminated") else { continue };
        let (name, code) = (text(status, "name"), number(ended, "exitCode").unwrap_or(0));
        if restarts(by_name.get(name).copied(), whole, code) {
            continue;
        }
        for _ in 0..alive.get(name).copied().unwrap_or(0) {
            errors.forbidden(
                &at.index(index).child("state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

/// Whether a container that has ended with a code is started again: by the first of its rules that applies, else by its own policy,
/// else by its pod's (`ContainerShouldRestart`).
fn restarts(container: Option<&Value>, whole: &str, code: i64) -> bool {
    let by = |policy: &str| policy == "Always" || (policy == "OnFailure" && code != 0);
    let Some((container, own)) = container.and_then(|one| Some((one, one["restartPolicy"].as_str()?))) else {
        return by(whole);
    };
    let applies = |rule: &&Value| {
        let codes = &rule["exitCodes"];
        let listed = list(codes, "values").iter().any(|value| value.as_i64() == Some(code));
        match text(codes, "operator") {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    };
    let rule = list(container, "restartPolicyRules").iter().find(applies);
    rule.is_some_and(|rule| text(rule, "action") == "Restart") || by(own)
}

/// Whether the end of some container can have all of them started again.
fn restarts_all(spec: &Value) -> bool {
    ["containers", "initContainers"].iter().flat_map(|field| list(spec, field)).any(|container| {
        list(container, "restartPolicyRules")
            .iter()
            .any(|rule| text(rule, "action") == "RestartAllContainers")
    })
}

/// Claims that were made for the pod.
fn claims(errors: &mut Findings, at: &Path<'_>, status: &Value, spec: &Value) {
    let known: HashSet<&str> = list(spec, "resourceClaims").iter().map(|claim| text(claim, "name")).collect();
    let mut seen = HashSet::new();
    for (index, claim) in list(status, "resourceClaimStatuses").iter().enumerate() {
        let (at, name) = (&at.index(index), text(claim, "name"));
        let at = &at.child("name");
        if !known.contains(name) {
            errors.invalid(at, name, "must match the name of an entry in `spec.resourceClaims`");
        }
        if !seen.insert(name) {
            errors.duplicate(at, name);
        }
        if let Some(made) = claim["resourceClaimName"].as_str() {
            errors.each(at, made, names::subdomain(made));
        }
    }
}

fn pod_addresses(errors: &mut Findings, at: &Path<'_>, all: &[Value]) {
    each_address(errors, at, all);
    if all.len() > 1 {
        one_of_each_family(errors, at, all, "[]core.PodIP");
        single(errors, at, all, "core.PodIP");
    }
}

fn host_addresses(errors: &mut Findings, at: &Path<'_>, own: &str, all: &[Value]) {
    let Some(first) = all.first().map(|first| text(first, "ip")) else { return };
    if first != own {
        errors.invalid(&at.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    each_address(errors, at, all);
    if all.len() > 1 {
        single(errors, at, all, "core.HostIP");
        one_of_each_family(errors, at, all, "[]core.HostIP");
    }
}

fn each_address(errors: &mut Findings, at: &Path<'_>, all: &[Value]) {
    for (index, one) in all.iter().enumerate() {
        address::ip(errors, &at.index(index), text(one, "ip"));
    }
}

fn single(errors: &mut Findings, at: &Path<'_>, all: &[Value], kind: &str) {
    let mut seen = HashSet::new();
    for (index, one) in all.iter().enumerate().filter(|(_, one)| !seen.insert(text(one, "ip"))) {
        errors.duplicate(&at.index(index), internal::shown(one, kind));
    }
}

/// An address of each family at most.
fn one_of_each_family(errors: &mut Findings, at: &Path<'_>, all: &[Value], kind: &str) {
    let families = all.iter().enumerate().map(|(index, one)| {
        let ip = text(one, "ip");
        address::read(ip)
            .map(|(ip, _)| ip.to_canonical().is_ipv6())
            .ok_or_else(|| format!("invalid IP[{index}]: {ip}"))
    });
    let families = families.collect::<Result<HashSet<bool>, String>>();
    if let Err(cause) = &families {
        let message = format!("Internal error: failed to check for dual stack with error:{cause}");
        errors.push(|| FieldError { field: at.to_string(), reason: Reason::Internal, message });
    }
    if all.len() > 2 || families.is_ok_and(|families| families.len() < 2) {
        let shown = internal::shown(&Value::from(all.to_vec()), kind);
        errors.invalid(at, &shown, "may specify no more than one IP for each IP family");
    }
}

/// As whom containers run.
fn users(errors: &mut Findings, at: &Path<'_>, statuses: &[Value], system: &str) {
    for (index, status) in statuses.iter().enumerate() {
        let Some(user) = some(&status["user"], "linux") else { continue };
        let at = at.index(index);
        let at = &at.child("linux");
        match system {
            "windows" => errors.forbidden(at, "cannot be set for a windows pod"),
            "linux" => {
                for field in ["uid", "gid"] {
                    security::id(errors, &at.child(field), &user[field]);
                }
                let at = at.child("supplementalGroups");
                for (index, group) in list(user, "supplementalGroups").iter().enumerate() {
                    security::id(errors, &at.index(index), group);
                }
            }
            _ => {}
        }
    }
}

/// How devices are that containers have; `None` for containers that may have none.
fn resources(errors: &mut Findings, at: &Path<'_>, statuses: &[Value], containers: Option<&[Value]>) {
    let by_name = containers.map(|all| {
        let all = all.iter().rev().map(|container| (text(container, "name"), &container["resources"]));
        all.collect::<HashMap<_, _>>()
    });
    for (index, status) in statuses.iter().enumerate() {
        let all = list(status, "allocatedResourcesStatus");
        let at = at.index(index);
        let at = &at.child("allocatedResourcesStatus");
        let Some(by_name) = &by_name else {
            if !all.is_empty() {
                errors.forbidden(at, "must not be specified in container status");
            }
            continue;
        };
        let own = by_name.get(text(status, "name"));
        for (index, one) in all.iter().enumerate() {
            let at = &at.index(index);
            if let Some(own) = own {
                is_asked_for(errors, &at.child("name"), text(one, "name"), own);
            }
            let (at, mut seen) = (at.child("resources"), HashSet::new());
            for (index, device) in list(one, "resources").iter().enumerate() {
                let (at, health, id) = (&at.index(index), text(device, "health"), text(device, "resourceID"));
                if !HEALTH.contains(&health) {
                    errors.not_supported(&at.child("health"), health, &HEALTH);
                }
                if !seen.insert(id) {
                    errors.duplicate(&at.child("resourceID"), id);
                }
            }
        }
    }
}

const HEALTH: [&str; 3] = ["Healthy", "Unhealthy", "Unknown"];

fn is_asked_for(errors: &mut Findings, at: &Path<'_>, name: &str, own: &Value) {
    let claimed = |claim: &Value| match (text(claim, "name"), text(claim, "request")) {
        (of, "") => name.strip_prefix("claim:") == Some(of),
        (of, request) => {
            name.strip_prefix("claim:").and_then(|rest| rest.strip_prefix(of))
                == Some(&*format!("/{request}"))
        }
    };
    let (found, detail) = match name.starts_with("claim:") {
        true => (
            list(own, "claims").iter().any(claimed),
            "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty",
        ),
        false => {
            (some(&own["requests"], name).is_some(), "must match one of the container's resource requests")
        }
    };
    if !found {
        errors.invalid(at, name, detail);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::texts;

    fn judged(spec: Value, status: Value, before: Value) -> Vec<String> {
        let pod = |status: &Value| {
            let pod = json!({"metadata": {"name": "a"}, "spec": spec, "status": status});
            Object::from_value(pod).unwrap()
        };
        let mut errors = Findings::default();
        super::status(&mut errors, &pod(&status), &pod(&before));
        texts(errors)
    }

    #[test]
    fn what_has_ended_stays_so_unless_it_is_started_again() {
        let ended =
            |name: &str, code: i64| json!({"name": name, "state": {"terminated": {"exitCode": code}}});
        let runs = |name: &str| json!({"name": name, "state": {"running": {}}});
        let refused = |field: &str, index: usize| {
            format!(
                "status.{field}[{index}].state: Forbidden: may not be transitioned to non-terminated state"
            )
        };
        let rules = |action: &str| {
            json!([{"name": "a", "restartPolicy": "Never",
                "restartPolicyRules": [{"action": action, "exitCodes": {"operator": "In", "values": [3, 42]}}]}])
        };
        for (policy, containers, code, stays) in [
            ("Always", json!([]), 0, false),
            ("Never", json!([]), 1, true),
            ("OnFailure", json!([]), 0, true),
            ("OnFailure", json!([]), 1, false),
            // Its own policy and rules come first.
            ("Never", json!([{"name": "a", "restartPolicy": "Always"}]), 0, false),
            ("OnFailure", json!([{"name": "a", "restartPolicy": "Never"}]), 1, true),
            ("Never", rules("Restart"), 42, false),
            ("Never", rules("Restart"), 41, true),
            ("Never", rules("RestartAllContainers"), 41, false),
        ] {
            for (field, of) in
                [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")]
            {
                let spec = json!({"restartPolicy": policy, of: containers});
                let found = judged(
                    spec,
                    json!({field: [runs("b"), runs("a")]}),
                    json!({field: [ended("a", code), runs("b")]}),
                );
                let want = if stays { vec![refused(field, 0)] } else { Vec::new() };
                assert_eq!(found, want, "{policy} {containers} {code}");
            }
        }
        // What was put beside others is never started again, and what stays ended may say more.
        let field = "ephemeralContainerStatuses";
        let spec = json!({"restartPolicy": "Always"});
        let (old, new) = (json!({field: [runs("x"), ended("a", 1)]}), json!({field: [runs("a"), runs("a")]}));
        assert_eq!(judged(spec.clone(), new, old.clone()), [refused(field, 1), refused(field, 1)]);
        assert_eq!(judged(spec, old.clone(), old), [""; 0]);
    }

    #[test]
    fn a_status_names_what_there_is() {
        let spec = json!({
            "restartPolicy": "Always", "resourceClaims": [{"name": "gpu"}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}, "claims": [{"name": "gpu", "request": "r"}, {"name": "nic"}]}}],
        });
        let devices =
            |name: &str| json!({"name": name, "resources": [{"resourceID": "1", "health": "Healthy"}]});
        let named = ["cpu", "claim:gpu/r", "claim:nic"].map(devices);
        let good = json!({
            "qosClass": "Burstable",
            "conditions": [{"type": "Ready"}, {"type": "example.com/x"}],
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}],
            "resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "made"}],
            "containerStatuses": [
                {"name": "a", "allocatedResourcesStatus": named, "user": {"linux": {"uid": 0, "gid": 1}}},
                {"name": "gone", "allocatedResourcesStatus": [devices("memory")]},
            ],
        });
        assert_eq!(judged(spec.clone(), good.clone(), good.clone()), [""; 0]);
        let mut device = devices("claim:gpu");
        device["resources"] =
            json!([{"resourceID": "1", "health": "Fine"}, {"resourceID": "1", "health": "Unknown"}]);
        let bad = json!({
            "qosClass": "Guaranteed", "nominatedNodeName": "N",
            "conditions": [{"type": "a b"}],
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}, {"ip": "x"}],
            "hostIP": "10.0.0.2", "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.3"}],
            "resourceClaimStatuses": [{"name": "tpu", "resourceClaimName": "A"}, {"name": "tpu"}],
            "containerStatuses": [{"name": "a", "allocatedResourcesStatus": [devices("memory"), device],
                "user": {"linux": {"uid": -1, "supplementalGroups": [2_147_483_648_i64]}}}],
            "ephemeralContainerStatuses": [{"name": "e", "allocatedResourcesStatus": [devices("cpu")]}],
        });
        let found = judged(spec, bad, good);
        let fields: Vec<_> = found.iter().map(|text| text.split(": ").next().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "metadata.conditions[0].Type",
                "status.nominatedNodeName",
                "status.qosClass",
                "status.resourceClaimStatuses[0].name",
                "status.resourceClaimStatuses[0].name",
                "status.resourceClaimStatuses[1].name",
                "status.resourceClaimStatuses[1].name",
                "status.podIPs[2]",
                "status.podIPs",
                "status.podIPs",
                "status.podIPs[1]",
                "status.hostIPs[0].ip",
                "status.hostIPs",
                "status.containerStatuses[0].linux.uid",
                "status.containerStatuses[0].linux.supplementalGroups[0]",
                "status.containerStatuses[0].allocatedResourcesStatus[0].name",
                "status.containerStatuses[0].allocatedResourcesStatus[1].name",
                "status.containerStatuses[0].allocatedResourcesStatus[1].resources[0].health",
                "status.containerStatuses[0].allocatedResourcesStatus[1].resources[1].resourceID",
                "status.ephemeralContainerStatuses[0].allocatedResourcesStatus",
            ]
        );
        assert_eq!(found[2], "status.qosClass: Invalid value: \"Guaranteed\": field is immutable");
        assert_eq!(
            found[8],
            "status.podIPs: Internal error: failed to check for dual stack with error:invalid IP[2]: x"
        );
        assert_eq!(found[10], "status.podIPs[1]: Duplicate value: {\"IP\":\"10.0.0.1\"}");
        assert_eq!(
            found[12],
            "status.hostIPs: Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.3\"}]: may specify no more than one IP for each IP family"
        );
    }
}
