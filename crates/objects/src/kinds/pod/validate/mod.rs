//! What is wrong with a pod (`pkg/apis/core/validation/validation.go`), in upstream's order.

mod annotations;
mod container;
mod env;
mod handlers;
mod mounts;
mod network;
mod part;
pub(crate) mod resources;
mod restart;
pub(crate) mod scheduling;
mod security;
mod spread;
mod status;
mod update;
mod volume;
mod windows;

pub(super) use part::part;
pub(super) use status::status;
pub(super) use update::update;
pub(crate) use volume::{is_initiator, no_steps_back, source};

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{list, some, text};
use crate::path::Path;
use crate::validate::{Limits, meta, not_negative, selector};
use crate::{Object, names};

/// A new pod.
pub(super) fn create(errors: &mut Findings, pod: &Object, limits: &Limits) {
    let (at, spec) = (&SPEC, pod.get("spec").unwrap_or(&Value::Null));
    whole(errors, pod, limits);
    if !list(spec, "ephemeralContainers").is_empty() {
        errors.forbidden(&at.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(spec, "nodeName").is_empty() && !list(spec, "schedulingGates").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&at.child("nodeName"), detail);
    }
    security::annotated(errors, at, pod.get("metadata").unwrap_or(&Value::Null), spec);
}

const SPEC: Path<'static> = Path::new("spec");

/// What others make pods of.
pub(crate) fn template(errors: &mut Findings, at: &Path<'_>, template: &Value, limits: &Limits) {
    let (metadata, own) = (&template["metadata"], &template["spec"]);
    template_metadata(errors, at, metadata, own);
    let inner = at.child("spec");
    self::spec(errors, &inner, "", false, own, limits);
    security::annotated(errors, &inner, metadata, own);
    if !list(own, "ephemeralContainers").is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(&inner.child("ephemeralContainers"), detail);
    }
}

/// What a template says about its pods.
pub(crate) fn template_metadata(errors: &mut Findings, at: &Path<'_>, metadata: &Value, own: &Value) {
    selector::labels(errors, &at.child("labels"), &metadata["labels"]);
    let annotated = &at.child("annotations");
    meta::annotations(errors, annotated, metadata);
    annotations::all(errors, annotated, metadata, own);
}

/// What each pod is asked, new or changed.
fn whole(errors: &mut Findings, pod: &Object, limits: &Limits) {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let metadata = pod.get("metadata").unwrap_or(&Value::Null);
    annotations::all(errors, &annotations::AT, metadata, spec);
    self::spec(errors, &SPEC, pod.name(), pod.annotation(super::MIRROR).is_some(), spec, limits);
    // A template may do without an account, a pod not: its tokens are somebody's.
    if text(spec, "serviceAccountName").is_empty() {
        let volumes = SPEC.child("volumes");
        for (index, volume) in list(spec, "volumes").iter().enumerate() {
            let at = volumes.index(index);
            let at = at.child("projected.sources");
            for (index, source) in list(&volume["projected"], "sources").iter().enumerate() {
                if source.get("serviceAccountToken").is_some() {
                    let detail = "must not be specified when serviceAccountName is not set";
                    errors.forbidden(&at.index(index).child("serviceAccountToken"), detail);
                }
            }
        }
    }
    for field in ["containers", "initContainers"] {
        let at = SPEC.child(field);
        for (index, container) in list(spec, field).iter().enumerate() {
            container::image(errors, &at.index(index), container);
        }
    }
}

/// What the parts of a pod ask of the whole.
struct Pod<'a> {
    spec: &'a Value,
    volumes: volume::Volumes<'a>,
    claims: resources::Claims<'a>,
    /// Whether its users are those of its node.
    host_users: bool,
}

