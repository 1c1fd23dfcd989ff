//! `/scale`: how many pods a workload has, in the same words for all kinds that have it (`registry/apps/*/storage`).

use tokensmith_objects::FieldError;
use tokensmith_objects::codec::Expected;
use tokensmith_objects::patch::Patch;
use tokensmith_objects::selector::written;

use super::update::{another, check_name, patched};
use super::*;

/// What is to become of a scale.
#[derive(Clone, Copy, Debug)]
pub enum Rescale<'a> {
    /// It is changed so.
    Patch(&'a Patch),
    /// It is this one.
    Put(&'a Object),
}

/// The type of a scale, as bodies have it.
pub fn scale_type() -> Expected<'static> {
    let of = Expected::named("autoscaling", "v1", "Scale", "autoscaling/v1.Scale");
    of.expect("the type is in the table, a test says so")
}

impl Registry {
    /// The scale of an object.
    pub fn scale(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        options: &GetOptions,
    ) -> Result<Object, Error> {
        Ok(scale_of(&self.get_at(kind, namespace, name, options)?.wire_object(kind)))
    }

    /// Changes an object by its scale; gives the new one. Without a version it is tried again until nobody was faster, as upstream's
    /// `GuaranteedUpdate` does: somebody else was each time, and the request's deadline ends it.
    pub async fn rescale(
        &self,
        request: &mut Request<'_>,
        kind: &Kind,
        namespace: &str,
        name: &str,
        change: Rescale<'_>,
    ) -> Result<Object, Error> {
        loop {
            let there = self.get(kind, namespace, name)?;
            let old = there.wire_object(kind);
            let mut scale = match change {
                Rescale::Put(scale) => scale.clone(),
                Rescale::Patch(patch) => patched(request, patch, scale_of(&old), &scale_type())?,
            };
            reconcile_namespace(kind, namespace, &mut scale)?;
            check_name(&scale, namespace, name)?;
            if !scale.uid().is_empty() && scale.uid() != old.uid() {
                return Err(another(kind, &scale, (request, namespace, name), old.uid()));
            }
            let replicas = scale.at(REPLICAS).and_then(Value::as_i64).unwrap_or(0);
            if replicas < 0 {
                let detail = "must be greater than or equal to 0";
                let found = vec![FieldError::invalid("spec.replicas", &replicas.into(), detail)];
                return Err(Error::invalid("autoscaling", "Scale", name, found));
            }
            let version = scale.resource_version();
            let unconditional = match change {
                Rescale::Patch(_) => version == old.resource_version(),
                Rescale::Put(_) => matches!(version, "" | "0"),
            };
            if !unconditional && version != old.resource_version() {
                return Err(modified(kind, name));
            }
            let mut object = old.clone();
            object.set(REPLICAS, replicas);
            match self.replace(request, kind, Subresource::Scale, object, &there).await {
                Err(Error::Conflict { .. }) if unconditional && self.has_moved(kind, &there) => {}
                other => return other.map(|object| scale_of(&object.wire_object(kind))),
            }
        }
    }
}

const REPLICAS: &[&str] = &["spec", "replicas"];

fn scale_of(object: &Object) -> Object {
    let mut scale = Object::new("autoscaling/v1", "Scale");
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        strategy::keep(&mut scale, object, &["metadata", field]);
    }
    scale.set(REPLICAS, object.at(REPLICAS).cloned().unwrap_or(0.into()));
    let now = object.at(&["status", "replicas"]).cloned();
    scale.set(&["status", "replicas"], now.unwrap_or(0.into()));
    let selector = object.at(&["spec", "selector"]).and_then(written).unwrap_or_default();
    if !selector.is_empty() {
        scale.set(&["status", "selector"], selector);
    }
    scale
}
