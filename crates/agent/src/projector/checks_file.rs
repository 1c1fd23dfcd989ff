//! What was seen of the issuer's key set and of reviews, as it stands in `.checks.json` below the root: one file for all
//! volumes, so that a look every few seconds costs no write for each of them. Holds no token.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokensmith_core::Moment;

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChecksFile {
    /// The issuer's key set.
    pub keys: SeenKeys,
    /// Reviews.
    pub reviews: SeenReviews,
    /// Why the agent does not know which pods there should be: its manifests are broken, or the server is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// Of the key set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenKeys {
    /// When the set was asked for that was last seen.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub at: Option<OffsetDateTime>,
    /// The keys in it, by their names.
    pub kids: BTreeSet<String>,
    /// The server has none, and never will.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub none: bool,
    /// Why it cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Of reviews.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeenReviews {
    /// When a token was last reviewed, whichever; `None` while none may be.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub at: Option<OffsetDateTime>,
    /// How long it takes until all have been, at the pace of the time.
    pub round_seconds: u64,
    /// Why none can be now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ChecksFile {
    /// Reads one; what cannot be read tells nothing.
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// Its bytes, for people too.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec_pretty(self).expect("maps have strings as keys, numbers are finite");
        out.push(b'\n');
        out
    }

    /// Whether another says the same but for times, which differ by less than `age`.
    pub(super) fn is_as_good_as(&self, other: &ChecksFile, age: time::Duration) -> bool {
        let near = |a: Option<OffsetDateTime>, b: Option<OffsetDateTime>| match (a, b) {
            (Some(a), Some(b)) => a.since(b).abs() < age,
            (a, b) => a == b,
        };
        self.manifest == other.manifest
            && self.keys.kids == other.keys.kids
            && self.keys.none == other.keys.none
            && self.keys.error == other.keys.error
            && self.reviews.error == other.reviews.error
            && self.reviews.round_seconds == other.reviews.round_seconds
            && near(self.keys.at, other.keys.at)
            && near(self.reviews.at, other.reviews.at)
    }
}
