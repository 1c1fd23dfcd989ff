//! What a pod's author is told although it is allowed (`pkg/api/pod/warnings.go`).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::validate::each_container;
use crate::field::go_quote;
use crate::kinds::look::{list, number, some, text};
use crate::names;
use crate::path::Path;

/// As many are told at most: what is not told in a few kilobytes of headers need not be found.
const MOST: usize = 256;

/// Labels of nodes that nobody should use any more.
const DEPRECATED: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];
/// Annotations that mean nothing any more.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
/// Volumes that go away.
const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Of a pod.
pub(super) fn pod(spec: &Value, annotations: &Value) -> Vec<String> {
    warnings(None, spec, annotations)
}

/// Of what others make pods of.
pub(in crate::kinds) fn template(at: &Path<'_>, template: &Value) -> Vec<String> {
    warnings(Some(at), &template["spec"], &template["metadata"]["annotations"])
}

/// Of an amount of bytes: none has a part. Amounts are canonical, so that they show it.
pub(in crate::kinds) fn fraction(at: &Path<'_>, amounts: &Value, name: &str) -> Option<String> {
    let amount = text(amounts, name);
    let what = || format!("fractional byte value {} is invalid, must be an integer", go_quote(amount));
    amount.ends_with(['m', 'u', 'n']).then(|| format!("{}: {}", at.key(name), what()))
}

/// Of nodes that something is on.
pub(in crate::kinds) fn node_terms(at: &Path<'_>, terms: &[Value]) -> Vec<String> {
    let mut told = Told(Vec::new());
    for (index, term) in terms.iter().enumerate() {
        told.term(&at.index(index), term, false);
    }
    told.0
}

fn warnings(at: Option<&Path<'_>>, spec: &Value, annotations: &Value) -> Vec<String> {
    let child = |name: &'static str| at.map_or(Path::new(name), |at| at.child(name));
    let (spec_at, metadata) = (child("spec"), child("metadata"));
    let annotations_at = metadata.child("annotations");
    let mut told = Told(Vec::new());
    told.nodes(&spec_at, spec);
    told.spread(&spec_at, spec);
    for (key, what) in ANNOTATIONS {
        if annotations.get(key).is_some() {
            told.say(&annotations_at.key(key), what);
        }
    }
    told.volumes(&spec_at, spec);
    told.twice(&spec_at.child("hostAliases"), list(spec, "hostAliases"), "ip");
    let pull = spec_at.child("imagePullSecrets");
    told.twice(&pull, list(spec, "imagePullSecrets"), "name");
    for (index, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            told.say(&pull.index(index).child("name"), "invalid empty name \"\"");
        }
    }
    told.fractions(&spec_at.child("overhead"), &spec["overhead"]);
    let has_profile = |value: &Value| !value["securityContext"]["seccompProfile"].is_null();
    let seccomp = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    if !has_profile(spec) && annotations.get(SECCOMP).is_some() {
        told.say(&annotations_at.key(SECCOMP), seccomp);
    }
    each_container(spec, &spec_at, &mut |at, container| {
        let key = format!("{SECCOMP_OF}{}", text(container, "name"));
        if !has_profile(container) && annotations.get(&key).is_some() {
            told.say(&annotations_at.key(&key), seccomp);
        }
        let resources = at.child("resources");
        for amounts in ["limits", "requests"] {
            told.fraction(&resources.child(amounts), &container["resources"][amounts], "memory");
        }
        for amounts in ["limits", "requests"] {
            told.fraction(&resources.child(amounts), &container["resources"][amounts], "ephemeral-storage");
        }
        told.environment(&at.child("env"), list(container, "env"));
    });
    told.ports(&spec_at, spec);
    let grace = "terminationGracePeriodSeconds";
    if number(spec, grace).is_some_and(|seconds| seconds < 0) {
        told.say(&spec_at.child(grace), "must be >= 0; negative values are invalid and will be treated as 1");
    }
    told.affinity(&spec_at.child("affinity"), &spec["affinity"]);
    told.0
}

struct Told(Vec<String>);

impl Told {
    fn say(&mut self, at: &Path<'_>, what: impl std::fmt::Display) {
        if self.0.len() < MOST {
            self.0.push(format!("{at}: {what}"));
        }
    }

