//! What a pod wants on disk.

use std::collections::BTreeSet;
use std::fmt;

use tokensmith_objects::field::go_quote;
use tokensmith_objects::{LocalPath, Object};

use super::error::PlanError;
use super::read;
use super::source::{Source, TrustBundles};
use crate::api::{Resource, Selection};

/// What a pod wants on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`; empty for a pod that only a file knows.
    pub uid: String,
    /// Whose tokens it gets.
    pub account: String,
    /// To whom its files belong.
    pub ownership: Ownership,
    /// Its volumes, in their order.
    pub volumes: Vec<VolumePlan>,
    /// Its containers: init ones, then the regular ones, then ephemeral ones.
    pub containers: Vec<ContainerPlan>,
    /// What of it is left out, and should be said.
    pub ignored: Vec<Ignored>,
}

/// A volume that is made of files: a projected one, or a `secret`, `configMap` or `downwardAPI` as the projected
/// volume with that one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePlan {
    /// Its name, a label: fit for a folder.
    pub name: String,
    /// Permissions of files that have none of their own.
    pub default_mode: u32,
    /// What it is made of; of two with the same path the later one counts.
    pub sources: Vec<Source>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Its name, a label: fit for a folder.
    pub name: String,
    /// Of which list.
    pub kind: ContainerKind,
    /// Where it sees the plan's volumes; no path twice.
    pub mounts: Vec<MountPlan>,
}

/// Of which list of the pod a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// `ephemeralContainers`
    Ephemeral,
    /// `initContainers`
    Init,
    /// `containers`
    Regular,
}

/// Where a container sees a volume.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MountPlan {
    /// The volume's name.
    pub volume: String,
    /// Absolute and clean: below the root, no `.`, no `..`.
    pub path: String,
    /// The part of the volume that is seen, if not all of it. Such a mount never sees updates.
    pub sub_path: Option<LocalPath>,
    /// Whether the container may not write.
    pub read_only: bool,
}

/// To whom a pod's files belong (k8s-facts §7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// The user that all containers run as, if it is the same.
    pub fs_user: Option<u32>,
    /// `securityContext.fsGroup`
    pub fs_group: Option<u32>,
}

/// Something that a pod has and the plan leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// A mount whose `subPathExpr` only the kubelet expands.
    SubPathExpr {
        /// The container.
        container: String,
        /// The volume.
        volume: String,
    },
    /// A volume of a kind that is not made of the API's objects.
    Volume {
        /// Its name.
        name: String,
        /// E.g. `emptyDir`.
        kind: String,
    },
}

/// Objects that a volume is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// One object.
    Named {
        /// ConfigMaps, Secrets or ClusterTrustBundles.
        resource: Resource,
        /// `None` for ClusterTrustBundles.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
    /// All ClusterTrustBundles of a signer; labels choose among them later.
    Signer(String),
}

impl PodPlan {
    /// Plans a pod as the API server gives it, or as it is decoded from a file.
    ///
    /// # Errors
    /// The first thing that is wrong, with its field, in the API server's words.
    pub fn new(pod: &Object) -> Result<Self, PlanError> {
        read::plan(pod).map_err(|cause| PlanError { pod: pod.name().into(), cause })
    }

    /// A volume by its name.
    pub fn volume(&self, name: &str) -> Option<&VolumePlan> {
        self.volumes.iter().find(|v| v.name == name)
    }

    /// A container by its name.
    pub fn container(&self, name: &str) -> Option<&ContainerPlan> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The objects that the volumes are made of: what is to be read and watched.
    pub fn references(&self) -> BTreeSet<Reference> {
        self.volumes.iter().flat_map(|volume| self.references_of(volume)).collect()
    }

    /// The objects that one volume is made of.
    pub fn references_of(&self, volume: &VolumePlan) -> BTreeSet<Reference> {
        let here = |resource, name: &str| Reference::Named {
            resource,
            namespace: Some(self.namespace.clone()),
            name: name.into(),
        };
        let references = volume.sources.iter().filter_map(|source| match source {
            Source::ConfigMap(of) => Some(here(Resource::ConfigMaps, &of.name)),
            Source::Secret(of) => Some(here(Resource::Secrets, &of.name)),
            Source::ClusterTrustBundle(of) => Some(match &of.bundles {
                TrustBundles::Name(name) => Reference::Named {
                    resource: Resource::ClusterTrustBundles,
                    namespace: None,
                    name: name.clone(),
                },
                TrustBundles::Signer { signer_name, .. } => Reference::Signer(signer_name.clone()),
            }),
            Source::DownwardApi(_) | Source::ServiceAccountToken(_) => None,
        });
        references.collect()
    }
}

impl Reference {
    /// Of which resource.
    pub fn resource(&self) -> Resource {
        match self {
            Reference::Named { resource, .. } => *resource,
            Reference::Signer(_) => Resource::ClusterTrustBundles,
        }
    }

    /// What to list and watch for it.
    pub fn selection(&self) -> Selection {
        match self {
            Reference::Named { namespace, name, .. } => {
                Selection { namespace: namespace.clone(), name: Some(name.clone()), ..Selection::default() }
            }
            Reference::Signer(signer) => {
                Selection { fields: format!("spec.signerName={signer}"), ..Selection::default() }
            }
        }
    }
}

impl MountPlan {
    /// The path without its first slash: where the mount is below a root.
    pub fn relative_path(&self) -> &str {
        self.path.trim_start_matches('/')
    }
}

impl Ignored {
    /// The volume that it is about.
    pub fn volume(&self) -> &str {
        match self {
            Ignored::SubPathExpr { volume, .. } => volume,
            Ignored::Volume { name, .. } => name,
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ignored::SubPathExpr { container, volume } => {
                write!(f, "container {container:?}: the mount of volume {volume:?} has a subPathExpr")
            }
            Ignored::Volume { name, kind } => write!(f, "volume {name:?} is of kind {}", go_quote(kind)),
        }
    }
}
