//! Events go when their time is over (`--event-ttl`): upstream has etcd's leases forget them.

use super::Controllers;
use super::queue::Done;
use time::{Duration, OffsetDateTime};
use tokensmith_core::error::Error;
use tokensmith_core::moment::{self, Moment};
use tokensmith_objects::Stored;

impl Controllers {
    /// Removes an event whose time is over; else says when it will be. Nobody is asked, as when a lease ends.
    pub(super) async fn event(&self, namespace: &str, name: &str) -> Result<Done, Error> {
        let Some(ttl) = self.registry.event_ttl else { return Ok(Done::default()) };
        let kind = &self.registry.core("events");
        let Ok(event) = self.registry.get(kind, namespace, name) else { return Ok(Done::default()) };
        let now = self.clock.now();
        let end = told(&event, now).plus(ttl);
        if end > now {
            return Ok(Done::again(end));
        }
        self.registry.remove(kind, &event).await?;
        Ok(Done::wrote(true))
    }
}

/// So much may a clock be ahead of ours. What is told of a later time is nobody's: whoever writes one would have it kept for ever.
const AHEAD: Duration = Duration::minutes(5);

/// When an event was told last, by what it says itself: an event that goes on is written again with the time of it.
fn told(event: &Stored, now: OffsetDateTime) -> OffsetDateTime {
    let paths: [&[&str]; 4] = [
        &["metadata", "creationTimestamp"],
        &["eventTime"],
        &["lastTimestamp"],
        &["series", "lastObservedTime"],
    ];
    let times = paths.map(|path| moment::parse(&event.text(path)).ok());
    let [made, ..] = times;
    times.into_iter().flatten().filter(|time| *time <= now.plus(AHEAD)).max().or(made).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;
    use tokensmith_objects::Object;

    use super::*;

    #[test]
    fn an_event_lives_from_when_it_was_told_last() {
        let now = datetime!(2026-01-01 10:00 UTC);
        let event = |last: &str, series: &str| {
            let event = json!({
                "metadata": {"creationTimestamp": "2026-01-01T08:00:00Z"},
                "lastTimestamp": last, "series": {"lastObservedTime": series},
            });
            Stored::from(&Object::from_value(event).unwrap())
        };
        for (last, series, want) in [
            ("", "", datetime!(2026-01-01 08:00 UTC)),
            ("2026-01-01T09:00:00Z", "", datetime!(2026-01-01 09:00 UTC)),
            (
                "2026-01-01T09:00:00Z",
                "2026-01-01T09:30:00.000001Z",
                datetime!(2026-01-01 09:30:00.000001 UTC),
            ),
            ("2026-01-01T10:00:02Z", "", datetime!(2026-01-01 10:00:02 UTC)),
            ("9999-01-01T09:00:00Z", "", datetime!(2026-01-01 08:00 UTC)),
        ] {
            assert_eq!(told(&event(last, series), now), want, "{last} {series}");
        }
        let early = datetime!(2025-01-01 00:00 UTC);
        assert_eq!(told(&event("", ""), early), datetime!(2026-01-01 08:00 UTC), "a clock that was set back");
    }
}
