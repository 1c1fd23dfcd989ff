//! What a pod's volumes hold.
//!
//! ```text
//! text ─ manifest ─► Pod ─ read ─► PodPlan (what is wanted) ─ collect ─► Payload (files)
//!                                                         objects, tokens ┘
//! ```
//!
//! `manifest` decodes files, `read` makes a plan of a pod (with `source` for the parts of a volume and `parse` for its
//! fields), `collect` has [`payload`], which makes the files of one volume; they are a [`Payload`](crate::payload::Payload).
//!
//! Pure: no I/O, no clock. A pod comes from the API or from a file and is not trusted: every name that becomes a
//! folder and every path is judged again here, and names of other objects too, since they go into URLs.

mod collect;
mod error;
mod exchange;
mod field;
pub mod manifest;
pub mod parse;
mod plan;
mod read;
mod resource;
mod source;
#[cfg(test)]
mod tests;
mod trust;

pub use collect::{CONFIG_MAP, Lookup, ObjectKind, Objects, SECRET, Unread, look_up, payload};
pub use error::{PayloadError, PlanError, SourceError, one_line};
pub use exchange::{ANNOTATION as EXCHANGE_ANNOTATION, Exchange};
pub use field::FieldPath;
pub use manifest::{DocumentError, Manifest, ManifestError, Reading, manifest};
pub use plan::{ContainerKind, ContainerPlan, Ignored, MountPlan, Ownership, PodPlan, Reference, VolumePlan};
pub use read::CONTAINERS;
pub use resource::{Containers, NodeResources, ResourceField};
pub use source::{
    DownwardFile, DownwardValue, Item, ObjectSource, Source, TokenProjection, TrustBundleSource, TrustBundles,
};
