//! Delete (apiserver `registry/rest/delete.go`, `pkg/registry/core/namespace/storage`).

use time::Duration;

use super::*;
use crate::object_timestamp;

/// `metav1.DeleteOptions`, as far as it matters here. Propagation policies have no effect: nothing here owns
/// anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds until the object goes; the kind's own when not given.
    pub grace_period_seconds: Option<i64>,
    /// The UID that the object must have.
    pub uid: Option<String>,
    /// The version that the object must have.
    pub resource_version: Option<String>,
}

/// What a delete answers with.
#[derive(Debug, PartialEq)]
pub enum Deleted {
    /// The object: it is still there for a while, or its kind answers so.
    Object(Arc<Object>),
    /// A Status that names the object.
    Status {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
}

impl Registry {
    /// Deletes an object, or begins to.
    pub async fn delete(
        &self,
        request: &mut Request<'_>,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Error> {
        self.delete_asked(request, kind, namespace, name, name, options).await
    }

    /// `asked`: the name as the request has it, which is none when a collection is deleted; admission sees that.
    async fn delete_asked(
        &self,
        request: &mut Request<'_>,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        asked: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Error> {
        for _ in 0..5 {
            let old = self.get(kind, namespace, name)?;
            preconditions(kind, &old, options)?;
            let write = Write {
                operation: Operation::Delete,
                group: &kind.group,
                resource: &kind.plural,
                subresource: "",
                namespace,
                name: asked,
                new: None,
                old: Some(&old),
            };
            self.restrict(request.user, &write)?;
            if kind.kind == "Namespace" && kind.group.is_empty() {
                admission::namespace_may_go(name)?;
            }
            match self.delete_once(request, kind, &old, options).await {
                Err(Error::Conflict { .. })
                    if self.get(kind, namespace, name).is_ok_and(|now| now != old) => {}
                other => return other,
            }
        }
        Err(modified(kind, name))
    }

    /// Deletes every object of a collection that the selectors take; gives those.
    pub async fn delete_collection(
        &self,
        request: &mut Request<'_>,
        kind: &'static Kind,
        namespace: &str,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<List, Error> {
        let found = self.list(kind, namespace, list)?;
        for object in &found.items {
            let (namespace, name) = (object.namespace(), object.name());
            match self.delete_asked(request, kind, namespace, name, "", options).await {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    async fn delete_once(
        &self,
        request: &Request<'_>,
        kind: &'static Kind,
        old: &Arc<Object>,
        options: &DeleteOptions,
    ) -> Result<Deleted, Error> {
        let is = |name: &str| kind.group.is_empty() && kind.kind == name;
        let grace = if is("Pod") { grace_of(old, options) } else { 0 };
        let pending = old.finalizers().next().is_some() || is("Namespace");
        let under_way = old.deletion_timestamp().is_some();
        if is("Namespace") && under_way {
            let cause = "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will automatically be purged by the system.";
            return Err(Error::conflict("", "namespaces", old.name(), cause));
        }
        if grace > 0 || pending {
            let left = old.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
            // A deletion that is under way can only become shorter.
            if under_way && left.is_none_or(|left| left <= grace) {
                return Ok(Deleted::Object(old.clone()));
            }
            let mut object = (**old).clone();
            object.set(
                &["metadata", "deletionTimestamp"],
                object_timestamp(self.clock.now() + Duration::seconds(grace)),
            );
            object.set(&["metadata", "deletionGracePeriodSeconds"], grace);
            if is("Namespace") {
                object.set(&["status", "phase"], "Terminating");
            }
            let object = normalise(kind, object)?;
            if request.dry_run {
                return Ok(Deleted::Object(Arc::new(object)));
            }
            return match self.write(kind, &object, Expect::Unchanged(revision_of(old))).await {
                Ok(object) => Ok(Deleted::Object(object)),
                Err(StoreError::Conflict(_)) => Err(modified(kind, old.name())),
                Err(e) => Err(backend(e)),
            };
        }
        if !request.dry_run {
            self.remove(kind, old).await?;
        }
        Ok(match is("Pod") || is("ServiceAccount") {
            true => Deleted::Object(old.clone()),
            false => Deleted::Status { name: old.name().into(), uid: old.uid().into() },
        })
    }

    /// Takes an object out of the store, as it was seen; waits until the view has lost it.
    pub(crate) async fn remove(&self, kind: &Kind, old: &Object) -> Result<(), Error> {
        let key = object_key(&kind.group, &kind.plural, old.namespace(), old.name());
        match self.store.delete(&key, Expect::Unchanged(revision_of(old))).await {
            Ok(Some(revision)) => {
                self.view.reached(revision).await;
                Ok(())
            }
            Ok(None) | Err(StoreError::Conflict(None)) => {
                Err(Error::not_found(&kind.group, &kind.plural, old.name()))
            }
            Err(StoreError::Conflict(Some(_))) => Err(modified(kind, old.name())),
            Err(e) => Err(backend(e)),
        }
    }
}

fn preconditions(kind: &Kind, old: &Object, options: &DeleteOptions) -> Result<(), Error> {
    let conflict = |cause: String| Err(Error::conflict(&kind.group, &kind.plural, old.name(), cause));
    match (&options.uid, &options.resource_version) {
        (Some(uid), _) if uid != old.uid() => conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            old.uid()
        )),
        (_, Some(version)) if version != old.resource_version() => conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            old.resource_version()
        )),
        _ => Ok(()),
    }
}

/// A pod that no node runs, or that has ended, needs no time to stop (`pkg/registry/core/pod/strategy.go`).
fn grace_of(pod: &Object, options: &DeleteOptions) -> i64 {
    let ended = matches!(pod.str_at(&["status", "phase"]), "Failed" | "Succeeded");
    if pod.str_at(&["spec", "nodeName"]).is_empty() || ended {
        return 0;
    }
    let own = pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    match options.grace_period_seconds.or(own).unwrap_or(30) {
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}
