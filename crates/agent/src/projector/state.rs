//! What is on disk beside the volumes: `DIR/NAMESPACE/POD/state.json`. With it a restart goes on where the last run
//! stopped, and `tokensmith project status` judges without asking the agent, which may be dead.
//!
//! It holds no token: of a token it keeps the SHA-256, and a file that has another is not resumed.

use std::collections::BTreeMap;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokensmith_core::Moment;

use crate::exchange::ExchangeSpec;
use crate::payload::Secret;
use crate::pod::Exchange;
use crate::refresh::{Failure, Lease};

/// A pod's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Of this format; another one is not read.
    pub version: u32,
    /// The pod's UID: the tokens of a pod of the same name are of no use.
    pub pod_uid: String,
    /// When it was written. A clock that shows less has gone back.
    #[serde(with = "time::serde::rfc3339")]
    pub updated: OffsetDateTime,
    /// By their names.
    pub volumes: BTreeMap<String, VolumeState>,
}

/// A volume's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeState {
    /// Whether it has been written, whole, for this pod.
    pub written: bool,
    /// Why it is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Its tokens, by their paths.
    #[serde(default)]
    pub tokens: BTreeMap<String, TokenState>,
}

/// A token file's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenState {
    /// What was asked for; `None` is the API server.
    pub audience: Option<String>,
    /// What was asked for, in seconds.
    pub expiration_seconds: i64,
    /// Of which token it is made by exchange, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<ExchangeState>,
    /// The token in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Grant>,
    /// Why there is no newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// The alarm is raised.
    #[serde(default)]
    pub alarm: bool,
    /// The token in the file is dead before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// When the API server last said that it takes the token in the file; written down now and then.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub reviewed: Option<OffsetDateTime>,
}

/// Of which token another one is made, and what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExchangeState {
    /// The file of the same volume with the token that is given.
    pub from: String,
    /// For whom, by names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// For whom, by URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    /// For what.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
}

impl ExchangeState {
    pub(super) fn of(exchange: &Exchange) -> Self {
        let ExchangeSpec { audience, resource, scope } = exchange.spec.clone();
        ExchangeState { from: exchange.from.to_string(), audience, resource, scope }
    }
}

/// That a token is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Since when that is known.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why.
    pub why: String,
    /// SHA-256 of the token, in hex.
    pub sha256: String,
}

/// A token, without itself. All times are of the local clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// When it was issued.
    #[serde(with = "time::serde::rfc3339")]
    pub issued_at: OffsetDateTime,
    /// How long it lives, in seconds, as the API server replied.
    pub lifetime_seconds: u64,
    /// When it expires.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// By how many seconds the local clock is ahead of the API server's.
    #[serde(default)]
    pub ahead_seconds: f64,
    /// When it is to be replaced.
    #[serde(with = "time::serde::rfc3339")]
    pub due: OffsetDateTime,
    /// From when on it is an alarm that it has not been.
    #[serde(with = "time::serde::rfc3339")]
    pub alarm_at: OffsetDateTime,
    /// Whether it was asked for when it was due: if not, its turn was drawn anew.
    pub on_schedule: bool,
    /// The UID of its account, if it could be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_uid: Option<String>,
    /// The key that signed it; empty for a token that names none, and `None` when an earlier version wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// SHA-256 of the token, in hex.
    pub sha256: String,
    /// That of the token that it is made of by exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_of: Option<String>,
}

/// A state that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is no JSON, or not what it should be.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another format.
    #[error("its version is {0}, not {VERSION}")]
    Version(u32),
}

/// The format.
pub const VERSION: u32 = 1;

impl State {
    /// Reads one.
    pub fn read(bytes: &[u8]) -> Result<Self, StateError> {
        #[derive(Deserialize)]
        struct Probe {
            version: u32,
        }
        let Probe { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Its bytes, for people too.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec_pretty(self).expect("maps have strings as keys, numbers are finite");
        out.push(b'\n');
        out
    }
}

impl Grant {
    /// The lease that it was made of.
    pub fn lease(&self) -> Lease {
        let ahead = if self.ahead_seconds.is_finite() { self.ahead_seconds } else { 0.0 };
        Lease {
            issued_at: self.issued_at,
            lifetime: Duration::from_secs(self.lifetime_seconds),
            ahead: time::Duration::checked_seconds_f64(ahead).unwrap_or(time::Duration::ZERO),
        }
    }

    /// The same after the local clock went back by so much.
    pub(super) fn move_back(&mut self, by: Duration) {
        let lease = self.lease().moved_back(by);
        self.issued_at = lease.issued_at;
        self.expires_at = lease.expires_at();
        self.ahead_seconds = lease.ahead.as_seconds_f64();
        self.due = self.due.minus(by);
        self.alarm_at = self.alarm_at.minus(by);
    }
}

/// SHA-256 in hex: enough to know a token again, and nothing to use it by.
pub(super) fn sha256(token: &Secret) -> String {
    digest(&SHA256, token.expose()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}
