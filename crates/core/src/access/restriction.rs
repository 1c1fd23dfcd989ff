//! NodeRestriction admission: what a node may write, beyond being authorized
//! (`plugin/pkg/admission/noderestriction`).

use serde_json::Value;
use tokensmith_objects::Object;

use super::node::node_name;
use super::{Attributes, Authorizer, Decision, Identity};
use crate::Error;
use crate::view::Snapshot;

/// A node's token request; `request` is the body as it was sent, before anything is filled in. Callers that are no
/// node pass.
pub fn token_request(
    user: &Identity,
    namespace: &str,
    account: &str,
    request: &Object,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
) -> Result<(), Error> {
    let Some(node) = node_name(user) else { return Ok(()) };
    let refuse = |cause: String| Err(Error::forbidden("", "serviceaccounts", account, cause));
    let bound = |key: &str| request.str_at(&["spec", "boundObjectRef", key]);
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
        return refuse("node requested token not bound to a pod".into());
    }
    if bound("uid").is_empty() {
        return refuse("node requested token with a pod binding without a uid".into());
    }
    let pod = objects.get("", "pods", namespace, bound("name"));
    let Some(pod) = pod else { return Err(Error::not_found("", "pods", bound("name"))) };
    if pod.uid() != bound("uid") {
        return refuse(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            bound("uid")
        ));
    }
    if pod.str_at(&["spec", "nodeName"]) != node {
        return refuse("node requested token bound to a pod scheduled on a different node".into());
    }
    let audiences: Vec<&str> = request
        .at(&["spec", "audiences"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let audience = match audiences.as_slice() {
        [] => "",
        [one] => one,
        _ => return refuse("node may only request 0 or 1 audiences".into()),
    };
    if wants_audience(pod, audience) || granted(user, namespace, account, audience, authorizer, objects) {
        return Ok(());
    }
    refuse(format!(
        "audience \"{audience}\" not found in pod spec volume, {} is not authorized to request tokens for this audience",
        user.name
    ))
}

/// A node's write to an object. `old` is what is there, `new` what would be; both for an update.
pub fn object(
    user: &Identity,
    plural: &str,
    verb: &str,
    new: Option<&Object>,
    old: Option<&Object>,
) -> Result<(), Error> {
    let Some(node) = node_name(user) else { return Ok(()) };
    let name = new.or(old).map(|o| o.name().to_owned()).unwrap_or_default();
    let refuse = |cause: String| Err(Error::forbidden("", plural, &name, cause));
    match (plural, verb) {
        ("pods", "create") => {
            let Some(pod) = new else { return Ok(()) };
            if pod.annotation("kubernetes.io/config.mirror").is_none() {
                return refuse(format!(
                    "pod does not have \"kubernetes.io/config.mirror\" annotation, node {} can only create mirror pods",
                    quote(node)
                ));
            }
            if pod.str_at(&["spec", "nodeName"]) != node {
                return refuse(format!(
                    "node {} can only create pods with spec.nodeName set to itself",
                    quote(node)
                ));
            }
            Ok(())
        }
        ("pods", "delete") if old.is_some_and(|p| p.str_at(&["spec", "nodeName"]) != node) => {
            refuse(format!("node {} can only delete pods with spec.nodeName set to itself", quote(node)))
        }
        ("pods", "update") => match new.zip(old) {
            Some((_, pod)) if pod.str_at(&["spec", "nodeName"]) != node => refuse(format!(
                "node {} can only update pod status for pods with spec.nodeName set to itself",
                quote(node)
            )),
            _ => Ok(()),
        },
        ("nodes", "create" | "update") => {
            if name != node {
                return refuse(format!(
                    "node {} is not allowed to modify node {}",
                    quote(node),
                    quote(&name)
                ));
            }
            let labels = |o: Option<&Object>, key: &str| o.and_then(|o| o.label(key).map(str::to_owned));
            let keys = |o: Option<&Object>| -> Vec<String> {
                let map = o.and_then(|o| o.at(&["metadata", "labels"])).and_then(Value::as_object);
                map.into_iter().flatten().map(|(k, _)| k.clone()).collect()
            };
            let mut changed: Vec<String> = keys(new).into_iter().chain(keys(old)).collect();
            changed.sort();
            changed.dedup();
            changed.retain(|k| labels(new, k) != labels(old, k) && is_restricted(k));
            if changed.is_empty() {
                return Ok(());
            }
            refuse(format!("is not allowed to modify labels: {}", changed.join(", ")))
        }
        _ => Ok(()),
    }
}

fn quote(text: &str) -> String {
    tokensmith_objects::field::go_quote(text)
}

/// Labels by which workloads are kept apart are not a node's to set.
fn is_restricted(key: &str) -> bool {
    const OWN: [&str; 10] = [
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    ];
    let Some((prefix, _)) = key.split_once('/') else { return false };
    if OWN.contains(&key) || key == "topology.kubernetes.io/region" {
        return false;
    }
    let own = ["kubelet.kubernetes.io", "node.kubernetes.io"];
    if own.iter().any(|o| prefix == *o || prefix.ends_with(&format!(".{o}"))) {
        return false;
    }
    ["kubernetes.io", "k8s.io"].iter().any(|d| prefix == *d || prefix.ends_with(&format!(".{d}")))
}

fn wants_audience(pod: &Object, audience: &str) -> bool {
    pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten().any(|volume| {
        volume["projected"]["sources"].as_array().into_iter().flatten().any(|source| {
            source
                .get("serviceAccountToken")
                .is_some_and(|t| t["audience"].as_str().unwrap_or("") == audience)
        })
    })
}

fn granted(
    user: &Identity,
    namespace: &str,
    account: &str,
    audience: &str,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
) -> bool {
    let attributes = Attributes {
        verb: "request-serviceaccounts-token-audience".into(),
        resource: audience.into(),
        name: account.into(),
        namespace: namespace.into(),
        resource_request: true,
        ..Attributes::default()
    };
    matches!(authorizer.authorize(user, &attributes, objects), Decision::Allow(_))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::chain::AlwaysDeny;
    use super::*;
    use crate::view::object_key;

    #[test]
    fn a_nodes_token_requests() {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"nodeName": "w", "volumes": [{"projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}}]}}]}});
        let elsewhere =
            json!({"metadata": {"name": "e", "namespace": "n", "uid": "u"}, "spec": {"nodeName": "x"}});
        let mut objects = Snapshot::default();
        for pod in [pod, elsewhere] {
            let pod = Object::from_value(pod).unwrap();
            objects.apply(&object_key("", "pods", "n", pod.name()), Some(Arc::new(pod.clone())), 1);
        }
        let node = Identity {
            name: "system:node:w".into(),
            groups: vec!["system:nodes".into()],
            ..Identity::default()
        };
        let bound =
            |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid});
        let refused = |cause: &str| Some(format!("serviceaccounts \"sa\" is forbidden: {cause}"));
        for (spec, want) in [
            (json!({"boundObjectRef": bound("p", "u"), "audiences": ["vault"]}), None),
            (json!({}), refused("node requested token not bound to a pod")),
            (
                json!({"boundObjectRef": {"kind": "Pod", "name": "p", "uid": "u"}}),
                refused("node requested token not bound to a pod"),
            ),
            (
                json!({"boundObjectRef": bound("p", "")}),
                refused("node requested token with a pod binding without a uid"),
            ),
            (json!({"boundObjectRef": bound("q", "u")}), Some("pods \"q\" not found".into())),
            (
                json!({"boundObjectRef": bound("p", "v")}),
                refused(
                    "the UID in the bound object reference (v) does not match the UID in record. The object might have been deleted and then recreated",
                ),
            ),
            (
                json!({"boundObjectRef": bound("e", "u")}),
                refused("node requested token bound to a pod scheduled on a different node"),
            ),
            (
                json!({"boundObjectRef": bound("p", "u"), "audiences": ["a", "b"]}),
                refused("node may only request 0 or 1 audiences"),
            ),
            (
                json!({"boundObjectRef": bound("p", "u"), "audiences": ["a"]}),
                refused(
                    "audience \"a\" not found in pod spec volume, system:node:w is not authorized to request tokens for this audience",
                ),
            ),
            (
                json!({"boundObjectRef": bound("p", "u")}),
                refused(
                    "audience \"\" not found in pod spec volume, system:node:w is not authorized to request tokens for this audience",
                ),
            ),
        ] {
            let request = Object::from_value(json!({ "spec": spec })).unwrap();
            let found = token_request(&node, "n", "sa", &request, &AlwaysDeny, &objects);
            assert_eq!(found.err().map(|e| e.to_string()), want, "{spec}");
            assert!(token_request(&Identity::default(), "n", "sa", &request, &AlwaysDeny, &objects).is_ok());
        }
    }

    #[test]
    fn a_nodes_own_labels() {
        let node = Identity {
            name: "system:node:w".into(),
            groups: vec!["system:nodes".into()],
            ..Identity::default()
        };
        let labelled =
            |labels: Value| Object::from_value(json!({"metadata": {"name": "w", "labels": labels}})).unwrap();
        let write = |labels| {
            object(&node, "nodes", "create", Some(&labelled(labels)), None).map_err(|e| e.to_string())
        };
        assert_eq!(
            write(json!({"kubernetes.io/hostname": "w", "own": "x", "node.kubernetes.io/x": ""})),
            Ok(())
        );
        assert_eq!(
            write(json!({"node-role.kubernetes.io/x": ""})),
            Err("nodes \"w\" is forbidden: is not allowed to modify labels: node-role.kubernetes.io/x".into())
        );
    }
}
