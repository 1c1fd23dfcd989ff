//! Following objects on an API server: list, watch, and again from where it broke off. What is refused a watch is
//! polled. A step function without I/O; `open` is the I/O, made by the projector.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{AbortHandle, BoxStream};
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_objects::Object;

use super::token::one_line;
use crate::api::{ApiError, ApiServer, Event, List, Resource, Selection};
use crate::refresh::{Retry, Trouble};

pub(super) type Events = BoxStream<'static, Result<Event, ApiError>>;

/// One selection of objects that is followed.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) resource: Resource,
    pub(super) selection: Selection,
    /// Where the watch goes on; `None`: all is to be read anew.
    revision: Option<String>,
    /// Reads since watching was refused.
    polls: Option<u32>,
    /// Failures in a row, since when, and the last one.
    failures: u32,
    pub(super) failing_since: Option<OffsetDateTime>,
    pub(super) error: Option<String>,
    /// A read is wanted or under way.
    pub(super) opening: bool,
    /// Tells the current entry of the agenda from those that no longer count.
    pub(super) turn: u64,
    opened_at: Option<OffsetDateTime>,
    /// Whether the watch that is open has said anything.
    heard: bool,
    /// Tells the current stream from those before it.
    pub(super) generation: u64,
    abort: Option<AbortHandle>,
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

/// Requests end after this.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// So do lists, which may be long.
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

/// An answer in time, or none.
pub(super) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::time::timeout(limit, request).await.unwrap_or_else(|_| {
        Err(ApiError::Unreachable(format!(
            "the API server did not answer within {} seconds",
            limit.as_secs()
        )))
    })
}

impl Feed {
    pub(super) fn new(resource: Resource, selection: Selection) -> Self {
        Feed {
            resource,
            selection,
            revision: None,
            polls: None,
            failures: 0,
            failing_since: None,
            error: None,
            opening: false,
            turn: 0,
            opened_at: None,
            heard: false,
            generation: 0,
            abort: None,
        }
    }

    /// How to read now. A stream that is open ends: the new one goes on where it was, and an object must not be shown
    /// as it was before.
    pub(super) fn way(&mut self) -> Way {
        if self.abort.is_some() && !self.heard {
            self.revision = None;
        }
        self.close();
        match (&mut self.polls, &self.revision) {
            (Some(polls), _) => {
                *polls += 1;
                if polls.is_multiple_of(POLLS) { Way::List } else { Way::Poll }
            }
            (None, Some(revision)) => Way::Watch(revision.clone()),
            (None, None) => Way::List,
        }
    }

    /// Whether a watch was opened before.
    pub(super) fn was_open(&self) -> bool {
        self.opened_at.is_some()
    }

    /// Whether a refusal has turned it to polling.
    pub(super) fn polls(&self) -> bool {
        self.polls.is_some()
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
        let polled = events.is_none();
        let change = items.map(|list| {
            self.revision = (!polled).then_some(list.resource_version);
            Change::Reset(list.items)
        });
        match events {
            Some(Ok(events)) => {
                // Whether it is any good shows later: one that breaks at once must not be opened in a loop.
                (self.failing_since, self.error) = (None, None);
                self.polls = None;
                self.heard = false;
                self.opened_at = Some(now);
                let again = Some(now.plus(STALE).plus(STALE.mul_f64(random)));
                Step { change, events: Some(events), again, first_failure: false }
            }
            Some(Err(error)) => Step { change, ..self.failed(error, now, random) },
            None => {
                (self.failures, self.failing_since, self.error) = (0, None, None);
                let again = Some(now.plus(POLL.mul_f64(0.9 + 0.2 * random)));
                Step { change, events: None, again, first_failure: false }
            }
        }
    }

    /// The watch says something; `None` when it ends, as the server makes it after a while.
    pub(super) fn said(
        &mut self,
        event: Option<Result<Event, ApiError>>,
        now: OffsetDateTime,
        random: f64,
    ) -> Step {
        let nothing = Step { change: None, events: None, again: None, first_failure: false };
        let seen = |feed: &mut Feed, object: &Object| {
            (feed.failures, feed.heard) = (0, true);
            if !object.resource_version().is_empty() {
                feed.revision = Some(object.resource_version().to_owned());
            }
        };
        match event {
            Some(Ok(Event::Applied(object))) => {
                seen(self, &object);
                Step { change: Some(Change::Applied(object)), ..nothing }
            }
            Some(Ok(Event::Deleted(object))) => {
                seen(self, &object);
                Step { change: Some(Change::Deleted(object)), ..nothing }
            }
            Some(Ok(Event::Bookmark(revision))) => {
                (self.failures, self.heard) = (0, true);
                self.revision = Some(revision);
                nothing
            }
            Some(Err(error)) => {
                self.broke(now);
                self.failed(error, now, random)
            }
            None => {
                self.broke(now);
                self.failures = self.failures.saturating_add(1);
                Step { again: Some(now.plus(self.delay(None, Trouble::Passing, now, random))), ..nothing }
            }
        }
    }