    fn nodes(&mut self, at: &Path<'_>, spec: &Value) {
        for (key, _) in spec["nodeSelector"].as_object().into_iter().flatten() {
            if let Some(what) = deprecated(key) {
                self.say(&at.child("nodeSelector").key(key), what);
            }
        }
        let at = at.child("affinity.nodeAffinity");
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let affinity = &spec["affinity"]["nodeAffinity"];
        let at_required = at.child(required);
        let terms = at_required.child("nodeSelectorTerms");
        for (index, term) in list(&affinity[required], "nodeSelectorTerms").iter().enumerate() {
            self.term(&terms.index(index), term, false);
        }
        let preferred = at.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list(affinity, preferred.name()).iter().enumerate() {
            self.term(&preferred.index(index).child("preference"), &term["preference"], true);
        }
    }

    fn term(&mut self, at: &Path<'_>, term: &Value, values: bool) {
        let at = at.child("matchExpressions");
        for (index, expression) in list(term, "matchExpressions").iter().enumerate() {
            let (at, key) = (at.index(index), text(expression, "key"));
            if let Some(what) = deprecated(key) {
                self.say(&at.child("key"), format_args!("{key} is {what}"));
            }
            for (index, value) in list(expression, "values").iter().enumerate().filter(|_| values) {
                let value = value.as_str().unwrap_or("");
                for what in names::label_value(value) {
                    self.say(&at.child("values").index(index), format_args!("{value} is invalid, {what}"));
                }
            }
        }
    }

    fn spread(&mut self, at: &Path<'_>, spec: &Value) {
        let at = at.child("topologySpreadConstraints");
        for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
            let (at, key) = (at.index(index), text(constraint, "topologyKey"));
            if let Some(what) = deprecated(key) {
                self.say(&at.child("topologyKey"), format_args!("{key} is {what}"));
            }
            self.selector(&at, constraint);
        }
    }

    fn selector(&mut self, at: &Path<'_>, holder: &Value) {
        if some(holder, "labelSelector").is_none() {
            self.say(&at.child("labelSelector"), "a null labelSelector results in matching no pod");
        }
    }

    fn affinity(&mut self, at: &Path<'_>, affinity: &Value) {
        for which in ["podAffinity", "podAntiAffinity"] {
            let at = at.child(which);
            let required = at.child("requiredDuringSchedulingIgnoredDuringExecution");
            for (index, term) in list(&affinity[which], required.name()).iter().enumerate() {
                self.selector(&required.index(index), term);
            }
            let preferred = at.child("preferredDuringSchedulingIgnoredDuringExecution");
            for (index, term) in list(&affinity[which], preferred.name()).iter().enumerate() {
                self.selector(&preferred.index(index).child("podAffinityTerm"), &term["podAffinityTerm"]);
            }
        }
    }

    fn volumes(&mut self, at: &Path<'_>, spec: &Value) {
        let at = at.child("volumes");
        for (index, volume) in list(spec, "volumes").iter().enumerate() {
            for (name, what) in VOLUMES {
                if some(volume, name).is_some() {
                    // As Go's field is called where this is said.
                    let name = if name == "storageos" { "storageOS" } else { name };
                    self.say(&at.index(index).child(name), what);
                }
            }
        }
    }

    fn twice(&mut self, at: &Path<'_>, items: &[Value], field: &str) {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            if !seen.insert(text(item, field)) {
                let shown = go_quote(text(item, field));
                self.say(&at.index(index).child(field), format_args!("duplicate {field} {shown}"));
            }
        }
    }

    fn fractions(&mut self, at: &Path<'_>, amounts: &Value) {
        ["memory", "ephemeral-storage"].iter().for_each(|name| self.fraction(at, amounts, name));
    }

    fn fraction(&mut self, at: &Path<'_>, amounts: &Value, name: &str) {
        if self.0.len() < MOST {
            self.0.extend(fraction(at, amounts, name));
        }
    }

    fn environment(&mut self, at: &Path<'_>, variables: &[Value]) {
        let mut seen = HashSet::new();
        for (index, variable) in variables.iter().enumerate() {
            let (name, value) = (text(variable, "name"), text(variable, "value"));
            if seen.insert(name) {
                continue;
            }
            let before = format!("$({name})");
            if some(variable, "valueFrom").is_some() || value == before || !value.contains(&before) {
                let shown = go_quote(name);
                let what = format_args!(
                    "hides previous definition of {shown}, which may be dropped when using apply"
                );
                self.say(&at.index(index), what);
            }
        }
    }

    fn ports(&mut self, at: &Path<'_>, spec: &Value) {
        let mut known: HashMap<(i64, &str), Others<'_>> = HashMap::new();
        let mut names: HashMap<&str, String> = HashMap::new();
        let mut all = Vec::new();
        each_container_of(spec, |field, index, container| {
            for (port_at, port) in list(container, "ports").iter().enumerate() {
                let at = at.child(field);
                let at = at.index(index);
                all.push((at.child("ports").index(port_at).to_string(), port));
            }
        });
        for (here, port) in &all {
            let at = &Path::new(here);
            let own = (number(port, "hostPort").unwrap_or(0), text(port, "hostIP"));
            let key = (number(port, "containerPort").unwrap_or(0), text(port, "protocol"));
            let others = known.entry(key).or_default();
            for (there, other) in others.that_concern(own.0) {
                if self.0.len() == MOST {
                    return;
                }
                if own == other {
                    self.say(at, format_args!("duplicate port definition with {there}"));
                } else if own.0 == 0 || other.0 == 0 {
                    self.say(at, format_args!("overlapping port definition with {there}"));
                } else if own.1.is_empty() != other.1.is_empty() {
                    self.say(at, format_args!("dangerously ambiguous port definition with {there}"));
                }
            }
            others.add(own, here);
        }
        for (here, port) in &all {
            let name = text(port, "name");
            match names.get(name) {
                Some(other) => {
                    let shown = go_quote(name);
                    let what = format_args!(
                        "duplicate port name {shown} with {other}, services and probes that select ports by name will use {other}"
                    );
                    self.say(&Path::new(here), what);
                }
                None if !name.is_empty() => drop(names.insert(name, here.clone())),
                None => {}
            }
        }
    }
}

