//! What a request costs: the worst bodies that the schema has to offer, for every endpoint that takes one, in sizes of which
//! each is ten times the one before.
//!
//! ```text
//! schema table, own routes ─► endpoints ─► bodies of a size ─► measure (CPU of the process, waits of others) ─► a table
//! ```
//!
//! A new kind, a new list in a kind or a new route is covered by itself, or a test says that its bodies are missing.

pub mod bodies;
pub mod endpoints;
pub mod measure;
pub mod own;
pub mod patches;
pub mod places;
pub mod waits;

use bytes::Bytes;

/// A body, and what is bad about it.
#[derive(Clone, Debug)]
pub struct Body {
    /// E.g. `spec.containers[].env, alike`.
    pub name: String,
    /// Its `Content-Type`.
    pub media: &'static str,
    /// As it is sent.
    pub bytes: Bytes,
}

impl Body {
    /// A JSON body.
    pub fn json(name: impl Into<String>, text: impl Into<Bytes>) -> Self {
        Body { name: name.into(), media: JSON, bytes: text.into() }
    }
}

/// `application/json`
pub const JSON: &str = "application/json";
/// `application/x-www-form-urlencoded`
pub const FORM: &str = "application/x-www-form-urlencoded";
/// A policy with which a server has its token endpoint, too.
pub const POLICY: &str = concat!("--exchange-policy-file=", env!("CARGO_MANIFEST_DIR"), "/cost/policy.yaml");
/// `application/yaml`
pub const YAML: &str = "application/yaml";
/// Kubernetes' protobuf.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// RFC 7386.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Kubernetes' own, which merges lists by their items' keys.
pub const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
/// RFC 6902.
pub const JSON_PATCH: &str = "application/json-patch+json";
