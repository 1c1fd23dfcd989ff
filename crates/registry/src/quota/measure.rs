//! What an object takes of quotas, by its kind (`pkg/quota/v1/evaluator`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokensmith_core::access::admission::{Operation, Write};
use tokensmith_core::moment::Moment;
use tokensmith_core::view::Snapshot;
use tokensmith_objects::kinds::storage::class_of;
use tokensmith_objects::{Object, pod, quantity};

use super::scopes::{Scoped, is_terminating};

/// Amounts by the names that quotas have for them.
pub(super) type Amounts = BTreeMap<String, String>;

/// What one object takes, and of whom.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Measure {
    pub(super) usage: Amounts,
    pub(super) scoped: Scoped,
}

/// How objects of a resource are measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evaluator {
    /// Claims of devices.
    Devices,
    Pods,
    Services,
    /// Each counts as one, under these names.
    Things {
        names: [String; 2],
    },
    /// Claims of volumes.
    Volumes,
}

/// What was never counted (`pkg/quota/v1/install/registry.go`). Reviews and bindings are not stored.
const IGNORED: [(&str, &str); 3] = [("", "bindings"), ("", "events"), ("events.k8s.io", "events")];
/// What quotas call by its resource alone.
const ALIASES: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
/// What each container has to name if a quota bounds it. That was a mistake, upstream says, which no further resource repeats.
const NAMED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
const OF_PODS: [&str; 11] = [
    "count/pods",
    "cpu",
    "ephemeral-storage",
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "memory",
    "pods",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const OF_SERVICES: [&str; 4] = ["count/services", "services", "services.loadbalancers", "services.nodeports"];
const CLAIMS: &str = "persistentvolumeclaims";
const COUNT_CLAIMS: &str = "count/persistentvolumeclaims";
const STORAGE: &str = "requests.storage";
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";
const COUNT_DEVICES: &str = "count/resourceclaims.resource.k8s.io";
const DEVICES_OF_CLASS: &str = ".deviceclass.resource.k8s.io/devices";
const IMPLICIT: &str = "deviceclass.resource.kubernetes.io/";
const REQUESTS: &str = "requests.";
/// A claim for all devices that there are has so many at most (`AllocationResultsMaxSize`).
const ALL_DEVICES: i64 = 32;

impl Evaluator {
    pub(super) fn of(group: &str, resource: &str) -> Option<Evaluator> {
        if group == "authorization.k8s.io" || IGNORED.contains(&(group, resource)) {
            return None;
        }
        Some(match (group, resource) {
            ("", "pods") => Evaluator::Pods,
            ("", "services") => Evaluator::Services,
            ("", CLAIMS) => Evaluator::Volumes,
            ("resource.k8s.io", "resourceclaims") => Evaluator::Devices,
            _ => {
                let dot = if group.is_empty() { "" } else { "." };
                let alias = ALIASES.iter().find(|alias| group.is_empty() && **alias == resource);
                let alias = alias.copied().unwrap_or_default().to_owned();
                Evaluator::Things { names: [format!("count/{resource}{dot}{group}"), alias] }
            }
        })
    }

    /// Whether each object counts as one.
    pub(super) fn is_count(&self) -> bool {
        matches!(self, Evaluator::Things { .. })
    }

    /// Whether a write can change what is used.
    pub(super) fn handles(&self, write: &Write<'_>, new: &Object) -> bool {
        let creates = write.operation == Operation::Create;
        match (self, write.subresource) {
            (Evaluator::Pods, "") => {
                creates || write.old.is_some_and(|old| is_terminating(old) != is_terminating(new))
            }
            (Evaluator::Pods, "resize") => !creates,
            (Evaluator::Volumes, "" | "status") | (Evaluator::Devices | Evaluator::Services, "") => true,
            (Evaluator::Things { .. }, "") => creates,
            _ => false,
        }
    }

    /// Whether a resource of a quota is measured here (`MatchingResources`).
    pub(super) fn counts(&self, resource: &str) -> bool {
        match self {
            Evaluator::Devices => {
                resource == COUNT_DEVICES
                    || resource.ends_with(DEVICES_OF_CLASS)
                    || is_extended_request(resource)
            }
            Evaluator::Pods => {
                let plain = resource.strip_prefix(REQUESTS).unwrap_or(resource);
                OF_PODS.contains(&resource)
                    || plain.starts_with(pod::HUGE_PAGES)
                    || is_extended_request(resource)
            }
            Evaluator::Services => OF_SERVICES.contains(&resource),
            Evaluator::Things { names } => !resource.is_empty() && names.iter().any(|name| name == resource),
            Evaluator::Volumes => {
                let of = |name: &str| {
                    resource
                        .strip_suffix(name)
                        .is_some_and(|class| class.is_empty() || class.ends_with(OF_CLASS))
                };
                resource == COUNT_CLAIMS || of(CLAIMS) || of(STORAGE)
            }
        }
    }

    pub(super) fn measure(&self, object: &Object, now: OffsetDateTime, objects: &Snapshot) -> Measure {
        let (usage, scoped) = match self {
            Evaluator::Devices => (devices(object, now, objects), Scoped::Other),
            Evaluator::Pods => (pod_usage(object, now), Scoped::pod(object)),
            Evaluator::Services => (service(object), Scoped::Other),
            Evaluator::Things { names } => {
                let names = names.iter().filter(|name| !name.is_empty());
                (names.map(|name| (name.clone(), "1".into())).collect(), Scoped::Other)
            }
            Evaluator::Volumes => (volume(object), Scoped::claim(object)),
        };
        Measure { usage, scoped }
    }

    /// By what has to be named, the containers that do not.
    pub(super) fn missing(&self, object: &Object) -> BTreeMap<&'static str, BTreeSet<String>> {
        let mut missing = BTreeMap::<_, BTreeSet<String>>::new();
        let spec = object.get("spec").unwrap_or(&Value::Null);
        if *self != Evaluator::Pods || pod::asks_as_a_whole(spec) {
            return missing;
        }
        let containers = |field| spec[field].as_array().into_iter().flatten();
        for container in containers("containers").chain(containers("initContainers")) {
            for name in NAMED {
                let (which, plain) = match name.split_once('.') {
                    Some(parts) => parts,
                    None => ("requests", name),
                };
                if container["resources"][which][plain].is_null() {
                    let container = container["name"].as_str().unwrap_or("").to_owned();
                    missing.entry(name).or_default().insert(container);
                }
            }
        }
        missing
    }
}

