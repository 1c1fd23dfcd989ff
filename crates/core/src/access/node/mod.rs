//! The Node authorizer: a node reads what its own pods use, mints for their accounts, and lists no more than what is
//! its own (`plugin/pkg/auth/authorizer/node`). What it may write is judged by [`restriction`](super::restriction),
//! which sees the objects.

#[cfg(test)]
mod tests;

use tokensmith_objects::Object;

use super::rbac::{Rule, UserRules};
use super::{Attributes, Authorizer, Clearance, Decision, Identity, Step};
use crate::view::Snapshot;

/// The authorizer for mode `Node`.
pub struct NodeAuthorizer {
    /// What every node may do besides, whatever runs on it.
    rules: Vec<Rule>,
}

/// The namespace of the nodes' leases.
pub(super) const LEASES: &str = "kube-node-lease";

impl NodeAuthorizer {
    /// `bootstrap`: the objects of a fresh cluster; upstream takes the node's rules from the same list.
    pub fn new(bootstrap: &[Object]) -> Self {
        let role = bootstrap.iter().find(|o| o.kind() == "ClusterRole" && o.name() == "system:node");
        NodeAuthorizer { rules: role.map(Rule::all_of).unwrap_or_default() }
    }
}

impl Authorizer for NodeAuthorizer {
    fn authorize(&self, user: &Identity, a: &Attributes, objects: &Snapshot) -> Decision {
        let Some(node) = node_name(user) else { return no_opinion("") };
        if node.is_empty() {
            return no_opinion(format!("unknown node for user {}", quote(&user.name)));
        }
        let request = Ask { node, a, objects };
        // Kinds whose access is divided; a new one is a row.
        match (a.group.as_str(), a.resource.as_str()) {
            _ if !a.resource_request => {}
            ("", "configmaps" | "secrets") => return request.read_namespaced(),
            ("", "nodes") => return request.nodes(),
            ("", "persistentvolumeclaims") if a.subresource == "status" => return request.status_update(),
            ("", "persistentvolumeclaims" | "persistentvolumes") => return request.get(),
            ("", "pods") => return request.pods(),
            ("", "serviceaccounts") => return request.accounts(),
            // Upstream's gate for them is off by default.
            ("certificates.k8s.io", "podcertificaterequests") => return no_opinion(""),
            ("coordination.k8s.io", "leases") => return request.leases(),
            ("resource.k8s.io", "resourceclaims") => return request.get(),
            ("resource.k8s.io", "resourceslices") => return request.slices(),
            ("storage.k8s.io", "csinodes") => return request.csi_nodes(),
            ("storage.k8s.io", "volumeattachments") => return request.get(),
            _ => {}
        }
        match self.rules.iter().any(|rule| rule.allows(a)) {
            true => allow(),
            false => no_opinion(""),
        }
    }

    fn name(&self) -> &'static str {
        "Node"
    }

    fn explain(
        &self,
        user: &Identity,
        a: &Attributes,
        objects: &Snapshot,
        _asker: &Clearance,
        steps: &mut Vec<Step>,
    ) -> Decision {
        let decision = self.authorize(user, a, objects);
        let Some(node) = node_name(user) else {
            steps.push(Step::silent(self.name(), "the user is no node"));
            return decision;
        };
        steps.push(match &decision {
            Decision::Allow(_) => Step::holds(self.name(), format!("node '{node}' may do this")),
            Decision::NoOpinion(reason) if reason.is_empty() => {
                Step::fails(self.name(), format!("nodes may not do this, and '{node}' is one"))
            }
            other => Step::decided(self.name(), other),
        });
        decision
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

/// What a node's user name begins with.
pub(super) const NODE: &str = "system:node:";
/// The group of all nodes.
pub(super) const NODES: &str = "system:nodes";

/// The node that a user is: `system:node:NAME` in group `system:nodes`. It is empty for a node that cannot be told: who
/// gets that lets it do nothing (`pkg/auth/nodeidentifier`).
pub fn node_name(user: &Identity) -> Option<&str> {
    let name = user.name.strip_prefix(NODE)?;
    user.groups.iter().any(|g| g == NODES).then_some(name)
}

/// What a node asks for.
struct Ask<'a> {
    node: &'a str,
    a: &'a Attributes,
    objects: &'a Snapshot,
}

