//! Every pod runs as a service account and, unless told otherwise, has a token for it
//! (`plugin/pkg/admission/serviceaccount`).

use std::collections::HashSet;

use serde_json::{Value, json};
use tokensmith_objects::pod::{self, Place, Referent};
use tokensmith_objects::{Object, Stored};

use super::is_made;
use tokensmith_core::access::admission::{Admission, Answer, Write};
use tokensmith_core::error::Error;
use tokensmith_core::random;

const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const PREFIX: &str = "kube-api-access-";
/// 60 · 60 + 7: marks a token that admission asked for. Such a token may be extended to a year for old clients.
const EXPIRATION: i64 = 3607;

/// Gives a new pod its account, its token volume and its pull secrets.
pub(super) struct ServiceAccount {
    /// Whether pods get a token volume of themselves.
    pub(super) implicit_token: bool,
}

impl Admission for ServiceAccount {
    fn handles(&self, write: &Write<'_>) -> bool {
        is_made(write, ("", "pods"))
    }

    fn mutate<'a>(
        &'a self,
        write: &'a Write<'a>,
        new: Option<&'a mut Object>,
        warnings: &'a mut Vec<String>,
    ) -> Answer<'a> {
        new.map_or(Ok(()), |pod| admit(write, pod, self.implicit_token, warnings)).into()
    }
}

fn admit(
    write: &Write<'_>,
    pod: &mut Object,
    implicit_token: bool,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let refuse = |pod: &Object, cause: &str| Err(write.forbidden(Some(pod), cause));
    // A mirror pod is a node's report of a static pod: it may not reach for anything of the cluster.
    if pod::is_mirror(pod) {
        return match mirrored(pod) {
            Some(cause) => refuse(pod, cause),
            None => Ok(()),
        };
    }
    if pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        pod.set(&["spec", "serviceAccountName"], "default");
    }
    let name = pod.str_at(&["spec", "serviceAccountName"]).to_owned();
    pod.set(&["spec", "serviceAccount"], name.clone());
    let namespace = pod.namespace().to_owned();
    let Some(account) = write.objects.get("", "serviceaccounts", &namespace, &name) else {
        let cause = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        return refuse(pod, &cause);
    };
    if account.annotation("kubernetes.io/enforce-mountable-secrets").as_deref() == Some("true") {
        warnings.push("metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets".into());
        if let Some(cause) = not_mountable(pod, &account.object()) {
            return refuse(pod, &cause);
        }
    }
    if implicit_token && automount(pod, account) {
        mount(pod);
    }
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    if !pod.at(&["spec", "imagePullSecrets"]).is_some_and(some)
        && let Some(secrets) = account.value(&["imagePullSecrets"]).filter(some)
    {
        pod.set(&["spec", "imagePullSecrets"], secrets);
    }
    Ok(())
}

