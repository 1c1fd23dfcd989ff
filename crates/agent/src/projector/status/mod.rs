//! What `tokensmith project status` tells: from the states on disk alone, without the lock, and judged by the clock. An
//! agent that is dead writes no alarms; its tokens still grow old.

mod judge;
mod read;
mod text;

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use time::OffsetDateTime;

use super::checks_file::ChecksFile;
use crate::refresh::Failure;

/// All pods of a root.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// When it was judged.
    #[serde(with = "time::serde::rfc3339")]
    pub now: OffsetDateTime,
    /// What the agent has seen of the issuer's key set and of reviews.
    pub checks: ChecksFile,
    /// In the order of their names.
    pub pods: Vec<PodStatus>,
    /// What needs someone; empty if all is well.
    pub alarms: Vec<Alarm>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When its state was written last.
    #[serde(with = "time::serde::rfc3339::option")]
    pub updated: Option<OffsetDateTime>,
    /// Why its state cannot be read.
    pub error: Option<String>,
    /// In the order of their names.
    pub volumes: Vec<VolumeStatus>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// Its name.
    pub name: String,
    /// Whether it is there, whole.
    pub written: bool,
    /// Why it is not as it should be.
    pub failure: Option<Failure>,
    /// In the order of their paths.
    pub tokens: Vec<TokenStatus>,
}

/// A token file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// Its path in the volume.
    pub path: String,
    /// `None` is the API server.
    pub audience: Option<String>,
    /// The file of the volume with the token that this one was exchanged for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchanged_from: Option<String>,
    /// How it stands.
    pub condition: Condition,
    /// When its token expires.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// In how many seconds; negative: so long ago.
    pub expires_in_seconds: Option<i64>,
    /// When it is to be replaced.
    #[serde(with = "time::serde::rfc3339::option")]
    pub refresh_at: Option<OffsetDateTime>,
    /// Why it has not been.
    pub failure: Option<Failure>,
    /// When it was last seen that it is not refused: that its key is in the issuer's key set, or that the API server takes it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub checked: Option<OffsetDateTime>,
    /// Why it is refused, or why nobody knows.
    pub cause: Option<String>,
}

/// How a token file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It should have been replaced.
    Due,
    /// Its token is of no use any more.
    Expired,
    /// All is well: it is not due, and it was seen a moment ago that it is not refused.
    Fresh,
    /// There is none.
    Missing,
    /// Its key is gone, or the API server does not take it any more.
    Refused,
    /// It is not due, and nobody knows whether it is refused.
    Unchecked,
}

/// Something that needs someone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod; empty: it is about the manifests, or the server.
    pub pod: String,
    /// The volume; `None`: the pod itself.
    pub volume: Option<String>,
    /// The file; `None`: the volume itself.
    pub path: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// A root that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct StatusError {
    /// Which folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: io::Error,
}
