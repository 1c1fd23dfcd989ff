//! A kind's own rules, in one room each.

pub(crate) mod cluster_trust_bundle;
pub mod pod;
pub(crate) mod role;
pub(crate) mod secret;
