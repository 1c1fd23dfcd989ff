//! From a plan to files (`pkg/volume/projected/projected.go`, `collectData`).

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokensmith_objects::{LocalPath, Object};

use super::error::{PayloadError, SourceError};
use super::plan::{Ownership, PodPlan, VolumePlan};
use super::resource::{Containers, NodeResources};
use super::source::{
    DownwardFile, DownwardValue, ObjectSource, Source, TokenProjection, TrustBundleSource, TrustBundles,
};
use super::trust;
use crate::api::{ApiError, Resource, short_line};
use crate::payload::{File, Payload, Secret};

/// What is known of an object.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is there.
    Found(Arc<Object>),
    /// It is not there.
    Missing,
    /// Nobody could tell. An optional source waits for it too, lest its files vanish.
    Unknown(Unread),
}

/// Why nobody can tell whether an object is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The API server does not say.
    #[error("{}", short_line(&.0.to_string()))]
    Api(ApiError),
    /// Nobody looks at it.
    #[error("it is not followed")]
    NotFollowed,
    /// The first answer is under way.
    #[error("not read yet")]
    NotYet,
}

/// The objects that volumes are made of, as they were seen last.
pub trait Objects {
    /// One object; `namespace` is `None` for ClusterTrustBundles.
    fn get(&self, resource: Resource, namespace: Option<&str>, name: &str) -> Lookup;

    /// All ClusterTrustBundles of a signer, or more of them.
    ///
    /// # Errors
    /// They are not known.
    fn trust_bundles(&self, signer_name: &str) -> Result<Vec<Arc<Object>>, Unread>;
}

/// A volume's files. `pod` is the pod as it is now, which the plan may be older than.
///
/// # Errors
/// What every source that gives nothing has to say. Either all files are there or none.
pub fn payload(
    plan: &PodPlan,
    volume: &VolumePlan,
    pod: &Object,
    objects: &dyn Objects,
    tokens: &dyn Fn(&TokenProjection) -> Option<Secret>,
    node: &NodeResources,
) -> Result<Payload, PayloadError> {
    let containers = Containers::of(pod);
    let collector = Collector { plan, volume, pod, containers, objects, tokens, node };
    let (mut payload, mut causes) = (Payload::default(), Vec::new());
    for source in &volume.sources {
        match collector.files(source) {
            Ok(files) => {
                for (path, file) in files {
                    // A pod's own sources replace each other as they do for a kubelet; what it adds here replaces nothing.
                    if source.is_exchanged() && payload.get(&path).is_some() {
                        causes.push(SourceError::Taken(path.to_string()));
                    } else {
                        payload.insert(path, file);
                    }
                }
            }
            Err(cause) => causes.push(cause),
        }
    }
    causes.extend(payload.conflict().map(|(_, file)| SourceError::Conflict(file.to_string())));
    if causes.is_empty() { Ok(payload) } else { Err(PayloadError { causes }) }
}

struct Collector<'a> {
    plan: &'a PodPlan,
    volume: &'a VolumePlan,
    pod: &'a Object,
    containers: Containers<'a>,
    objects: &'a dyn Objects,
    tokens: &'a dyn Fn(&TokenProjection) -> Option<Secret>,
    node: &'a NodeResources,
}

type Files = Vec<(LocalPath, File)>;