impl Ask<'_> {
    /// A single object that leads to the node.
    fn get(&self) -> Decision {
        if self.a.verb != "get" {
            return no_opinion("can only get individual resources of this type");
        }
        if !self.a.subresource.is_empty() {
            return no_opinion("cannot get subresource");
        }
        self.related()
    }

    /// The same by a list or watch of that one name.
    fn read_namespaced(&self) -> Decision {
        if !matches!(self.a.verb.as_str(), "get" | "list" | "watch") {
            return no_opinion("can only read resources of this type");
        }
        if !self.a.subresource.is_empty() {
            return no_opinion("cannot read subresource");
        }
        if self.a.namespace.is_empty() {
            return no_opinion("can only read namespaced object of this type");
        }
        self.related()
    }

    fn status_update(&self) -> Decision {
        match self.a.verb.as_str() {
            "patch" | "update" => self.related(),
            _ => no_opinion("can only get/update/patch this type"),
        }
    }

    fn related(&self) -> Decision {
        let Attributes { group, resource, namespace, name, .. } = self.a;
        if name.is_empty() {
            return no_opinion("No Object name found");
        }
        let related = match (group.as_str(), resource.as_str()) {
            ("", "pods") => {
                let pod = self.objects.get("", "pods", namespace, name);
                !namespace.is_empty() && pod.is_some_and(|p| p.node() == self.node)
            }
            _ => self.objects.leads(self.node, group, resource, namespace, name),
        };
        if related { allow() } else { self.no_relationship() }
    }

    fn no_relationship(&self) -> Decision {
        no_opinion(format!("no relationship found between node '{}' and this object", self.node))
    }

    /// A kubelet reads the account of its pod for its image credential providers, and mints for it.
    fn accounts(&self) -> Decision {
        let Attributes { verb, subresource, name, .. } = self.a;
        if verb == "get" && subresource.is_empty() {
            return self.read_namespaced();
        }
        if verb != "create" || name.is_empty() {
            return no_opinion("can only create tokens for individual service accounts");
        }
        if subresource != "token" {
            return no_opinion("can only create token subresource of serviceaccount");
        }
        self.related()
    }

    /// Its own Node alone, by name, so that it can be looked for before it is there. Which one it writes, admission sees.
    fn nodes(&self) -> Decision {
        let Attributes { verb, subresource, name, .. } = self.a;
        match (subresource.as_str(), verb.as_str()) {
            ("", "create" | "patch" | "update") | ("status", "patch" | "update") => allow(),
            ("", "get" | "list" | "watch") => match name.as_str() {
                "" => no_opinion(format!(
                    "node '{}' cannot read all nodes, only its own Node object",
                    self.node
                )),
                name if name == self.node => allow(),
                name => {
                    no_opinion(format!("node '{}' cannot read '{name}', only its own Node object", self.node))
                }
            },
            _ => no_opinion(""),
        }
    }

    /// The pods that are bound to it. Which ones it writes, admission sees.
    fn pods(&self) -> Decision {
        let Attributes { verb, subresource, name, .. } = self.a;
        match (subresource.as_str(), verb.as_str()) {
            ("", "get") => self.get(),
            ("", "list" | "watch") if self.selects("spec.nodeName") => allow(),
            ("", "list" | "watch") if !name.is_empty() => self.related(),
            ("", "list" | "watch") => {
                no_opinion("can only list/watch pods with spec.nodeName field selector")
            }
            ("", "create" | "delete") | ("eviction", "create") | ("status", "patch" | "update") => allow(),
            _ => no_opinion(""),
        }
    }

    /// Whether the request is for what names this node in a field. Selectors are joined by "and": one is enough.
    fn selects(&self, field: &str) -> bool {
        self.a.field_selector.iter().any(|r| r.field == field && r.equal && r.value == self.node)
    }

    fn leases(&self) -> Decision {
        let Attributes { verb, namespace, name, .. } = self.a;
        if !writes_one(verb) {
            return no_opinion("can only get, create, update, patch, or delete a node lease");
        }
        if namespace != LEASES {
            return no_opinion(format!("can only access leases in the {} system namespace", quote(LEASES)));
        }
        // At a create the name stands in the object: admission sees it.
        if verb != "create" && name != self.node {
            return no_opinion("can only access node lease with the same name as the requesting node");
        }
        allow()
    }

    fn csi_nodes(&self) -> Decision {
        let Attributes { verb, subresource, name, .. } = self.a;
        if !writes_one(verb) {
            return no_opinion("can only get, create, update, patch, or delete a CSINode");
        }
        if !subresource.is_empty() {
            return no_opinion("cannot authorize CSINode subresources");
        }
        if verb != "create" && name != self.node {
            return no_opinion("can only access CSINode with the same name as the requesting node");
        }
        allow()
    }

    fn slices(&self) -> Decision {
        if !self.a.subresource.is_empty() {
            return no_opinion("cannot authorize ResourceSlice subresources");
        }
        match self.a.verb.as_str() {
            "create" => allow(),
            "delete" | "get" | "patch" | "update" => self.related(),
            "deletecollection" | "list" | "watch" if self.selects("spec.nodeName") => allow(),
            "deletecollection" | "list" | "watch" => {
                no_opinion("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no_opinion(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }
}

fn writes_one(verb: &str) -> bool {
    matches!(verb, "create" | "delete" | "get" | "patch" | "update")
}

fn allow() -> Decision {
    Decision::Allow(String::new())
}

fn no_opinion(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into())
}

fn quote(text: &str) -> String {
    tokensmith_objects::field::go_quote(text)
}
