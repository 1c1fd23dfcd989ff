//! The Node authorizer: a node may read what its own pods use, and mint for their accounts
//! (`plugin/pkg/auth/authorizer/node`).

use serde_json::Value;
use tokensmith_objects::Object;

use super::rbac::{Rule, UserRules};
use super::{Attributes, Authorizer, Decision, Identity};
use crate::view::Snapshot;

/// The authorizer for mode `Node`.
pub struct NodeAuthorizer {
    /// What every node may do besides, whatever runs on it.
    rules: Vec<Rule>,
}

impl NodeAuthorizer {
    /// `bootstrap`: the objects of a fresh cluster; upstream takes the node's rules from the same list.
    pub fn new(bootstrap: &[Object]) -> Self {
        let role = bootstrap.iter().find(|o| o.kind() == "ClusterRole" && o.name() == "system:node");
        NodeAuthorizer { rules: role.map(Rule::all_of).unwrap_or_default() }
    }

    fn reads(&self, node: &str, a: &Attributes, objects: &Snapshot) -> Decision {
        // A node gets single objects by name; a list or watch must be of that one name.
        if !matches!(a.verb.as_str(), "get" | "list" | "watch") {
            return Decision::NoOpinion("can only read resources of this type".into());
        }
        if !a.subresource.is_empty() {
            return Decision::NoOpinion("cannot read subresource".into());
        }
        if a.name.is_empty() {
            return Decision::NoOpinion("No Object name found".into());
        }
        related(node, objects, &a.namespace, |pod| references(pod, &a.resource, &a.name))
    }

    fn tokens(&self, node: &str, a: &Attributes, objects: &Snapshot) -> Decision {
        if a.verb != "create" {
            return Decision::NoOpinion("can only create token subresource of serviceaccount".into());
        }
        if a.name.is_empty() {
            return Decision::NoOpinion("can only create tokens for individual service accounts".into());
        }
        related(node, objects, &a.namespace, |pod| pod.str_at(&["spec", "serviceAccountName"]) == a.name)
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, user: &Identity, a: &Attributes, objects: &Snapshot) -> Decision {
        let Some(node) = node_name(user) else { return Decision::NoOpinion(String::new()) };
        if a.resource_request && a.group.is_empty() {
            match a.resource.as_str() {
                "secrets" | "configmaps" => return self.reads(node, a, objects),
                "serviceaccounts" if a.subresource == "token" => return self.tokens(node, a, objects),
                "serviceaccounts" => {
                    return Decision::NoOpinion("can only create token subresource of serviceaccount".into());
                }
                // Its own Node object, and no other's.
                "nodes" if a.verb == "get" && a.name != node => {
                    return Decision::NoOpinion(format!(
                        "node '{node}' cannot read '{}', only its own Node object",
                        a.name
                    ));
                }
                "pods" if a.verb == "get" && a.subresource.is_empty() => {
                    let pod = objects.get("", "pods", &a.namespace, &a.name);
                    return match pod.is_some_and(|p| on_node(p, node)) {
                        true => Decision::Allow(String::new()),
                        false => no_relationship(node),
                    };
                }
                _ => {}
            }
        }
        match self.rules.iter().any(|rule| rule.allows(a)) {
            true => Decision::Allow(String::new()),
            false => Decision::NoOpinion(String::new()),
        }
    }

    fn rules_for(&self, user: &Identity, _namespace: &str, _objects: &Snapshot) -> UserRules {
        match node_name(user) {
            Some(_) => UserRules {
                incomplete: true,
                errors: vec!["node authorizer does not support user rule resolution".into()],
                ..UserRules::default()
            },
            None => UserRules::default(),
        }
    }
}

/// The node that a user is: `system:node:NAME` in group `system:nodes`.
pub fn node_name(user: &Identity) -> Option<&str> {
    let name = user.name.strip_prefix("system:node:").filter(|n| !n.is_empty())?;
    user.groups.iter().any(|g| g == "system:nodes").then_some(name)
}

fn on_node(pod: &Object, node: &str) -> bool {
    pod.str_at(&["spec", "nodeName"]) == node
}

