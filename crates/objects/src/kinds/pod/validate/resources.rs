//! Requests and limits, of containers and of the pod.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::field::{Findings, Shared};
use crate::kinds::look::{entries, list, some, text};
use crate::kinds::pod::aggregate;
use crate::path::Path;
use crate::quantity::Amount;
use crate::{FieldError, names, quantity};

/// Names of `spec.resourceClaims`.
pub(super) type Claims<'a> = BTreeSet<&'a str>;

/// Which names of resources are good somewhere.
type Names = fn(&mut Findings, &Path<'_>, &str);

/// A container's `resources`.
pub(super) fn of_container(errors: &mut Findings, at: &Path<'_>, resources: &Value, claims: &Claims<'_>) {
    requirements(errors, at, resources, claims, container_name);
}

/// The `spec.resources` of a pod.
pub(super) fn of_pod(errors: &mut Findings, at: &Path<'_>, spec: &Value, claims: &Claims<'_>) {
    let Some(resources) = some(spec, "resources") else { return };
    let at = &at.child("resources");
    if text(&spec["os"], "name") == "windows" {
        return errors.forbidden(at, "may not be set for a windows pod");
    }
    if resources.get("claims").is_some() {
        errors.forbidden(&at.child("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements(errors, at, resources, claims, pod_name);
    consistency(errors, at, spec, resources);
}

/// `spec.overhead`: what it says is a limit.
pub(crate) fn overhead(errors: &mut Findings, at: &Path<'_>, overhead: &Value) {
    let limits = serde_json::json!({"limits": overhead});
    requirements(errors, at, &limits, &Claims::new(), container_name);
}

fn requirements(errors: &mut Findings, at: &Path<'_>, resources: &Value, claims: &Claims<'_>, name: Names) {
    let (limits, requests) = (at.child("limits"), at.child("requests"));
    let (mut huge, mut computes) = (false, false);
    let mut one = |errors: &mut Findings, at: &Path<'_>, resource: &str, amount: &str| {
        name(errors, at, resource);
        value(errors, at, resource, amount);
        if let Some(page) = resource.strip_prefix(HUGE_PAGES) {
            huge = true;
            if !divisible(page, amount) {
                errors.invalid(
                    at,
                    amount,
                    format!("{amount} is not positive integer multiple of {resource}"),
                );
            }
        }
        computes |= matches!(resource, "cpu" | "memory");
    };
    for (resource, amount) in entries(resources, "limits") {
        one(errors, &limits.key(resource), resource, amount.as_str().unwrap_or(""));
    }
    for (resource, amount) in entries(resources, "requests") {
        let amount = amount.as_str().unwrap_or("");
        one(errors, &requests.key(resource), resource, amount);
        match resources["limits"][resource].as_str() {
            Some(limit) => {
                let order = quantity::compare(amount, limit);
                if order.is_ne() && !overcommits(resource) {
                    errors.invalid(
                        &requests,
                        amount,
                        format!("must be equal to {resource} limit of {limit}"),
                    );
                } else if order.is_gt() {
                    let detail = format!("must be less than or equal to {resource} limit of {limit}");
                    errors.invalid(&requests, amount, detail);
                }
            }
            None if !overcommits(resource) => {
                errors.required(&limits, "Limit must be set for non overcommitable resources");
            }
            None => {}
        }
    }
    if huge && !computes {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
    claimed(errors, &at.child("claims"), list(resources, "claims"), claims);
}

/// Claims that a container uses are those of its pod, each once.
fn claimed(errors: &mut Findings, at: &Path<'_>, used: &[Value], claims: &Claims<'_>) {
    let mut seen = BTreeSet::new();
    let mut known = Shared::new(claims.iter().copied().collect::<Vec<_>>().join(", "));
    for (index, claim) in used.iter().enumerate() {
        let at = &at.index(index);
        let (name, request) = (text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.required(at, "");
            continue;
        }
        if seen.contains(&(name, "")) {
            errors.duplicate(at, name);
        } else {
            if !request.is_empty() {
                errors.each(&at.child("request"), request, names::label(request));
            }
            if seen.contains(&(name, request)) {
                errors.duplicate(at, format!("{name}/{request}"));
            } else if request.is_empty() {
                let others = seen.range((name, "")..).take_while(|(other, _)| *other == name);
                others.for_each(|_| errors.duplicate(at, name));
            }
            seen.insert((name, request));
        }
        if !claims.contains(name) {
            errors.push(|| {
                let mut error = FieldError::not_found(at, &name.into());
                error.message.push_str(": must be one of the names in pod.spec.resourceClaims");
                error.message.push_str(if claims.is_empty() { " which is empty" } else { ": " });
                error.message.push_str(known.text());
                error
            });
        }
    }
}

/// What a pod asks for as a whole is no less than what its containers ask for together.
fn consistency(errors: &mut Findings, at: &Path<'_>, spec: &Value, resources: &Value) {
    for (which, every) in [("requests", true), ("limits", false)] {
        let (at, sums) = (at.child(which), aggregate::together(spec, which));
        // Of limits only those of pages add up: of the others a container may use what another one leaves.
        let counted = entries(resources, which).filter(|(name, _)| every || name.starts_with(HUGE_PAGES));
        for (resource, amount) in counted {
            let amount = amount.as_str().unwrap_or("");
            if let Some(sum) = sums.get(&**resource).filter(|sum| quantity::compare(sum, amount).is_gt()) {
                let detail = format!("must be greater than or equal to aggregate container {which} of {sum}");
                errors.invalid(&at.key(resource), amount, detail);
            }
        }
    }
    // Each limit is read once, and a long one shown seldom: there may be many containers.
    let wholes =
        entries(resources, "limits").filter_map(|(name, amount)| Some((name.as_str(), amount.as_str()?)));
    let mut wholes: HashMap<_, _> =
        wholes.map(|(name, whole)| (name, (Amount::of(whole), Shared::new(whole)))).collect();
    let containers = at.child("containers");
    for (index, container) in list(spec, "containers").iter().enumerate() {
        for (resource, limit) in entries(&container["resources"], "limits") {
            let limit = limit.as_str().unwrap_or("");
            let Some((whole, shown)) = wholes.get_mut(resource.as_str()) else { continue };
            if Amount::of(limit).against(whole).is_gt() {
                errors.push(|| {
                    let detail = format!("must be less than or equal to pod limits of {}", shown.text());
                    FieldError::invalid(
                        &containers.index(index).key(resource).child("limits"),
                        &limit.into(),
                        detail,
                    )
                });
            }
        }
    }
}

/// An amount of a resource is not negative, and whole where it counts things.
pub(crate) fn value(errors: &mut Findings, at: &Path<'_>, resource: &str, amount: &str) {
    if quantity::compare(amount, "0").is_lt() {
        errors.invalid(at, amount, "must be greater than or equal to 0");
    }
    let whole = quantity::milli_value(amount).is_none_or(|milli| milli % 1000 == 0);
    if !whole && (COUNTED.contains(&resource) || is_extended(resource)) {
        errors.invalid(at, amount, "must be an integer");
    }
}

/// A resource's name: a standard one, or one of a domain.
pub(crate) fn any_name(errors: &mut Findings, at: &Path<'_>, resource: &str) -> bool {
    let found = names::qualified(resource);
    if !found.is_empty() {
        errors.each(at, resource, found);
        return false;
    }
    if !resource.contains('/') && !is_of_quotas(resource) {
        errors.invalid(at, resource, "must be a standard resource type or fully qualified");
        return false;
    }
    true
}

/// The same of a container.
pub(crate) fn container_name(errors: &mut Findings, at: &Path<'_>, resource: &str) {
    any_name(errors, at, resource);
    if !resource.contains('/') {
        if !OF_CONTAINERS.contains(&resource) && !resource.starts_with(HUGE_PAGES) {
            errors.invalid(at, resource, "must be a standard resource for containers");
        }
    } else if !is_native(resource) && !is_extended(resource) {
        errors.invalid(at, resource, "doesn't follow extended resource name standard");
    }
}

fn pod_name(errors: &mut Findings, at: &Path<'_>, resource: &str) {
    if any_name(errors, at, resource) && !is_of_pods(resource) {
        errors.not_supported(at, resource, &["cpu", "hugepages-", "memory"]);
    }
}

/// Whether a whole pod can ask for a resource.
pub(crate) fn is_of_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with(HUGE_PAGES)
}

/// Whether a quota can bound a resource of this name without a domain.
pub(crate) fn is_of_quotas(resource: &str) -> bool {
    let huge = [HUGE_PAGES, "requests.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    STANDARD.contains(&resource) || COUNTED.contains(&resource) || huge
}

/// Whether a name is of the system: without a domain, or of Kubernetes' own.
pub fn is_native(resource: &str) -> bool {
    !resource.contains('/') || resource.contains("kubernetes.io/")
}

/// Whether a name is of what somebody else has put into a node.
pub fn is_extended(resource: &str) -> bool {
    !is_native(resource)
        && !resource.starts_with("requests.")
        && names::qualified(&format!("requests.{resource}")).is_empty()
}

/// Whether more of a resource may be used than was asked for.
pub(crate) fn overcommits(resource: &str) -> bool {
    is_native(resource) && !resource.starts_with(HUGE_PAGES)
}

/// Whether an amount is a multiple of a page.
fn divisible(page: &str, amount: &str) -> bool {
    let size = quantity::value(page).filter(|size| *size > 0);
    let whole = quantity::milli_value(page).is_some_and(|milli| milli % 1000 == 0);
    let amount = quantity::value(amount);
    whole && size.zip(amount).is_some_and(|(size, amount)| amount.checked_rem(size) == Some(0))
}

/// What the name of pages of a size begins with.
pub const HUGE_PAGES: &str = "hugepages-";
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Beside what is [`COUNTED`].
const STANDARD: [&str; 11] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "storage",
    "requests.storage",
];
/// What is counted in whole things.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