/// Whether it is what somebody else has put into nodes, as quotas call it.
fn is_extended_request(resource: &str) -> bool {
    let Some(plain) = resource.strip_prefix(REQUESTS) else { return false };
    !pod::is_native(resource) || plain.starts_with(IMPLICIT)
}

fn pod_usage(pod: &Object, now: OffsetDateTime) -> Amounts {
    let mut usage = Amounts::from([("count/pods".into(), "1".into())]);
    if !runs(pod, now) {
        return usage;
    }
    usage.insert("pods".into(), "1".into());
    for (name, amount) in pod::of_pod(pod, "requests") {
        let basic = matches!(name, "cpu" | "memory" | "ephemeral-storage");
        if basic || name.starts_with(pod::HUGE_PAGES) {
            usage.insert(name.into(), amount.clone());
        }
        if basic || name.starts_with(pod::HUGE_PAGES) || pod::is_extended(name) || name.starts_with(IMPLICIT)
        {
            usage.insert(format!("{REQUESTS}{name}"), amount);
        }
    }
    for (name, amount) in pod::of_pod(pod, "limits") {
        if matches!(name, "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), amount);
        }
    }
    usage
}

/// Whether a pod still takes what it asks for (`QuotaV1Pod`): one that has ended does not, nor one whose node does not say
/// that it has stopped.
fn runs(pod: &Object, now: OffsetDateTime) -> bool {
    if matches!(pod.str_at(&["status", "phase"]), "Failed" | "Succeeded") {
        return false;
    }
    let grace = pod.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    let end = pod.deletion_timestamp().zip(grace).map(|(end, grace)| end.plus(Duration::seconds(grace)));
    end.is_none_or(|end| now <= end)
}

