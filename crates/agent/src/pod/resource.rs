//! Resources of a container that it may see (`pkg/api/v1/resource/helpers.go`).

use std::collections::HashMap;

use serde_json::Value;
use tokensmith_objects::{FieldError, Object, names, quantity};

use super::error::SourceError;
use super::parse::{Parsed, name, text};

/// What a node can give to pods. It stands in for a limit that a container does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeResources {
    /// Thousandths of a processor.
    pub cpu_millis: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// Bytes.
    pub ephemeral_storage_bytes: i64,
}

/// A `resourceFieldRef`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceField {
    /// Whose resource; `None` in a variable: the container's own.
    pub container: Option<String>,
    /// E.g. `limits.cpu`.
    pub resource: String,
    /// The unit of the answer, a quantity.
    pub divisor: String,
}

impl ResourceField {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in the API server's words.
    pub fn new(field: &str, reference: &Value) -> Parsed<Self> {
        let resource = text(reference, "resource");
        if resource.is_empty() {
            return Err(FieldError::required(format!("{field}.resource"), ""));
        }
        if !is_known(resource) {
            let known = NAMES.iter().flat_map(|name| [format!("limits.{name}"), format!("requests.{name}")]);
            let mut known: Vec<String> = known.collect();
            known.sort();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(FieldError::not_supported(format!("{field}.resource"), &resource.into(), &known));
        }
        let given = match &reference["divisor"] {
            Value::Null => "1".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let divisor = match quantity::milli_value(&given) {
            Some(0) => "1".to_owned(),
            Some(n) if n > 0 => given,
            _ => {
                let field = format!("{field}.divisor");
                return Err(FieldError::invalid(field, &reference["divisor"], "must be a positive quantity"));
            }
        };
        let container = Some(text(reference, "containerName")).filter(|c| !c.is_empty());
        if let Some(container) = container {
            name(&format!("{field}.containerName"), container, names::label)?;
        }
        Ok(ResourceField { container: container.map(Into::into), resource: resource.into(), divisor })
    }

    /// The amount in units of the divisor, rounded up. `own` is the container that a variable belongs to: in its
    /// variables, and not in its files, the pod's limits come before the node's (`defaultPodLimitsForDownwardAPI`).
    ///
    /// # Errors
    /// The pod has no such container.
    pub fn value(
        &self,
        pod: &Object,
        containers: &Containers<'_>,
        own: Option<&str>,
        node: &NodeResources,
    ) -> Result<String, SourceError> {
        let name = self.container.as_deref().or(own).unwrap_or("");
        let container = containers
            .get(name, own.is_some() && self.container.is_none())
            .ok_or_else(|| SourceError::Container(name.into()))?;
        let (which, resource) = self.resource.split_once('.').unwrap_or_default();
        let measure = if resource == "cpu" { quantity::milli_value } else { quantity::value };
        let amount = |resources: &Value| {
            let given = match &resources[which][resource] {
                Value::Number(number) => measure(&number.to_string()),
                given => measure(given.as_str().unwrap_or("")),
            };
            given.filter(|n| *n != 0)
        };
        let limit = || {
            let of_pod =
                pod.at(&["spec", "resources"]).filter(|_| own.is_some() && resource != "ephemeral-storage");
            of_pod.and_then(amount).or(match resource {
                "cpu" => Some(node.cpu_millis),
                "memory" => Some(node.memory_bytes),
                "ephemeral-storage" => Some(node.ephemeral_storage_bytes),
                _ => None,
            })
        };
        let found = amount(&container["resources"]).or_else(|| limit().filter(|_| which == "limits"));
        let divisor = i128::from(measure(&self.divisor).unwrap_or(1).max(1));
        let found = i128::from(found.unwrap_or(0));
        Ok((found.div_euclid(divisor) + i128::from(found.rem_euclid(divisor) != 0)).to_string())
    }
}

const NAMES: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];

/// `limits.` or `requests.`, and what a container can be given.
fn is_known(resource: &str) -> bool {
    let name = resource.strip_prefix("limits.").or_else(|| resource.strip_prefix("requests."));
    name.is_some_and(|name| NAMES.contains(&name) || name.starts_with("hugepages-"))
}

/// A pod's containers by their names. Ephemeral ones have variables of their own, but nobody else sees their resources.
pub struct Containers<'a> {
    lasting: HashMap<&'a str, &'a Value>,
    ephemeral: HashMap<&'a str, &'a Value>,
}

impl<'a> Containers<'a> {
    /// Of a pod as it is now.
    pub fn of(pod: &'a Object) -> Self {
        let by_name = |lists: &[&str]| {
            let mut found = HashMap::new();
            for container in lists.iter().filter_map(|list| pod.at(&["spec", list])?.as_array()).flatten() {
                // The first of a name counts.
                found.entry(text(container, "name")).or_insert(container);
            }
            found
        };
        Containers {
            lasting: by_name(&["containers", "initContainers"]),
            ephemeral: by_name(&["ephemeralContainers"]),
        }
    }

