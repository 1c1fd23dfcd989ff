//! Following objects on an API server: list, watch, and again from where it broke off. What is refused a watch is
//! polled. A step function without I/O; `open` is the I/O, made by the projector.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{AbortHandle, BoxStream};
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_objects::Object;

use super::DEADLINE;
use crate::api::{ApiError, ApiServer, Event, List, Resource, Selection, within};
use crate::refresh::Retry;

pub(super) type Events = BoxStream<'static, Result<Event, ApiError>>;

/// One selection of objects that is followed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) resource: Resource,
    pub(super) selection: Selection,
    resume: Resume,
    /// In a row.
    failures: u32,
    outage: Option<Outage>,
    /// A read is wanted or under way. A watch may be open meanwhile: it ends when the read begins.
    pub(super) opening: bool,
    watch: Option<Watch>,
    /// Whether there was one.
    watched: bool,
    /// Tells the current stream from those before it.
    pub(super) generation: u64,
    /// Tells the current entry of the agenda from those that no longer count.
    pub(super) turn: u64,
}

/// Where reading goes on.
#[derive(Debug)]
enum Resume {
    /// All is to be read anew.
    Anew,
    /// From this revision on, by a watch.
    At(String),
    /// Watching was refused: all is read every minute. So many times by now.
    Polling(u32),
}

/// A watch that is open.
#[derive(Debug)]
struct Watch {
    since: OffsetDateTime,
    /// Whether it has brought anything.
    heard: bool,
    /// Ends the stream, once there is one.
    abort: Option<AbortHandle>,
}

/// Reading fails.
#[derive(Debug)]
struct Outage {
    since: OffsetDateTime,
    error: ApiError,
}

/// How to read.
#[derive(Debug)]
pub(super) enum Way {
    List,
    Poll,
    Watch(String),
}

/// What reading gave.
pub(super) struct Opened {
    pub(super) items: Option<List>,
    pub(super) events: Option<Result<Events, ApiError>>,
}

/// A change to what is followed.
#[derive(Debug)]
pub(super) enum Change {
    Applied(Object),
    Deleted(Object),
    Reset(Vec<Object>),
}

/// What follows from a step.
pub(super) struct Step {
    pub(super) change: Option<Change>,
    /// To be followed from now on.
    pub(super) events: Option<Events>,
    /// When to read again; `None` while a watch is open.
    pub(super) again: Option<OffsetDateTime>,
    /// Failures began with this step.
    pub(super) first_failure: bool,
}

/// Lists may be long.
const LIST_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(60);
/// Every so many polls watching is tried again: a role may have been granted.
const POLLS: u32 = 10;
/// A watch that has been open so long is opened anew: a connection may be dead without a sign. If it has said nothing at
/// all, the server may have been made anew, and be far behind the revision that it is to go on from: all is read.
const STALE: Duration = Duration::from_secs(30 * 60);
/// A watch that ends sooner counts as a failure.
const SOON: Duration = Duration::from_secs(5);

/// Reads. Every request has its deadline.
pub(super) async fn open(
    api: Arc<dyn ApiServer>,
    resource: Resource,
    selection: Selection,
    way: Way,
) -> Result<Opened, ApiError> {
    let revision = match way {
        Way::Poll => {
            let items = match &selection.name {
                Some(name) => {
                    let got =
                        within(DEADLINE, api.get(resource, selection.namespace.as_deref(), name)).await?;
                    List { resource_version: String::new(), items: got.into_iter().collect() }
                }
                None => within(LIST_DEADLINE, api.list(resource, &selection)).await?,
            };
            return Ok(Opened { items: Some(items), events: None });
        }
        Way::List => {
            let list = within(LIST_DEADLINE, api.list(resource, &selection)).await?;
            let events = within(DEADLINE, api.watch(resource, &selection, &list.resource_version)).await;
            return Ok(Opened { items: Some(list), events: Some(events) });
        }
        Way::Watch(revision) => revision,
    };
    let events = within(DEADLINE, api.watch(resource, &selection, &revision)).await?;
    Ok(Opened { items: None, events: Some(Ok(events)) })
}

impl Feed {
    pub(super) fn new(resource: Resource, selection: Selection) -> Self {
        Feed {
            resource,
            selection,
            resume: Resume::Anew,
            failures: 0,
            outage: None,
            opening: false,
            watch: None,
            watched: false,
            generation: 0,
            turn: 0,
        }
    }

    /// Why it cannot be read.
    pub(super) fn error(&self) -> Option<&ApiError> {
        self.outage.as_ref().map(|outage| &outage.error)
    }

    /// Since when it cannot be read.
    pub(super) fn failing_since(&self) -> Option<OffsetDateTime> {
        self.outage.as_ref().map(|outage| outage.since)
    }