/// A pod's spec; `name` is the pod's, and a mirror stands for one that its node reads from a file.
fn spec(errors: &mut Findings, at: &Path<'_>, name: &str, mirror: bool, spec: &Value, limits: &Limits) {
    if spec.get("terminationGracePeriodSeconds").is_none() {
        errors.required(&at.child("terminationGracePeriodSeconds"), "");
    }
    let volumes = volume::volumes(errors, &at.child("volumes"), name, list(spec, "volumes"), limits);
    let claims = list(spec, "resourceClaims");
    let pod = Pod {
        spec,
        volumes,
        claims: claims.iter().map(|claim| text(claim, "name")).filter(|name| !name.is_empty()).collect(),
        host_users: spec["hostUsers"] != false,
    };
    resource_claims(errors, &at.child("resourceClaims"), mirror, claims);
    container::containers(errors, &at.child("containers"), &pod);
    container::init_containers(errors, &at.child("initContainers"), &pod);
    container::ephemeral_containers(errors, &at.child("ephemeralContainers"), &pod);
    resources::of_pod(errors, at, spec, &pod.claims);
    network::host_ports(errors, at, spec);
    one_of(
        errors,
        &at.child("restartPolicy"),
        text(spec, "restartPolicy"),
        &["Always", "OnFailure", "Never"],
    );
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(errors, &at.child("dnsPolicy"), text(spec, "dnsPolicy"), &policies);
    selector::labels(errors, &at.child("nodeSelector"), &spec["nodeSelector"]);
    security::of_pod(errors, &at.child("securityContext"), spec);
    scheduling::affinity(errors, &at.child("affinity"), &spec["affinity"]);
    network::dns(errors, &at.child("dnsConfig"), spec);
    for (index, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        errors.each(
            &at.child("readinessGates").index(index).child("conditionType"),
            kind,
            names::qualified(kind),
        );
    }
    scheduling::gates(errors, &at.child("schedulingGates"), list(spec, "schedulingGates"));
    let constraints = list(spec, "topologySpreadConstraints");
    spread::constraints(errors, &at.child("topologySpreadConstraints"), constraints);
    windows::host_processes(errors, at, spec);
    security::users(errors, at, spec);
    network::host_name(errors, at, spec);
    let named = |errors: &mut Findings, field: &str, findings: fn(&str) -> Vec<String>| {
        let name = text(spec, field);
        if !name.is_empty() {
            errors.each(&at.child(field), name, findings(name));
        }
    };
    named(errors, "serviceAccountName", names::subdomain);
    named(errors, "nodeName", names::subdomain);
    security::deadline(errors, at, spec);
    named(errors, "hostname", names::label);
    named(errors, "subdomain", names::label);
    scheduling::tolerations(errors, &at.child("tolerations"), list(spec, "tolerations"));
    network::aliases(errors, &at.child("hostAliases"), list(spec, "hostAliases"));
    named(errors, "priorityClassName", names::subdomain);
    if let Some(name) = spec["runtimeClassName"].as_str() {
        errors.each(&at.child("runtimeClassName"), name, names::subdomain(name));
    }
    if let Some(policy) = spec["preemptionPolicy"].as_str() {
        one_of(errors, &at.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    if let Some(overhead) = some(spec, "overhead") {
        resources::overhead(errors, &at.child("overhead"), overhead);
    }
    windows::system(errors, at, spec);
    env::files(errors, at, spec);
}

/// Devices that a pod claims.
fn resource_claims(errors: &mut Findings, at: &Path<'_>, mirror: bool, claims: &[Value]) {
    let mut seen = std::collections::HashSet::new();
    for (index, claim) in claims.iter().enumerate() {
        if mirror {
            // Upstream names no field, and a path of nothing is written so.
            errors.forbidden(&Path::new("[]"), "static pods do not support resource claims");
            continue;
        }
        let at = &at.index(index);
        let name = text(claim, "name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        } else {
            errors.each(&at.child("name"), name, names::label(name));
        }
        let shown = || crate::kinds::internal::shown(claim, "core.PodResourceClaim");
        let (own, template) =
            (claim["resourceClaimName"].as_str(), claim["resourceClaimTemplateName"].as_str());
        match (own, template) {
            (Some(_), Some(_)) => {
                let detail =
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(at, shown(), detail);
            }
            (None, None) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(at, shown(), detail);
            }
            _ => {}
        }
        for (field, name) in [("resourceClaimName", own), ("resourceClaimTemplateName", template)] {
            if let Some(name) = name {
                errors.each(&at.child(field), name, names::subdomain(name));
            }
        }
    }
}

/// A text that must be there, and be one of several.
fn one_of(errors: &mut Findings, at: &Path<'_>, text: &str, supported: &[&str]) {
    match text {
        "" => errors.required(at, ""),
        text if !supported.contains(&text) => errors.not_supported(at, text, supported),
        _ => {}
    }
}

fn port_number(errors: &mut Findings, at: &Path<'_>, number: i64) {
    if !(1..=65535).contains(&number) {
        errors.invalid(at, number, "must be between 1 and 65535, inclusive");
    }
}

/// Looks at containers of each sort, in upstream's order.
pub(super) fn each_container(spec: &Value, at: &Path<'_>, look: &mut dyn FnMut(&Path<'_>, &Value)) {
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        let at = at.child(field);
        for (index, container) in list(spec, field).iter().enumerate() {
            look(&at.index(index), container);
        }
    }
}

#[cfg(test)]
mod tests;
