//! Pods.

pub(crate) mod defaults;
pub(crate) mod qos;
mod references;
pub(crate) mod table;
pub(crate) mod validate;
mod volume;

pub use references::{Container, MIRROR, Place, Reference, Referent, is_mirror, references};

#[cfg(test)]
mod tests;
