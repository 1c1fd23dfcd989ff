//! What must never be forgotten: of the marks in tokens, and of the time.

use serde::{Deserialize, Serialize};

/// Kept in every mode, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marks {
    /// No token is marked with a later epoch.
    pub limit: u32,
    /// No token that was signed here without a mark expires later, Unix seconds; `None`: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmarked_until: Option<i64>,
    /// No token that came of another one by exchange here expires later, Unix seconds; `None`: none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchanged_until: Option<i64>,
    /// Which time had come for sure, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<i64>,
}

impl Marks {
    /// With what is to be kept now: the limits only grow. The time is the one that was said last, for a clock that was ahead
    /// when it was first asked may be set right.
    pub fn join(self, other: Marks) -> Marks {
        Marks {
            limit: self.limit.max(other.limit),
            unmarked_until: self.unmarked_until.max(other.unmarked_until),
            exchanged_until: self.exchanged_until.max(other.exchanged_until),
            settled: other.settled.or(self.settled),
        }
    }
}
