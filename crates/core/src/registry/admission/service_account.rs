//! Every pod runs as a service account and, unless told otherwise, has a token for it
//! (`plugin/pkg/admission/serviceaccount`).

use serde_json::{Map, Value, json};
use tokensmith_objects::Object;

use super::super::RegistryConfig;
use crate::error::Error;
use crate::random;
use crate::view::Snapshot;

const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const PREFIX: &str = "kube-api-access-";
/// 60 · 60 + 7: marks a token that admission asked for. Such a token may be extended to a year for old clients.
const EXPIRATION: i64 = 3607;

/// Gives a new pod its account, its token volume and its pull secrets.
pub(in super::super) fn admit(
    objects: &Snapshot,
    pod: &mut Object,
    config: &RegistryConfig,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let refuse = |pod: &Object, cause: &str| Err(Error::forbidden("", "pods", pod.name(), cause));
    // A mirror pod is a node's report of a static pod: it may not reach for anything of the cluster.
    if pod.annotation("kubernetes.io/config.mirror").is_some() {
        if !pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
            return refuse(pod, "a mirror pod may not reference service accounts");
        }
        if mentions(pod, &|v| {
            v.get("secret").is_some() || v.get("secretKeyRef").is_some() || v.get("secretRef").is_some()
        }) {
            return refuse(pod, "a mirror pod may not reference secrets");
        }
        if mentions(pod, &|v| v.get("serviceAccountToken").is_some()) {
            return refuse(pod, "a mirror pod may not use ServiceAccountToken volume projections");
        }
        return Ok(());
    }
    if pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        pod.set(&["spec", "serviceAccountName"], "default");
    }
    let name = pod.str_at(&["spec", "serviceAccountName"]).to_owned();
    pod.set(&["spec", "serviceAccount"], name.clone());
    let namespace = pod.namespace().to_owned();
    let Some(account) = objects.get("", "serviceaccounts", &namespace, &name) else {
        let cause = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        return refuse(pod, &cause);
    };
    if account.annotation("kubernetes.io/enforce-mountable-secrets") == Some("true") {
        warnings.push("metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets".into());
        mountable_only(pod, account)?;
    }
    if config.implicit_service_account_token && automount(pod, account) {
        mount(pod);
    }
    let pulls =
        |o: &Object, path: &[&str]| o.at(path).and_then(Value::as_array).filter(|l| !l.is_empty()).cloned();
    if pulls(pod, &["spec", "imagePullSecrets"]).is_none()
        && let Some(secrets) = pulls(account, &["imagePullSecrets"])
    {
        pod.set(&["spec", "imagePullSecrets"], secrets);
    }
    Ok(())
}

/// The pod's word counts before its account's; without either it is yes.
fn automount(pod: &Object, account: &Object) -> bool {
    let says = |v: Option<&Value>| v.and_then(Value::as_bool);
    let pod = says(pod.at(&["spec", "automountServiceAccountToken"]));
    pod.or(says(account.get("automountServiceAccountToken"))).unwrap_or(true)
}

fn mount(pod: &mut Object) {
    let Some(Value::Object(spec)) = pod.0.get_mut("spec") else { return };
    let there = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let existing =
        there.filter_map(|v| v["name"].as_str()).find(|n| n.starts_with(PREFIX)).map(str::to_owned);
    let volume = existing.clone().unwrap_or_else(|| format!("{PREFIX}{}", random::suffix(5)));
    let mut needed = false;
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts =
                container.as_object_mut().map(|c| c.entry("volumeMounts").or_insert_with(|| json!([])));
            let Some(Value::Array(mounts)) = mounts else { continue };
            if mounts.iter().any(|m| m["mountPath"] == PATH) {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": PATH}));
            needed = true;
        }
    }
    if needed && existing.is_none() {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Value::Array(volumes) = volumes {
            volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": EXPIRATION, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
            ]}}));
        }
    }
}

/// With the (deprecated) annotation, a pod uses only the Secrets that its account lists.
fn mountable_only(pod: &Object, account: &Object) -> Result<(), Error> {
    let listed = |field: &str, name: &str| {
        account.get(field).and_then(Value::as_array).into_iter().flatten().any(|s| s["name"] == name)
    };
    let owner = account.name();
    let refuse = |cause: String| Err(Error::forbidden("", "pods", pod.name(), cause));
    for volume in pod.at(&["spec", "volumes"]).and_then(Value::as_array).into_iter().flatten() {
        if let Some(secret) = volume["secret"]["secretName"].as_str().filter(|s| !listed("secrets", s)) {
            return refuse(format!(
                "volume with secret.secretName=\"{secret}\" is not allowed because service account {owner} does not reference that secret"
            ));
        }
    }
    for field in ["initContainers", "containers"] {
        for container in pod.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or("");
            for env in container["env"].as_array().into_iter().flatten() {
                if let Some(secret) =
                    env["valueFrom"]["secretKeyRef"]["name"].as_str().filter(|s| !listed("secrets", s))
                {
                    let variable = env["name"].as_str().unwrap_or("");
                    return refuse(format!(
                        "container {name} with envVar {variable} referencing secret.secretName=\"{secret}\" is not allowed because service account {owner} does not reference that secret"
                    ));
                }
            }
        }
    }
    for (at, secret) in
        pod.at(&["spec", "imagePullSecrets"]).and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        if let Some(secret) = secret["name"].as_str().filter(|s| !listed("imagePullSecrets", s)) {
            return refuse(format!(
                "imagePullSecrets[{at}].name=\"{secret}\" is not allowed because service account {owner} does not reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

/// Whether some object inside the pod's spec is of a sort.
fn mentions(pod: &Object, wanted: &dyn Fn(&Map<String, Value>) -> bool) -> bool {
    fn walk(value: &Value, wanted: &dyn Fn(&Map<String, Value>) -> bool) -> bool {
        match value {
            Value::Object(map) => wanted(map) || map.values().any(|v| walk(v, wanted)),
            Value::Array(items) => items.iter().any(|v| walk(v, wanted)),
            _ => false,
        }
    }
    pod.get("spec").is_some_and(|spec| walk(spec, wanted))
}
