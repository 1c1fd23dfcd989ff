//! How long an answer is waited for, and how it is shown.

use std::time::Duration;

/// Requests end after this.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A text for one line of a log or a state, whatever a server puts into it: no control characters, and cut off. (A
/// manifest's own mistakes are escaped, and whole: `pod::one_line`.)
pub(super) fn short_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}