/// The pod's word counts before its account's; without either it is yes.
fn automount(pod: &Object, account: &Stored) -> bool {
    let says = |v: Option<&Value>| v.and_then(Value::as_bool);
    let pod = says(pod.at(&["spec", "automountServiceAccountToken"]));
    let account = || account.value(&["automountServiceAccountToken"]);
    pod.or_else(|| says(account().as_ref())).unwrap_or(true)
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

/// What a mirror pod refers to and may not.
fn mirrored(pod: &Object) -> Option<&'static str> {
    let all = pod::references(pod);
    if all.iter().any(|r| r.place == Place::Account) {
        return Some("a mirror pod may not reference service accounts");
    }
    if all.iter().any(|r| r.to == Referent::Secret && !r.name.is_empty()) {
        return Some("a mirror pod may not reference secrets");
    }
    let tokens = all.iter().any(|r| r.to == Referent::ServiceAccount);
    tokens.then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// With the (deprecated) annotation, a pod uses only the Secrets that its account lists. Of volumes, as upstream, only
/// those that are a Secret are looked at.
fn not_mountable(pod: &Object, account: &Object) -> Option<String> {
    let owner = account.name();
    let mut secrets = pod::references(pod);
    secrets.retain(|r| r.to == Referent::Secret);
    // In upstream's order, which decides what is told.
    secrets.sort_by_key(|r| match r.place {
        Place::Volume { .. } => 0,
        Place::PullSecret(_) => 2,
        _ => 1,
    });
    let names = |field: &str| -> HashSet<&str> {
        let list = account.get(field).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|secret| secret["name"].as_str()).collect()
    };
    let (usable, pulls) = (names("secrets"), names("imagePullSecrets"));
    for reference in secrets {
        let secret = &*reference.name;
        let listed =
            |field: &str| if field == "secrets" { usable.contains(secret) } else { pulls.contains(secret) };
        let (field, what) = match reference.place {
            Place::Env { container, variable } => {
                let container = format!("{} {}", container.title, container.name);
                ("secrets", format!("{container} with envVar {variable} referencing secret.secretName"))
            }
            Place::EnvFrom { container } => {
                let container = format!("{} {}", container.title, container.name);
                ("secrets", format!("{container} with envFrom referencing secret.secretName"))
            }
            Place::PullSecret(at) => ("imagePullSecrets", format!("imagePullSecrets[{at}].name")),
            Place::Volume { source: "secret", .. } => ("secrets", "volume with secret.secretName".into()),
            _ => continue,
        };
        if !listed(field) {
            let kind = if field == "secrets" { "secret" } else { "imagePullSecret" };
            return Some(format!(
                "{what}=\"{secret}\" is not allowed because service account {owner} does not reference that {kind}"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2024-3177 was the forgotten `envFrom`; the walk knows every place.
    #[test]
    fn a_pod_uses_only_the_secrets_that_its_account_lists() {
        let account = Object::from_value(json!({
            "metadata": {"name": "sa"}, "secrets": [{"name": "listed"}], "imagePullSecrets": [{"name": "pull"}],
        }));
        let account = account.unwrap();
        let judge = |spec: Value| {
            let pod = Object::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            let cause = not_mountable(&pod, &account)?;
            Some(Error::forbidden("", "pods", pod.name(), cause).to_string())
        };
        let env = |kind: &str, name: &str| {
            let from = json!({"secretKeyRef": {"name": name}});
            json!({ kind: [{"name": "c", "env": [{"name": "E", "valueFrom": from}]}] })
        };
        let from = |kind: &str, name: &str| json!({ kind: [{"name": "c", "envFrom": [{"secretRef": {"name": name}}]}] });
        let volume = |name: &str| json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]});
        for (spec, what) in [
            (env("initContainers", "x"), "init container c with envVar E referencing secret.secretName"),
            (env("containers", "x"), "container c with envVar E referencing secret.secretName"),
            (
                env("ephemeralContainers", "x"),
                "ephemeral container c with envVar E referencing secret.secretName",
            ),
            (from("initContainers", "x"), "init container c with envFrom referencing secret.secretName"),
            (from("containers", "x"), "container c with envFrom referencing secret.secretName"),
            (
                from("ephemeralContainers", "x"),
                "ephemeral container c with envFrom referencing secret.secretName",
            ),
            (volume("x"), "volume with secret.secretName"),
        ] {
            let want = format!(
                "pods \"p\" is forbidden: {what}=\"x\" is not allowed because service account sa does not reference that secret"
            );
            assert_eq!(judge(spec), Some(want));
        }
        let pull = |name: &str| json!({"imagePullSecrets": [{"name": "pull"}, {"name": name}]});
        let want = "pods \"p\" is forbidden: imagePullSecrets[1].name=\"listed\" is not allowed because service account sa does not reference that imagePullSecret";
        assert_eq!(judge(pull("listed")).as_deref(), Some(want));
        for spec in
            [env("containers", "listed"), from("initContainers", "listed"), volume("listed"), pull("pull")]
        {
            assert_eq!(judge(spec), None);
        }
    }

    #[test]
    fn a_mirror_pod_refers_to_no_secret_wherever_it_is_named() {
        let judge = |spec: Value| {
            mirrored(&Object::from_value(json!({"metadata": {"name": "m"}, "spec": spec})).unwrap())
        };
        let named = json!({"name": "s"});
        let secrets = Some("a mirror pod may not reference secrets");
        for spec in [
            json!({"imagePullSecrets": [named]}),
            json!({"volumes": [{"name": "v", "azureFile": {"secretName": "s"}}]}),
            json!({"volumes": [{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": named}}]}),
            json!({"volumes": [{"name": "v", "projected": {"sources": [{"secret": named}]}}]}),
            json!({"ephemeralContainers": [{"envFrom": [{"secretRef": named}]}]}),
        ] {
            assert_eq!(judge(spec.clone()), secrets, "{spec}");
        }
        let account = Some("a mirror pod may not reference service accounts");
        assert_eq!(judge(json!({"serviceAccountName": "sa"})), account);
        let token = json!({"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]});
        assert_eq!(judge(token), Some("a mirror pod may not use ServiceAccountToken volume projections"));
        assert_eq!(judge(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})), None);
    }
}
