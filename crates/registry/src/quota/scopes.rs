//! Which objects a quota is about.

use std::collections::HashSet;

use serde_json::Value;
use tokensmith_objects::Object;

/// One of a quota's scopes (`ScopedResourceSelectorRequirement`).
#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    scope: String,
    operator: String,
    values: HashSet<String>,
}

impl Selector {
    /// Those of `spec.scopes` and of `spec.scopeSelector`.
    pub(super) fn all(spec: &Value) -> Vec<Selector> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let plain = list(&spec["scopes"]).into_iter().map(|scope| Selector {
            scope: text(&scope),
            operator: "Exists".into(),
            values: HashSet::new(),
        });
        let others = list(&spec["scopeSelector"]["matchExpressions"]).into_iter().map(|one| Selector {
            scope: text(&one["scopeName"]),
            operator: text(&one["operator"]),
            values: list(&one["values"]).iter().map(text).collect(),
        });
        plain.chain(others).collect()
    }

    /// Whether the names that something goes by are selected: one of them is enough.
    fn takes(&self, names: &[&str]) -> bool {
        match self.operator.as_str() {
            "Exists" => !names.is_empty(),
            "DoesNotExist" => names.is_empty(),
            "In" => names.iter().any(|name| self.values.contains(*name)),
            "NotIn" => names.is_empty() || names.iter().any(|name| !self.values.contains(*name)),
            _ => false,
        }
    }
}

/// What of an object scopes go by.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Scoped {
    Claim {
        attributes_classes: Vec<String>,
    },
    /// In no scope at all: a quota that has one is not about it.
    #[default]
    Other,
    Pod {
        best_effort: bool,
        crosses_namespaces: bool,
        priority_class: String,
        terminating: bool,
    },
}

impl Scoped {
    pub(super) fn pod(pod: &Object) -> Scoped {
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        Scoped::Pod {
            best_effort: pod.str_at(&["status", "qosClass"]) == "BestEffort",
            crosses_namespaces: crosses_namespaces(&spec["affinity"]),
            priority_class: spec["priorityClassName"].as_str().unwrap_or("").into(),
            terminating: is_terminating(pod),
        }
    }

    pub(super) fn claim(claim: &Object) -> Scoped {
        let paths: [&[&str]; 3] = [
            &["spec", "volumeAttributesClassName"],
            &["status", "currentVolumeAttributesClassName"],
            &["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"],
        ];
        let names = paths.map(|path| claim.str_at(path));
        let names = names.into_iter().filter(|name| !name.is_empty()).map(str::to_owned);
        Scoped::Claim { attributes_classes: names.collect() }
    }

    pub(super) fn is_in(&self, selector: &Selector) -> bool {
        match self {
            Scoped::Other => false,
            Scoped::Claim { attributes_classes } => {
                let names: Vec<_> = attributes_classes.iter().map(String::as_str).collect();
                selector.scope == "VolumeAttributesClass" && selector.takes(&names)
            }
            Scoped::Pod { best_effort, crosses_namespaces, priority_class, terminating } => {
                match selector.scope.as_str() {
                    "BestEffort" => *best_effort,
                    "CrossNamespacePodAffinity" => *crosses_namespaces,
                    "NotBestEffort" => !best_effort,
                    "NotTerminating" => !terminating,
                    "PriorityClass" if priority_class.is_empty() => selector.takes(&[]),
                    "PriorityClass" => selector.takes(&[priority_class]),
                    "Terminating" => *terminating,
                    _ => false,
                }
            }
        }
    }
}

pub(super) fn is_terminating(pod: &Object) -> bool {
    pod.at(&["spec", "activeDeadlineSeconds"]).and_then(Value::as_i64).is_some_and(|seconds| seconds >= 0)
}

fn crosses_namespaces(affinity: &Value) -> bool {
    let names_some = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|all| !all.is_empty())
            || !term["namespaceSelector"].is_null()
    };
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    ["podAffinity", "podAntiAffinity"].iter().any(|which| {
        let which = &affinity[which];
        list(&which["requiredDuringSchedulingIgnoredDuringExecution"]).iter().any(names_some)
            || list(&which["preferredDuringSchedulingIgnoredDuringExecution"])
                .iter()
                .any(|term| names_some(&term["podAffinityTerm"]))
    })
}