    /// How to read now. A stream that is open ends: the new one goes on where it was, and an object must not be shown
    /// as it was before.
    pub(super) fn way(&mut self) -> Way {
        if self.watch.as_ref().is_some_and(|watch| watch.abort.is_some() && !watch.heard) {
            self.resume = Resume::Anew;
        }
        self.close();
        match &mut self.resume {
            Resume::Anew => Way::List,
            Resume::Polling(polls) => {
                *polls += 1;
                if polls.is_multiple_of(POLLS) { Way::List } else { Way::Poll }
            }
            Resume::At(revision) => Way::Watch(revision.clone()),
        }
    }

    /// Whether a watch was opened before.
    pub(super) fn was_open(&self) -> bool {
        self.watched
    }

    /// Whether a refusal has turned it to polling.
    pub(super) fn polls(&self) -> bool {
        matches!(self.resume, Resume::Polling(_))
    }

    /// Reading came back.
    pub(super) fn opened(
        &mut self,
        result: Result<Opened, ApiError>,
        now: OffsetDateTime,
        random: f64,
    ) -> Step {
        self.opening = false;
        let Opened { items, events } = match result {
            Ok(opened) => opened,
            Err(error) => return self.failed(error, now, random),
        };
        let mut revision = None;
        let change = items.map(|list| {
            revision = Some(list.resource_version);
            Change::Reset(list.items)
        });
        match events {
            Some(Ok(events)) => {
                // Whether it is any good shows later: one that breaks at once must not be opened in a loop.
                self.outage = None;
                if let Some(revision) = revision {
                    self.resume = Resume::At(revision);
                }
                self.close();
                self.watch = Some(Watch { since: now, heard: false, abort: None });
                self.watched = true;
                let again = Some(now.plus(STALE).plus(STALE.mul_f64(random)));
                Step { change, events: Some(events), again, first_failure: false }
            }
            Some(Err(error)) => {
                if let (Some(revision), false) = (revision, self.polls()) {
                    self.resume = Resume::At(revision);
                }
                Step { change, ..self.failed(error, now, random) }
            }
            None => {
                (self.failures, self.outage) = (0, None);
                let again = Some(now.plus(POLL.mul_f64(0.9 + 0.2 * random)));
                Step { change, events: None, again, first_failure: false }
            }
        }
    }

    /// The watch says something; `None` when it ends, as the server makes it after a while.
    pub(super) fn event(
        &mut self,
        event: Option<Result<Event, ApiError>>,
        now: OffsetDateTime,
        random: f64,
    ) -> Step {
        let nothing = Step { change: None, events: None, again: None, first_failure: false };
        let seen = |feed: &mut Feed, revision: &str| {
            feed.failures = 0;
            if let Some(watch) = &mut feed.watch {
                watch.heard = true;
            }
            if !revision.is_empty() {
                feed.resume = Resume::At(revision.to_owned());
            }
        };
        match event {
            Some(Ok(Event::Applied(object))) => {
                seen(self, object.resource_version());
                Step { change: Some(Change::Applied(object)), ..nothing }
            }
            Some(Ok(Event::Deleted(object))) => {
                seen(self, object.resource_version());
                Step { change: Some(Change::Deleted(object)), ..nothing }
            }
            Some(Ok(Event::Bookmark(revision))) => {
                seen(self, &revision);
                nothing
            }
            Some(Err(error)) => {
                self.broke(now);
                self.failed(error, now, random)
            }
            None => {
                self.broke(now);
                self.failures = self.failures.saturating_add(1);
                Step { again: Some(now.plus(Retry::passing(self.failures).delay(now, random))), ..nothing }
            }
        }
    }

    /// The stream of the current generation, which `close` ends.
    pub(super) fn attach(&mut self, abort: AbortHandle) {
        if let Some(watch) = &mut self.watch {
            self.generation += 1;
            watch.abort = Some(abort);
        }
    }

    /// Ends the stream, if there is one.
    pub(super) fn close(&mut self) {
        self.generation += 1;
        if let Some(abort) = self.watch.take().and_then(|watch| watch.abort) {
            abort.abort();
        }
    }

    /// A watch broke off or ended. If it stood for a while, what was before does not count.
    fn broke(&mut self, now: OffsetDateTime) {
        let long = self.watch.as_ref().is_some_and(|watch| now.since(watch.since) >= SOON);
        self.close();
        if long {
            self.failures = 0;
        }
    }

    /// The wall clock went back.
    pub(super) fn move_back(&mut self, by: Duration) {
        if let Some(outage) = &mut self.outage {
            outage.since = outage.since.minus(by);
        }
        if let Some(watch) = &mut self.watch {
            watch.since = watch.since.minus(by);
        }
    }