    fn get(&self, name: &str, ephemeral: bool) -> Option<&'a Value> {
        let of_these = || self.ephemeral.get(name).filter(|_| ephemeral);
        self.lasting.get(name).or_else(of_these).copied()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Object {
        Object::from_value(json!({"spec": {
            "resources": {"limits": {"cpu": "3"}},
            "containers": [
                {"name": "c", "resources": {
                    "limits": {"cpu": "1500m", "memory": "64Mi", "hugepages-2Mi": "4Mi"},
                    "requests": {"cpu": "100m", "memory": "1000k", "ephemeral-storage": "1Gi"}}},
                {"name": "bare"},
            ],
            "initContainers": [{"name": "i", "resources": {"limits": {"cpu": 2}}}],
            "ephemeralContainers": [{"name": "e"}],
        }}))
        .unwrap()
    }

    const NODE: NodeResources =
        NodeResources { cpu_millis: 8000, memory_bytes: 1 << 34, ephemeral_storage_bytes: 5_000_000_001 };

    fn ask(reference: Value, own: Option<&str>) -> Result<String, String> {
        let field = ResourceField::new("f", &reference).map_err(|e| e.to_string())?;
        field.value(&pod(), &Containers::of(&pod()), own, &NODE).map_err(|e| e.to_string())
    }

    #[test]
    fn amounts_are_rounded_up() {
        for (container, resource, divisor, want) in [
            ("c", "limits.cpu", json!(null), "2"),
            ("c", "limits.cpu", json!("0"), "2"),
            ("c", "limits.cpu", json!("1m"), "1500"),
            ("c", "limits.cpu", json!(1), "2"),
            ("c", "requests.cpu", json!("1"), "1"),
            ("c", "limits.memory", json!(null), "67108864"),
            ("c", "limits.memory", json!("1Mi"), "64"),
            ("c", "limits.memory", json!("1M"), "68"),
            ("c", "requests.memory", json!("1Ki"), "977"),
            ("c", "requests.ephemeral-storage", json!("1Gi"), "1"),
            ("c", "limits.ephemeral-storage", json!("1G"), "6"),
            ("c", "limits.hugepages-2Mi", json!("1Mi"), "4"),
            ("bare", "limits.hugepages-2Mi", json!(null), "0"),
            ("bare", "limits.cpu", json!(null), "8"),
            ("bare", "limits.memory", json!("1Gi"), "16"),
            ("bare", "requests.cpu", json!(null), "0"),
            ("i", "limits.cpu", json!(null), "2"),
        ] {
            let reference = json!({"containerName": container, "resource": resource, "divisor": divisor});
            assert_eq!(ask(reference, None).as_deref(), Ok(want), "{container} {resource} {divisor}");
        }
    }

    #[test]
    fn in_a_variable_the_pods_limit_comes_before_the_nodes() {
        let cpu = json!({"resource": "limits.cpu"});
        assert_eq!(ask(cpu.clone(), Some("bare")).as_deref(), Ok("3"));
        assert_eq!(ask(cpu.clone(), Some("e")).as_deref(), Ok("3"));
        assert_eq!(ask(cpu, Some("c")).as_deref(), Ok("2"));
        assert_eq!(
            ask(json!({"resource": "limits.memory", "divisor": "1Gi"}), Some("bare")).as_deref(),
            Ok("16")
        );
    }

    #[test]
    fn refusals() {
        for (reference, want) in [
            (json!({}), "f.resource: Required value"),
            (
                json!({"resource": "limits.cpu", "divisor": "-1"}),
                "f.divisor: Invalid value: \"-1\": must be a positive quantity",
            ),
            (
                json!({"resource": "limits.cpu", "divisor": "x"}),
                "f.divisor: Invalid value: \"x\": must be a positive quantity",
            ),
            (json!({"resource": "limits.cpu", "containerName": "z"}), "container z not found"),
            (json!({"resource": "limits.cpu", "containerName": "e"}), "container e not found"),
            (
                json!({"resource": "limits.disk", "containerName": "c"}),
                "f.resource: Unsupported value: \"limits.disk\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\"",
            ),
        ] {
            assert_eq!(ask(reference, None).unwrap_err(), want);
        }
        for resource in ["cpu", "usage.cpu", "limits.", "requests.cpu.x"] {
            assert!(ask(json!({"resource": resource, "containerName": "c"}), None).is_err(), "{resource}");
        }
        assert!(ask(json!({"resource": "limits.cpu", "containerName": "a/b"}), None).is_err());
    }
}
