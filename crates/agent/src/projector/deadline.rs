//! How long an answer is waited for, and how it is shown.

use std::time::Duration;

/// Requests end after this.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A text for one line of a log, whatever a server puts into it.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect()
}
