//! The commands that are clients. One file each; none knows the server's insides.

pub mod backup;
pub mod clock;
pub mod completions;
pub mod doctor;
pub mod exchange;
pub mod healthcheck;
pub mod inspect;
pub mod issuer;
pub mod keys;
pub mod kubeconfig;
pub mod mint;
mod named;
mod pasted;
pub mod project;
pub mod proxy;
mod staying;
pub mod token;
pub mod token_list;
pub mod token_revoke;
pub mod version;
pub mod why;
