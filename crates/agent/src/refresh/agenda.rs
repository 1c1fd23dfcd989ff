//! What is to be done when: one queue for everything, so that 10,000 volumes need one timer.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::{Clock, Moment};

/// Tasks by their time; those of one time in the order in which they were put in.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(OffsetDateTime, u64), T>,
    count: u64,
}

/// A jump of the clock is noticed within this.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);

/// Waits until something is due. Not for longer than a look at the clock may wait: one that is set back makes any time far.
pub(crate) async fn pause(clock: &dyn Clock, next: Option<OffsetDateTime>) {
    let look = clock.look_again(clock.now(), LOOK_AT_CLOCK);
    match next {
        Some(at) => drop(futures::future::select(clock.sleep_until(at), look).await),
        None => look.await,
    }
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { entries: BTreeMap::new(), count: 0 }
    }
}

impl<T> Agenda<T> {
    /// Puts a task in. Nothing is taken out before its time: a task says for itself whether it still counts.
    pub(crate) fn put(&mut self, at: OffsetDateTime, task: T) {
        self.count += 1;
        self.entries.insert((at, self.count), task);
    }

    /// The next task that is due.
    pub(crate) fn due(&mut self, now: OffsetDateTime) -> Option<T> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// When the next task is due.
    pub(crate) fn next(&self) -> Option<OffsetDateTime> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// The wall clock went back: everything is as far away as it was.
    pub(crate) fn move_back(&mut self, by: Duration) {
        let entries = std::mem::take(&mut self.entries);
        self.entries =
            entries.into_iter().map(|((at, number), task)| ((at.minus(by), number), task)).collect();
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn tasks_come_in_order_and_keep_their_distance() {
        let start = datetime!(2026-01-01 10:00 UTC);
        let at = |s: u64| start + Duration::from_secs(s);
        let mut agenda = Agenda::default();
        for (s, task) in [(30, "d"), (10, "a"), (20, "b"), (20, "c")] {
            agenda.put(at(s), task);
        }
        assert_eq!(agenda.due(at(9)), None);
        assert_eq!(agenda.due(at(10)), Some("a"));
        assert_eq!(agenda.next(), Some(at(20)));
        agenda.move_back(Duration::from_secs(20));
        assert_eq!([agenda.due(start), agenda.due(start), agenda.due(start)], [Some("b"), Some("c"), None]);
        assert_eq!(agenda.next(), Some(at(10)));
    }
}
