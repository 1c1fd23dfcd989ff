//! `/scale`: how many pods a workload has, in the same words for all kinds that have it (`registry/apps/*/storage`).

use std::borrow::Cow;

use tokensmith_fields::{Filter, MANAGED, Scale, Type, Versions, put_managers};
use tokensmith_objects::FieldError;
use tokensmith_objects::codec::{Expected, decode_patched};
use tokensmith_objects::kinds::scale::scale as scale_kind;
use tokensmith_objects::patch::Patch;
use tokensmith_objects::schema::api_version;
use tokensmith_objects::selector::written;

use super::apply::{Config, not_applied, unfit};
use super::managed::There;
use super::update::{another, check_name, patched};
use super::*;

/// What is to become of a scale.
#[derive(Clone, Copy, Debug)]
pub enum Rescale<'a> {
    /// This is to be in it.
    Apply(&'a Config),
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
            let there = There::read(kind, self.get(kind, namespace, name)?);
            let old = &there.tree;
            let version = kind.api_version();
            let fields = Scale { version: &version, replicas: &[(&version, REPLICAS)] };
            let mut was = scale_of(old);
            // Who manages the replicas manages those of the scale.
            if let Some(managers) = fields.to_part(old.at(MANAGED)).ok().flatten() {
                was.set(MANAGED, managers);
            }
            let mut scale = self.rescaled(request, &mut was, change)?;
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
                Rescale::Apply(_) | Rescale::Patch(_) => version == old.resource_version(),
                Rescale::Put(_) => matches!(version, "" | "0"),
            };
            if !unconditional && version != old.resource_version() {
                return Err(modified(kind, name));
            }
            let mut object = old.clone();
            object.set(REPLICAS, replicas);
            if let Ok(managers) = fields.to_parent(old.at(MANAGED), scale.at(MANAGED)) {
                put_managers(&mut object, managers);
            }
            let part = Subresource::Scale;
            if let Some(object) = self.put_over(request, kind, part, object, &there, unconditional).await? {
                return Ok(scale_of(&object.wire_object(kind)));
            }
        }
    }

    /// What a change makes of a scale, with who manages it then.
    fn rescaled(
        &self,
        request: &mut Request<'_>,
        was: &mut Object,
        change: Rescale<'_>,
    ) -> Result<Object, Error> {
        let expected = scale_type();
        let version = api_version(expected.group, expected.version);
        let mut scale = match change {
            Rescale::Apply(config) => {
                let (manager, force) = (request.options.field_manager(), request.options.force());
                let applied = self.recorder(&OfScales, &version, expected.kind, "scale", |recorder| {
                    recorder.apply(was, &config.object, manager, force)
                });
                let applied = applied.map_err(not_applied)?.into_object().into_value();
                let decoded = decode_patched(applied, Vec::new(), &expected, FieldValidation::Ignore);
                let decoded = decoded.map_err(|e| unfit(&config.object, &e.to_string()))?;
                config.judge(request)?;
                return Ok(decoded.object);
            }
            Rescale::Patch(patch) => patched(request, patch, was.clone(), &expected)?,
            Rescale::Put(scale) => scale.clone(),
        };
        let mut shown = Stored::as_shown(scale_kind(), scale.clone());
        self.recorder(&OfScales, &version, expected.kind, "scale", |recorder| {
            recorder.update(was, &mut shown, &request.manager());
        });
        put_managers(&mut scale, shown.remove(MANAGED));
        Ok(scale)
    }
}

/// Scales have one version, and all of it counts.
struct OfScales;

impl Versions for OfScales {
    fn of(&self, version: &str) -> Option<Type<'_>> {
        let of = scale_type();
        (version == api_version(of.group, of.version)).then(|| Type::of(of.schema))
    }

    fn convert(&self, _: &Value, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn empty(&self, version: &str) -> Object {
        Stored::as_shown(scale_kind(), Object::new(version, scale_type().kind))
    }

    fn ignored(&self, _: &str) -> Cow<'_, Filter> {
        Cow::Owned(Filter::default())
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
