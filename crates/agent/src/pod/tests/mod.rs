mod exchange;
mod hostile;
mod manifest;
mod payload;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokensmith_objects::Object;

use super::{Lookup, Objects, Unread};
use crate::api::{ApiError, Resource};

/// Objects in memory.
#[derive(Default)]
struct Known {
    objects: BTreeMap<(Resource, String, String), Arc<Object>>,
    unknown: Option<Unread>,
}

impl Known {
    fn with(mut self, resource: Resource, object: Value) -> Self {
        let object = Object::from_value(object).unwrap();
        let key = (resource, object.namespace().to_owned(), object.name().to_owned());
        self.objects.insert(key, Arc::new(object));
        self
    }

    /// Nothing can be read, for this reason.
    fn away(cause: &str) -> Self {
        Known { unknown: Some(Unread::Api(ApiError::Unreachable(cause.into()))), ..Known::default() }
    }
}

impl Objects for Known {
    fn get(&self, resource: Resource, namespace: Option<&str>, name: &str) -> Lookup {
        if let Some(cause) = &self.unknown {
            return Lookup::Unknown(cause.clone());
        }
        let key = (resource, namespace.unwrap_or("").to_owned(), name.to_owned());
        self.objects.get(&key).map_or(Lookup::Missing, |object| Lookup::Found(Arc::clone(object)))
    }

    fn trust_bundles(&self, _: &str) -> Result<Vec<Arc<Object>>, Unread> {
        if let Some(cause) = &self.unknown {
            return Err(cause.clone());
        }
        let all =
            self.objects.iter().filter(|((resource, ..), _)| *resource == Resource::ClusterTrustBundles);
        Ok(all.map(|(_, object)| Arc::clone(object)).collect())
    }
}

/// A pod `n/p` with one container `c`.
fn pod(volumes: Value, mounts: Value) -> Object {
    Object::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", "uid": "u-1", "labels": {"app": "x"}},
        "spec": {
            "serviceAccountName": "sa",
            "containers": [{"name": "c", "image": "i", "volumeMounts": mounts}],
            "volumes": volumes,
        },
    }))
    .unwrap()
}

/// A volume `v` of these sources.
fn projected(sources: Value) -> Value {
    json!([{"name": "v", "projected": {"sources": sources}}])
}