fn related(node: &str, objects: &Snapshot, namespace: &str, uses: impl Fn(&Object) -> bool) -> Decision {
    if namespace.is_empty() {
        return no_relationship(node);
    }
    let found = objects.list("", "pods", namespace).any(|(_, pod)| on_node(pod, node) && uses(pod));
    if found { Decision::Allow(String::new()) } else { no_relationship(node) }
}

fn no_relationship(node: &str) -> Decision {
    Decision::NoOpinion(format!("no relationship found between node '{node}' and this object"))
}

/// Whether a pod refers to a Secret or ConfigMap: in volumes, projected sources, environments, pull secrets.
fn references(pod: &Object, resource: &str, name: &str) -> bool {
    let empty = Vec::new();
    let list = |field: &str| pod.at(&["spec", field]).and_then(Value::as_array).unwrap_or(&empty);
    let (volume_key, name_key, env_key, from_key) = match resource {
        "secrets" => ("secret", "secretName", "secretKeyRef", "secretRef"),
        _ => ("configMap", "name", "configMapKeyRef", "configMapRef"),
    };
    let is = |value: &Value| value.as_str() == Some(name);
    let volumes = list("volumes").iter().any(|v| {
        is(&v[volume_key][name_key])
            || v["projected"]["sources"].as_array().into_iter().flatten().any(|s| is(&s[volume_key]["name"]))
    });
    let containers =
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(list).any(|c| {
            c["env"].as_array().into_iter().flatten().any(|e| is(&e["valueFrom"][env_key]["name"]))
                || c["envFrom"].as_array().into_iter().flatten().any(|e| is(&e[from_key]["name"]))
        });
    volumes
        || containers
        || (resource == "secrets" && list("imagePullSecrets").iter().any(|s| is(&s["name"])))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::view::object_key;

    fn world() -> Snapshot {
        let pod = json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {
            "nodeName": "worker", "serviceAccountName": "sa",
            "volumes": [{"projected": {"sources": [{"configMap": {"name": "cm"}}]}}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}],
        }});
        let mut snapshot = Snapshot::default();
        snapshot.apply(
            &object_key("", "pods", "n", "web"),
            Some(Arc::new(Object::from_value(pod).unwrap())),
            1,
        );
        snapshot
    }

    #[test]
    fn only_what_its_pods_use() {
        let node = |name: &str| Identity {
            name: format!("system:node:{name}"),
            groups: vec!["system:nodes".into()],
            ..Identity::default()
        };
        let authorizer =
            NodeAuthorizer::new(&tokensmith_objects::bootstrap::rbac(&tokensmith_objects::Served::default()));
        let ask = |who: &str, verb: &str, resource: &str, sub: &str, name: &str| {
            let a = Attributes {
                verb: verb.into(),
                resource: resource.into(),
                subresource: sub.into(),
                namespace: "n".into(),
                name: name.into(),
                resource_request: true,
                ..Attributes::default()
            };
            authorizer.authorize(&node(who), &a, &world())
        };
        let yes = Decision::Allow(String::new());
        let no = |node: &str| {
            Decision::NoOpinion(format!("no relationship found between node '{node}' and this object"))
        };
        assert_eq!(ask("worker", "create", "serviceaccounts", "token", "sa"), yes);
        assert_eq!(ask("worker", "create", "serviceaccounts", "token", "other"), no("worker"));
        assert_eq!(ask("other", "create", "serviceaccounts", "token", "sa"), no("other"));
        assert_eq!(ask("worker", "get", "secrets", "", "s"), yes);
        assert_eq!(ask("worker", "get", "configmaps", "", "cm"), yes);
        assert_eq!(ask("worker", "get", "secrets", "", "t"), no("worker"));
        assert_eq!(ask("worker", "get", "pods", "", "web"), yes);
        assert_eq!(ask("worker", "get", "nodes", "", "worker"), yes);
        assert!(matches!(ask("worker", "delete", "secrets", "", "s"), Decision::NoOpinion(_)));
    }
}
