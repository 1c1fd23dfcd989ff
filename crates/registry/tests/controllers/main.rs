//! The controllers over a registry and a store: what they do, how often, and in which order.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod measure;
mod namespaces;
mod pods;
mod poison;
mod roles;
mod world;