    fn failed(&mut self, error: ApiError, now: OffsetDateTime, random: f64) -> Step {
        let first_failure = self.outage.is_none();
        self.failures = self.failures.saturating_add(1);
        let again = match error.code() {
            // The revision is too old. Nothing is wrong: all is read anew, after a moment that differs for each.
            Some(410) => {
                self.read_anew();
                let delay = Retry::passing(self.failures).delay(now, random);
                return Step {
                    change: None,
                    events: None,
                    again: Some(now.plus(delay)),
                    first_failure: false,
                };
            }
            // May not be listed or watched, or cannot be: perhaps it can be read.
            Some(403..=405) if !self.polls() => {
                self.resume = Resume::Polling(0);
                now
            }
            Some(403..=405) => now.plus(POLL.mul_f64(0.9 + 0.2 * random)),
            code => {
                // A server that answers, and again not with a watch, may not know the revision: a backup was put back.
                if self.failures > 1 && code.is_some() && error.retry_after().is_none() {
                    self.read_anew();
                }
                now.plus(Retry::after(&error, self.failures, None).delay(now, random))
            }
        };
        let since = self.failing_since().unwrap_or(now);
        self.outage = Some(Outage { since, error });
        Step { change: None, events: None, again: Some(again), first_failure }
    }

    /// The revision is of no use. What is polled is read anew each time.
    fn read_anew(&mut self) {
        if !self.polls() {
            self.resume = Resume::Anew;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

    fn feed() -> Feed {
        Feed::new(Resource::ConfigMaps, Selection::default())
    }

    fn opened(items: bool) -> Result<Opened, ApiError> {
        let items = items.then(|| List { resource_version: "7".into(), items: Vec::new() });
        Ok(Opened { items, events: Some(Ok(stream::pending().boxed())) })
    }

    fn refused(code: u16) -> ApiError {
        ApiError::Status { code, reason: String::new(), message: "no".into(), retry_after: None }
    }

    fn wait(step: Step) -> u64 {
        (step.again.expect("it is read again") - NOW).whole_seconds().unsigned_abs()
    }

    #[test]
    fn a_watch_that_breaks_at_once_is_opened_ever_more_slowly() {
        for broken in [|| None, || Some(Err(refused(500))), || Some(Err(refused(410)))] {
            let mut feed = feed();
            let waits: Vec<_> = (0..5)
                .map(|_| {
                    let list = matches!(feed.way(), Way::List);
                    feed.opened(opened(list), NOW, 0.0);
                    wait(feed.event(broken(), NOW, 1.0))
                })
                .collect();
            assert_eq!(waits, [1, 2, 4, 8, 16]);
            // One that stood is opened again at once.
            feed.opened(opened(false), NOW - SOON, 0.0);
            assert_eq!(wait(feed.event(broken(), NOW, 1.0)), 1);
        }
    }

    #[test]
    fn a_watch_goes_on_where_it_was_and_from_the_beginning_if_that_is_too_long_ago() {
        let mut feed = feed();
        assert!(matches!(feed.way(), Way::List));
        feed.opened(opened(true), NOW, 0.0);
        feed.event(Some(Ok(Event::Bookmark("9".into()))), NOW, 0.0);
        feed.event(None, NOW, 0.0);
        assert!(matches!(feed.way(), Way::Watch(revision) if revision == "9"));
        feed.opened(Err(refused(410)), NOW, 0.0);
        assert!(matches!(feed.way(), Way::List));
    }

    #[test]
    fn a_watch_that_is_refused_again_and_again_is_read_anew() {
        let mut feed = feed();
        feed.way();
        feed.opened(opened(true), NOW, 0.0);
        feed.event(None, NOW, 0.0);
        for (error, anew) in [
            (ApiError::Unreachable("no route".into()), false),
            (ApiError::Unreachable("no route".into()), false),
            (refused(504), true),
        ] {
            assert!(matches!(feed.way(), Way::Watch(_)));
            feed.opened(Err(error), NOW, 0.0);
            assert_eq!(matches!(feed.resume, Resume::Anew), anew);
        }
        assert!(matches!(feed.way(), Way::List));
    }

    #[test]
    fn a_watch_that_has_said_nothing_is_read_anew_in_the_end() {
        for (says, anew) in [(None, true), (Some(Event::Bookmark("9".into())), false)] {
            let mut feed = feed();
            feed.way();
            feed.opened(opened(true), NOW, 0.0);
            feed.attach(AbortHandle::new_pair().0);
            if let Some(event) = says {
                feed.event(Some(Ok(event)), NOW, 0.0);
            }
            assert_eq!(matches!(feed.way(), Way::List), anew);
        }
    }

    #[test]
    fn who_is_refused_a_watch_polls_and_tries_again_now_and_then() {
        let mut feed = feed();
        feed.way();
        assert_eq!(wait(feed.opened(Err(refused(403)), NOW, 0.5)), 0);
        for n in 1..=20 {
            let list = matches!(feed.way(), Way::List);
            assert_eq!(list, n % 10 == 0, "{n}");
            let result = match list {
                true => Err(refused(403)),
                false => Ok(Opened { items: None, events: None }),
            };
            assert_eq!(wait(feed.opened(result, NOW, 0.5)), 60);
        }
        feed.opened(opened(true), NOW, 0.0);
        assert!(!feed.polls());
    }
}
