//! Failures in a row, as a state keeps them and people read them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokensmith_core::Moment;

/// Failures in a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The first.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// How many.
    pub count: u32,
    /// The last one's text.
    pub message: String,
    /// The next try; `None` when something has to change first.
    #[serde(default, with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<OffsetDateTime>,
}

/// One in so many failures after the first is a warning; the rest can be seen with more logging.
const WARN_EVERY: u32 = 30;

impl Failure {
    /// The first of them, or one more.
    pub(crate) fn after(
        previous: Option<&Failure>,
        message: String,
        now: OffsetDateTime,
        next_attempt: Option<OffsetDateTime>,
    ) -> Self {
        let (since, count) = previous.map_or((now, 0), |f| (f.since, f.count));
        Failure { since, count: count.saturating_add(1), message, next_attempt }
    }

    /// Whether it is worth a warning. `before` is the text of the one before.
    pub(crate) fn is_news(&self, before: Option<&str>) -> bool {
        let changed = before.is_some_and(|before| before != self.message);
        self.count == 1 || self.count.is_multiple_of(WARN_EVERY) || changed
    }

    /// The wall clock went back.
    pub(crate) fn move_back(&mut self, by: Duration) {
        self.since = self.since.minus(by);
        self.next_attempt = self.next_attempt.map(|at| at.minus(by));
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_first_failure_one_in_thirty_and_one_for_another_reason_are_news() {
        let now = datetime!(2026-01-01 10:00 UTC);
        let mut last: Option<Failure> = None;
        let mut news = Vec::new();
        for n in 1..=61 {
            let text = if n < 40 { "busy" } else { "forbidden" };
            let failure = Failure::after(last.as_ref(), text.into(), now, None);
            if failure.is_news(last.as_ref().map(|last| last.message.as_str())) {
                news.push(n);
            }
            last = Some(failure);
        }
        assert_eq!(news, [1, 30, 40, 60]);
    }
}
