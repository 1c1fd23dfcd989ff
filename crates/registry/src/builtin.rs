//! What is there from the start, and what every namespace has.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Map, json};

use super::*;
use tokensmith_core::access::MASTERS;
use tokensmith_core::access::rbac::Rule;
use tokensmith_objects::kinds::priority_class::SYSTEM;

/// The namespaces of a fresh cluster.
pub const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

const RBAC: &str = "rbac.authorization.k8s.io";
const CA_MAP: &str = "kube-root-ca.crt";

/// The server itself, as a user.
pub(crate) fn system() -> Identity {
    Identity { name: "system:apiserver".into(), groups: vec![MASTERS.into()], ..Identity::default() }
}

impl Registry {
    /// A kind of the core group, as the server has it just now; built in, if it has been taken away.
    pub(crate) fn core(&self, plural: &str) -> Arc<Kind> {
        self.stored_kind("", plural).expect("the core kinds are built in, a test says so")
    }

    /// A kind, as the server has it just now; built in, if it has been taken away.
    pub(crate) fn stored_kind(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        self.schema().stored(group, plural).or_else(|| Schema::builtin().stored(group, plural)).cloned()
    }

    /// Brings a store to what every cluster has: namespaces with their content, and the bootstrap RBAC objects.
    /// Roles and bindings that were changed get back what they lack, unless they are marked not to be.
    pub async fn ensure(&self, rbac: Vec<Object>) -> Result<(), Error> {
        let user = system();
        for name in NAMESPACES {
            let object = Object::from_value(
                json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}),
            );
            match self
                .create(&mut Request::by(&user), &self.core("namespaces"), "", object.unwrap_or_default())
                .await
            {
                Ok(_) => {}
                Err(Error::AlreadyExists { .. }) => told_if_forbidden(self.furnish(name).await.map(drop))?,
                Err(e) => return Err(e),
            }
        }
        self.ensure_priority_classes(&user).await?;
        told_if_forbidden(self.keep_service(true).await.map(drop))?;
        for wanted in rbac {
            let schema = self.schema();
            let Some(kind) = schema.kind(RBAC, "v1", wanted.kind()) else { continue };
            let namespace = wanted.namespace().to_owned();
            match self.get(kind, &namespace, wanted.name()) {
                Ok(there) => {
                    if let Some(mended) = mend(&there.object(), &wanted) {
                        self.update(
                            &mut Request::by(&user),
                            kind,
                            &namespace,
                            wanted.name(),
                            Subresource::None,
                            mended,
                        )
                        .await?;
                    }
                }
                Err(_) => {
                    let made = self.create(&mut Request::by(&user), kind, &namespace, wanted).await;
                    told_if_forbidden(made.map(drop))?;
                }
            }
        }
        Ok(())
    }

    /// The classes of the system's own pods.
    async fn ensure_priority_classes(&self, user: &Identity) -> Result<(), Error> {
        for (name, value, description) in SYSTEM {
            let class = json!({"metadata": {"name": name}, "value": value, "description": description});
            self.ensure_object(user, ("scheduling.k8s.io", "priorityclasses"), class).await?;
        }
        Ok(())
    }

    /// Makes an object of a kind that the server has, unless it is there.
    async fn ensure_object(
        &self,
        user: &Identity,
        (group, plural): (&str, &str),
        value: Value,
    ) -> Result<(), Error> {
        let Some(kind) = self.stored_kind(group, plural) else { return Ok(()) };
        let mut object = Object::from_value(value).unwrap_or_default();
        let namespace = object.namespace().to_owned();
        if self.get(&kind, &namespace, object.name()).is_ok() {
            return Ok(());
        }
        object.set(&["kind"], kind.kind.as_str());
        object.set(&["apiVersion"], kind.api_version());
        match self.create(&mut Request::by(user), &kind, &namespace, object).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Gives a namespace its default account and its root CA; restores what was deleted or changed. A namespace that
    /// is gone or going gets nothing. Gives whether anything was written.
    ///
    /// Boxed, since making a namespace furnishes it.
    pub fn furnish<'a>(&'a self, namespace: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        self.furnish_open(namespace).boxed()
    }

    async fn furnish_open(&self, namespace: &str) -> Result<bool, Error> {
        let snapshot = self.snapshot();
        let open =
            snapshot.get("", "namespaces", "", namespace).is_some_and(|ns| ns.deletion_timestamp().is_none());
        if !open {
            return Ok(false);
        }
        let user = system();
        let account = snapshot.get("", "serviceaccounts", namespace, "default").is_none();
        if account {
            let account =
                json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}});
            let request = &mut Request::by_controller(&user);
            self.create_quietly(request, "serviceaccounts", namespace, account).await?;
        }
        let data = json!({ "ca.crt": self.config.root_ca });
        match snapshot.get("", "configmaps", namespace, CA_MAP) {
            Some(map) if map.value(&["data"]).as_ref() == Some(&data) => Ok(account),
            Some(map) => {
                let mut mended = map.object();
                mended.set(&["data"], data);
                mended.remove(&["metadata", "resourceVersion"]);
                let kind = &self.core("configmaps");
                let request = &mut Request::by_controller(&user);
                let done = self.update(request, kind, namespace, CA_MAP, Subresource::None, mended).await;
                done.map(|_| true)
            }
            None => {
                let annotation = json!({"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."});
                let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": CA_MAP, "annotations": annotation}, "data": data});
                let request = &mut Request::by_controller(&user);
                self.create_quietly(request, "configmaps", namespace, map).await.map(|()| true)
            }
        }
    }

    /// Creates what may be there already; a namespace that closes meanwhile is no error either.
    pub(super) async fn create_quietly(
        &self,
        request: &mut Request<'_>,
        plural: &str,
        namespace: &str,
        value: Value,
    ) -> Result<(), Error> {
        let object = Object::from_value(value).unwrap_or_default();
        match self.create(request, &self.core(plural), namespace, object).await {
            Ok(_) | Err(Error::AlreadyExists { .. } | Error::NotFound { .. }) => Ok(()),
            // A quota that is full may have room later.
            Err(Error::Forbidden { causes, .. }) if !causes.is_empty() => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// A quota, or whoever else is asked, may leave no room for what every cluster has: that is said, and no reason not to start. What a
/// controller keeps it tries again.
fn told_if_forbidden(made: Result<(), Error>) -> Result<(), Error> {
    match made {
        Err(e @ Error::Forbidden { .. }) => {
            tracing::warn!(error = %e, "an object that every cluster has is refused");
            Ok(())
        }
        other => other,
    }
}

/// What an RBAC object lacks of what it should have at least; `None` when nothing (`pkg/registry/rbac/reconciliation`).
fn mend(there: &Object, wanted: &Object) -> Option<Object> {
    if there.annotation("rbac.authorization.kubernetes.io/autoupdate") == Some("false") {
        return None;
    }
    let mut mended = there.clone();
    for part in ["labels", "annotations"] {
        let defaults = wanted.at(&["metadata", part]).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut all: Map<String, Value> =
            there.at(&["metadata", part]).and_then(Value::as_object).cloned().unwrap_or_default();
        for (key, value) in defaults {
            all.entry(key).or_insert(value);
        }
        if !all.is_empty() {
            mended.set(&["metadata", part], all);
        }
    }
    if wanted.get("aggregationRule").is_none() && wanted.get("rules").is_some() {
        let mut rules = Rule::all_of(there);
        for rule in Rule::all_of(wanted) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        mended.set(&["rules"], rules.iter().map(Value::from).collect::<Vec<_>>());
    }
    if let Some(subjects) = wanted.get("subjects").and_then(Value::as_array) {
        let mut all = there.get("subjects").and_then(Value::as_array).cloned().unwrap_or_default();
        for subject in subjects {
            let same = |s: &Value| ["kind", "name", "namespace"].iter().all(|k| s[*k] == subject[*k]);
            if !all.iter().any(same) {
                all.push(subject.clone());
            }
        }
        mended.set(&["subjects"], all);
    }
    mended.remove(&["metadata", "resourceVersion"]);
    let mut compared = there.clone();
    compared.remove(&["metadata", "resourceVersion"]);
    (mended != compared).then_some(mended)
}