/// A port of the host, `0` for none, and its address.
type Host<'a> = (i64, &'a str);

/// Ports of one number, as they came: those of a host's port concern only those of the same one and those of none, of which
/// there may be ten thousand others.
#[derive(Default)]
struct Others<'a> {
    all: Vec<(&'a str, Host<'a>)>,
    by_host: HashMap<i64, Vec<usize>>,
}

impl<'a> Others<'a> {
    fn that_concern(&self, host: i64) -> impl Iterator<Item = (&'a str, Host<'a>)> + '_ {
        let of = |host| self.by_host.get(&host).map_or(&[][..], Vec::as_slice);
        let every = if host == 0 { self.all.len() } else { 0 };
        let (same, none) = if host == 0 { (&[][..], &[][..]) } else { (of(host), of(0)) };
        let mut some: Vec<usize> = same.iter().chain(none).copied().take(2 * MOST).collect();
        some.sort_unstable();
        (0..every).chain(some).map(|at| self.all[at])
    }

    fn add(&mut self, host: Host<'a>, here: &'a str) {
        let places = self.by_host.entry(host.0).or_default();
        // What is beyond the bound is not told.
        if places.len() < MOST {
            places.push(self.all.len());
        }
        self.all.push((here, host));
    }
}

fn deprecated(label: &str) -> Option<&'static str> {
    DEPRECATED.iter().find(|(known, _)| *known == label).map(|(_, what)| *what)
}

/// Containers of each sort with where they stand.
fn each_container_of<'a>(spec: &'a Value, mut look: impl FnMut(&'static str, usize, &'a Value)) {
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        list(spec, field).iter().enumerate().for_each(|(index, container)| look(field, index, container));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(spec: Value) -> Vec<String> {
        pod(&spec, &json!({SECCOMP: "x"}))
    }

    #[test]
    fn what_is_allowed_and_unwise_is_told() {
        let same = "spec.containers[1].ports[0]: duplicate port name \"web\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]";
        let port = |number: i64| json!({"name": "web", "containerPort": number, "protocol": "TCP"});
        let profile = json!({"seccompProfile": {"type": "RuntimeDefault"}});
        let with_profile =
            json!({"securityContext": profile, "containers": [{"ports": [port(1)]}, {"ports": [port(2)]}]});
        assert_eq!(said(with_profile), [same]);
        let unwise = json!({
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "hostAliases": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}],
            "volumes": [{"name": "v", "gitRepo": {}}],
            "terminationGracePeriodSeconds": -1,
            "initContainers": [{"ports": [{"containerPort": 1, "protocol": "TCP"}]}],
            "containers": [{
                "resources": {"limits": {"memory": "1500m"}},
                "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}],
                "ports": [{"containerPort": 1, "protocol": "TCP"}],
            }],
            "topologySpreadConstraints": [{"topologyKey": "zone"}],
        });
        assert_eq!(
            said(unwise),
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
                "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                "spec.hostAliases[1].ip: duplicate ip \"1.2.3.4\"",
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]",
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
            ]
        );
        let many: Vec<_> = (0..20_000).map(|_| json!({"containerPort": 1, "protocol": "TCP"})).collect();
        assert_eq!(said(json!({"containers": [{"ports": many}]})).len(), MOST);
    }
}