    /// The stream of the current generation, which `close` ends.
    pub(super) fn attach(&mut self, abort: AbortHandle) {
        self.close();
        self.abort = Some(abort);
    }

    /// Ends the stream, if there is one.
    pub(super) fn close(&mut self) {
        self.generation += 1;
        if let Some(abort) = self.abort.take() {
            abort.abort();
        }
    }

    /// A watch broke off or ended. If it stood for a while, what was before does not count.
    fn broke(&mut self, now: OffsetDateTime) {
        self.close();
        if self.opened_at.is_some_and(|at| now.since(at) >= SOON) {
            self.failures = 0;
        }
    }

    /// The wall clock went back.
    pub(super) fn move_back(&mut self, by: Duration) {
        self.failing_since = self.failing_since.map(|at| at.minus(by));
        self.opened_at = self.opened_at.map(|at| at.minus(by));
    }

    fn failed(&mut self, error: ApiError, now: OffsetDateTime, random: f64) -> Step {
        let first_failure = self.failing_since.is_none();
        self.failures = self.failures.saturating_add(1);
        let again = match error.code() {
            // The revision is too old. Nothing is wrong: all is read anew, after a moment that differs for each.
            Some(410) => {
                self.revision = None;
                let delay = self.delay(None, Trouble::Passing, now, random);
                return Step {
                    change: None,
                    events: None,
                    again: Some(now.plus(delay)),
                    first_failure: false,
                };
            }
            // May not be listed or watched, or cannot be: perhaps it can be read.
            Some(403..=405) if self.polls.is_none() => {
                self.polls = Some(0);
                self.revision = None;
                now
            }
            Some(403..=405) => now.plus(POLL.mul_f64(0.9 + 0.2 * random)),
            code => {
                // A server that answers, and again not with a watch, may not know the revision: a backup was put back.
                if self.failures > 1 && code.is_some() && error.retry_after().is_none() {
                    self.revision = None;
                }
                now.plus(self.delay(error.retry_after(), Trouble::of(&error), now, random))
            }
        };
        self.failing_since.get_or_insert(now);
        self.error = Some(one_line(&error.to_string()));
        Step { change: None, events: None, again: Some(again), first_failure }
    }

    fn delay(
        &self,
        retry_after: Option<Duration>,
        trouble: Trouble,
        now: OffsetDateTime,
        random: f64,
    ) -> Duration {
        Retry { failures: self.failures, trouble, retry_after, lease: None }.delay(now, random)
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
                    wait(feed.said(broken(), NOW, 1.0))
                })
                .collect();
            assert_eq!(waits, [1, 2, 4, 8, 16]);
            // One that stood is opened again at once.
            feed.opened(opened(false), NOW - SOON, 0.0);
            assert_eq!(wait(feed.said(broken(), NOW, 1.0)), 1);
        }
    }

    #[test]
    fn a_watch_goes_on_where_it_was_and_from_the_beginning_if_that_is_too_long_ago() {
        let mut feed = feed();
        assert!(matches!(feed.way(), Way::List));
        feed.opened(opened(true), NOW, 0.0);
        feed.said(Some(Ok(Event::Bookmark("9".into()))), NOW, 0.0);
        feed.said(None, NOW, 0.0);
        assert!(matches!(feed.way(), Way::Watch(revision) if revision == "9"));
        feed.opened(Err(refused(410)), NOW, 0.0);
        assert!(matches!(feed.way(), Way::List));
    }

    #[test]
    fn a_watch_that_is_refused_again_and_again_is_read_anew() {
        let mut feed = feed();
        feed.way();
        feed.opened(opened(true), NOW, 0.0);
        feed.said(None, NOW, 0.0);
        for (error, anew) in [
            (ApiError::Unreachable("no route".into()), false),
            (ApiError::Unreachable("no route".into()), false),
            (refused(504), true),
        ] {
            assert!(matches!(feed.way(), Way::Watch(_)));
            feed.opened(Err(error), NOW, 0.0);
            assert_eq!(feed.revision.is_none(), anew);
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
                feed.said(Some(Ok(event)), NOW, 0.0);
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