fn service(service: &Object) -> Amounts {
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let with_ports = || ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0).count();
    let (balancers, node_ports) = match spec["type"].as_str() {
        Some("NodePort") => (0, ports.len()),
        // Node ports come later: what counts is what is wanted.
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => (1, with_ports()),
        Some("LoadBalancer") => (1, ports.len()),
        _ => (0, 0),
    };
    let all = [
        ("count/services", 1),
        ("services", 1),
        ("services.loadbalancers", balancers),
        ("services.nodeports", node_ports),
    ];
    all.map(|(name, count)| (name.to_owned(), count.to_string())).into()
}

fn volume(claim: &Object) -> Amounts {
    let mut usage = Amounts::from([(COUNT_CLAIMS.into(), "1".into()), (CLAIMS.into(), "1".into())]);
    let class = class_of(claim);
    let storage = |path: &[&str]| claim.at(path).and_then(Value::as_str);
    let asked = storage(&["spec", "resources", "requests", "storage"]);
    let given = storage(&["status", "allocatedResources", "storage"]);
    let size = asked.map(|asked| match given {
        Some(given) if quantity::compare(given, asked).is_gt() => quantity::whole(given),
        _ => quantity::whole(asked),
    });
    if !class.is_empty() {
        usage.insert(format!("{class}{OF_CLASS}{CLAIMS}"), "1".into());
    }
    if let Some(size) = size {
        if !class.is_empty() {
            usage.insert(format!("{class}{OF_CLASS}{STORAGE}"), size.clone());
        }
        usage.insert(STORAGE.into(), size);
    }
    usage
}

/// Devices by their class: of requests that name several classes, of each the most that may come of it. They count under the
/// name of the extended resource that the class stands for, too, less what the pod counts whose extended resource the claim is.
fn devices(claim: &Object, now: OffsetDateTime, objects: &Snapshot) -> Amounts {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    let requests = claim.at(&["spec", "devices", "requests"]).and_then(Value::as_array);
    for request in requests.into_iter().flatten() {
        let several = request["firstAvailable"].as_array().filter(|all| !all.is_empty());
        let one = Some(&request["exactly"]).filter(|one| several.is_none() && !one.is_null());
        let mut most: HashMap<&str, i64> = HashMap::new();
        for part in several.into_iter().flatten().chain(one) {
            let count = match part["allocationMode"].as_str() {
                Some("ExactCount") => part["count"].as_i64().unwrap_or(0),
                Some("All") => ALL_DEVICES,
                _ => 0,
            };
            let most = most.entry(part["deviceClassName"].as_str().unwrap_or("")).or_default();
            *most = count.max(*most);
        }
        for (class, count) in most {
            let sum = counts.entry(class).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    let mut usage = Amounts::from([(COUNT_DEVICES.into(), "1".into())]);
    let of_pod = pod_of(claim, objects).map(|pod| pod_usage(&pod, now)).unwrap_or_default();
    for (class, count) in counts {
        let count = count.to_string();
        let there = objects.get("resource.k8s.io", "deviceclasses", "", class);
        let extended = there.map(|class| class.text(&["spec", "extendedResourceName"]).into_owned());
        let extended = extended.filter(|name| !name.is_empty());
        for name in extended.into_iter().chain([format!("{IMPLICIT}{class}")]) {
            let name = format!("{REQUESTS}{name}");
            let rest = quantity::less(&count, of_pod.get(&name).map_or("0", String::as_str));
            if rest != "0" {
                usage.insert(name, rest);
            }
        }
        usage.insert(format!("{class}{DEVICES_OF_CLASS}"), count);
    }
    usage
}

/// The pod for whose extended resource a scheduler has made a claim: the one that says so, too. Who merely writes that into a
/// claim does not have it counted less.
fn pod_of(claim: &Object, objects: &Snapshot) -> Option<Object> {
    if claim.annotation("resource.kubernetes.io/extended-resource-claim") != Some("true") {
        return None;
    }
    let owners = claim.at(&["metadata", "ownerReferences"])?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    if owner["kind"] != "Pod" || owner["apiVersion"] != "v1" {
        return None;
    }
    let pod = objects.get("", "pods", claim.namespace(), owner["name"].as_str()?)?;
    let named = pod.text(&["status", "extendedResourceClaimStatus", "resourceClaimName"]);
    (owner["uid"] == pod.uid() && named == claim.name()).then(|| pod.object())
}
