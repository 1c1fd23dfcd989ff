//! Pods.

mod references;
pub(crate) mod validate;
mod volume;

pub use references::{Container, MIRROR, Place, Reference, Referent, is_mirror, references};