impl Collector<'_> {
    fn files(&self, source: &Source) -> Result<Files, SourceError> {
        match source {
            Source::ClusterTrustBundle(source) => self.trust_bundle(source),
            Source::ConfigMap(source) => self.object(source, &CONFIG_MAP),
            Source::DownwardApi(files) => files.iter().map(|file| self.downward(file)).collect(),
            Source::Secret(source) => self.object(source, &SECRET),
            Source::ServiceAccountToken(source) => self.token(source),
        }
    }

    fn token(&self, source: &TokenProjection) -> Result<Files, SourceError> {
        let token = (self.tokens)(source).ok_or_else(|| SourceError::Token {
            audience: source.audience.clone(),
            path: source.path.to_string(),
        })?;
        Ok(vec![(source.path.clone(), self.private(token))])
    }

    fn trust_bundle(&self, source: &TrustBundleSource) -> Result<Files, SourceError> {
        const KIND: &str = "clustertrustbundle.certificates.k8s.io";
        let bundles =
            match &source.bundles {
                TrustBundles::Name(name) => self
                    .look_up(Resource::ClusterTrustBundles, KIND, name, source.optional)?
                    .into_iter()
                    .collect(),
                TrustBundles::Signer { signer_name, labels } => {
                    let all = self.objects.trust_bundles(signer_name).map_err(|cause| {
                        SourceError::Unknown { kind: KIND, name: signer_name.clone(), cause }
                    })?;
                    let selected = |bundle: &Arc<Object>| {
                        bundle.str_at(&["spec", "signerName"]) == signer_name
                            && labels.as_ref().is_some_and(|labels| labels.matches(&**bundle))
                    };
                    let bundles: Vec<_> = all.into_iter().filter(selected).collect();
                    if bundles.is_empty() && !source.optional {
                        return Err(SourceError::Selected);
                    }
                    bundles
                }
            };
        // None where none are needed: the file is there, and empty.
        let anchors = Secret::new(trust::merge(&bundles)?);
        Ok(vec![(source.path.clone(), self.private(anchors))])
    }

    /// Tokens and trust anchors belong to who runs the containers, if that is known, and to nobody else.
    fn private(&self, data: Secret) -> File {
        let Ownership { fs_user, fs_group } = self.plan.ownership;
        let owned = fs_user.is_some() || fs_group.is_some();
        File { data, mode: if owned { 0o600 } else { self.volume.default_mode }, user: fs_user }
    }

    fn object(&self, source: &ObjectSource, kind: &ObjectKind) -> Result<Files, SourceError> {
        let found = self.look_up(kind.resource, kind.name, &source.name, source.optional)?;
        let Some(object) = found else { return Ok(Vec::new()) };
        if source.items.is_empty() {
            let files = kind.keys(&object).map(|key| {
                let path = LocalPath::try_from(key).map_err(|cause| SourceError::Path {
                    kind: kind.name,
                    name: source.name.clone(),
                    cause,
                })?;
                Ok(kind.entry(&object, key)?.map(|data| (path, self.shared(data, None))))
            });
            return files.filter_map(Result::transpose).collect();
        }
        let files = source.items.iter().map(|item| match kind.entry(&object, &item.key)? {
            Some(data) => Ok(Some((item.path.clone(), self.shared(data, item.mode)))),
            None if source.optional => Ok(None),
            None => Err(SourceError::Key { kind: kind.name, key: item.key.clone() }),
        });
        files.filter_map(Result::transpose).collect()
    }

    fn downward(&self, file: &DownwardFile) -> Result<(LocalPath, File), SourceError> {
        let text = match &file.value {
            DownwardValue::Field(field) => field.value(self.pod),
            DownwardValue::Resource(resource) => {
                resource.value(self.pod, &self.containers, None, self.node)?
            }
        };
        Ok((file.path.clone(), self.shared(Secret::new(text), file.mode)))
    }

    fn shared(&self, data: Secret, mode: Option<u32>) -> File {
        File { data, mode: mode.unwrap_or(self.volume.default_mode), user: None }
    }

    fn look_up(
        &self,
        resource: Resource,
        kind: &'static str,
        name: &str,
        optional: bool,
    ) -> Result<Option<Arc<Object>>, SourceError> {
        let namespace = (resource != Resource::ClusterTrustBundles).then_some(self.plan.namespace.as_str());
        look_up(self.objects, resource, kind, namespace, name, optional)
    }
}

/// An object; `None` when it is missing and may be.
///
/// # Errors
/// It is missing, or nobody could tell.
pub fn look_up(
    objects: &dyn Objects,
    resource: Resource,
    kind: &'static str,
    namespace: Option<&str>,
    name: &str,
    optional: bool,
) -> Result<Option<Arc<Object>>, SourceError> {
    match objects.get(resource, namespace, name) {
        Lookup::Found(object) => Ok(Some(object)),
        Lookup::Missing if optional => Ok(None),
        Lookup::Missing => Err(SourceError::NotFound { kind, name: name.into() }),
        Lookup::Unknown(cause) => Err(SourceError::Unknown { kind, name: name.into(), cause }),
    }
}

/// How a ConfigMap or a Secret holds its entries.
pub struct ObjectKind {
    /// Where it is found.
    pub resource: Resource,
    /// As errors call it.
    pub name: &'static str,
    /// As errors about variables call it.
    pub title: &'static str,
    /// Fields whose values are text.
    text: &'static [&'static str],
    /// Fields whose values are base64; the former come first.
    bytes: &'static [&'static str],
}

/// ConfigMaps.
pub const CONFIG_MAP: ObjectKind = ObjectKind {
    resource: Resource::ConfigMaps,
    name: "configmap",
    title: "ConfigMap",
    text: &["data"],
    bytes: &["binaryData"],
};

/// Secrets.
pub const SECRET: ObjectKind =
    ObjectKind { resource: Resource::Secrets, name: "secret", title: "Secret", text: &[], bytes: &["data"] };

impl ObjectKind {
    fn keys<'a>(&self, object: &'a Object) -> impl Iterator<Item = &'a str> {
        let fields = self.text.iter().chain(self.bytes);
        fields.filter_map(|field| object.get(field)?.as_object()).flatten().map(|(key, _)| key.as_str())
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// They are not what the API promises.
    pub fn entry(&self, object: &Object, key: &str) -> Result<Option<Secret>, SourceError> {
        let find = |fields: &[&'static str]| {
            fields.iter().find_map(|field| object.get(field)?.get(key)).map(|v| v.as_str().unwrap_or(""))
        };
        if let Some(text) = find(self.text) {
            return Ok(Some(Secret::new(text.as_bytes().to_vec())));
        }
        let decoded = find(self.bytes).map(|text| BASE64_STANDARD.decode(text)).transpose();
        decoded.map(|bytes| bytes.map(Secret::new)).map_err(|_| SourceError::Base64 {
            kind: self.name,
            name: object.name().into(),
            key: key.into(),
        })
    }

    /// Whether a key can be a variable.
    pub fn has_variable(&self, object: &Object, key: &str) -> bool {
        object.get("data").is_some_and(|data| data.get(key).is_some())
    }

    /// The text entries, as `envFrom` takes them: a ConfigMap's `binaryData` are none.
    pub fn variables<'a>(&self, object: &'a Object) -> impl Iterator<Item = &'a str> + use<'a> {
        object.get("data").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.as_str())
    }
}
