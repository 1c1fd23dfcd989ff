//! Reading and watching objects: the requests, and what changes mean for volumes.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::abortable;
use futures::{FutureExt, StreamExt, stream};
use tokensmith_core::random;
use tokensmith_objects::Object;

use super::DEADLINE;
use super::feed::{Change, Feed, Opened, Step, open};
use super::ids::{FeedId, PodId, PodName, SourceId, Task, TokenId};
use super::{Done, Projector};
use crate::api::{ApiError, Event, Resource, short_line, within};

/// Reads that wait for a slot, and how many are taken.
#[derive(Debug, Default)]
pub(super) struct Reading {
    waiting: VecDeque<Read>,
    taken: usize,
}

/// A request that waits for a slot.
#[derive(Debug)]
pub(super) enum Read {
    Feed(FeedId),
    Pod(Arc<PodName>),
}

impl Reading {
    /// Puts a read at the end of the queue.
    pub(super) fn queue(&mut self, read: Read) {
        self.waiting.push_back(read);
    }
}

/// Its answer.
pub(super) enum Readout {
    Feed(FeedId, Result<Opened, ApiError>),
    Pod(Arc<PodName>, Result<Option<Object>, ApiError>),
}

/// What a watch said; `None` when it ended.
pub(super) struct Signal {
    feed: FeedId,
    generation: u64,
    event: Option<Result<Event, ApiError>>,
}

/// Requests at a time. They have slots of their own: objects that are slow to come do not keep tokens from it.
const SLOTS: usize = 8;

impl Projector {
    pub(super) fn feed_due(&mut self, id: FeedId, turn: u64) {
        if self.feed(id).is_some_and(|feed| feed.turn == turn) {
            self.read_feed(id);
        }
    }

    /// Has a feed read, if it is not being read.
    pub(super) fn read_feed(&mut self, id: FeedId) {
        let Some(feed) = self.feed(id) else { return };
        if !std::mem::replace(&mut feed.opening, true) {
            self.reading.queue(Read::Feed(id));
        }
    }

    pub(super) fn start_reading(&mut self) {
        while self.reading.taken < SLOTS {
            let Some(read) = self.reading.waiting.pop_front() else { return };
            let api = self.ports.api.clone();
            let request: BoxFuture<'static, Done> = match read {
                Read::Feed(id) => {
                    let Some(feed) = self.feed(id) else { continue };
                    let (resource, selection, way) = (feed.resource, feed.selection.clone(), feed.way());
                    if feed.was_open() {
                        self.ports.monitor.watch_restarted(resource.plural());
                    }
                    let read = open(api, resource, selection, way);
                    read.map(move |result| Done::Read(Readout::Feed(id, result))).boxed()
                }
                Read::Pod(name) => async move {
                    let get = api.get(Resource::Pods, Some(&name.namespace), &name.name);
                    let result = within(DEADLINE, get).await;
                    Done::Read(Readout::Pod(name, result))
                }
                .boxed(),
            };
            self.reading.taken += 1;
            self.under_way.work.push(request);
        }
    }

    pub(super) fn read(&mut self, readout: Readout) {
        self.reading.taken -= 1;
        let now = self.now();
        match readout {
            Readout::Feed(id, result) => {
                let Some(feed) = self.feed(id) else { return };
                let step = feed.opened(result, now, random::fraction());
                self.follow_up(id, step);
            }
            Readout::Pod(name, result) => self.resolved(name, result),
        }
    }

    pub(super) fn signalled(&mut self, signal: Signal) {
        let Signal { feed: id, generation, event } = signal;
        let now = self.now();
        let Some(feed) = self.feed(id).filter(|feed| feed.generation == generation) else { return };
        let step = feed.event(event, now, random::fraction());
        self.follow_up(id, step);
    }

    /// What comes of a feed's step: its watch is listened to, its next turn put on the agenda, its change handed to
    /// `members` (`pods_changed`) or to the volumes that are made of it (`source_changed`).
    fn follow_up(&mut self, id: FeedId, step: Step) {
        let Step { change, events, again, first_failure } = step;
        let Some(feed) = self.feed(id) else { return };
        if let Some(events) = events {
            let (events, abort) = abortable(events);
            feed.attach(abort);
            let generation = feed.generation;
            let signals = events.map(Some).chain(stream::once(async { None }));
            let signals = signals.map(move |event| Signal { feed: id, generation, event });
            self.under_way.watches.push(signals.boxed());
        }
        if first_failure {
            self.log_failure(id);
        }
        if let Some(at) = again
            && let Some(feed) = self.feed(id)
        {
            feed.turn += 1;
            let turn = feed.turn;
            self.agenda.put(at, Task::Feed(id, turn));
        }
        match id {
            FeedId::Pod(number) => {
                if let Some(change) = change {
                    self.named_changed(number, change);
                }
                self.judge_listing();
            }
            FeedId::Pods => {
                if let Some(change) = change {
                    self.pods_changed(change);
                }
                self.judge_listing();
            }
            FeedId::Source(id) => self.source_changed(id, change),
        }
    }

    /// An object is different, or cannot be read: the volumes that are made of it are looked at again.
    fn source_changed(&mut self, id: SourceId, change: Option<Change>) {
        let Some(source) = self.sources.get_mut(id) else { return };
        let failed = change.is_none() && source.feed.error().is_some();
        let changed = change.is_some_and(|change| source.apply(change));
        if !changed && !failed {
            return;
        }
        let (reference, users) = (source.reference.clone(), source.users.clone());
        for user in users {
            let Some(pod) = self.roster.get_mut(user) else { continue };
            for volume in &mut pod.volumes {
                // Who has all that is needed does not care that it could not be read again.
                if volume.references.contains(&reference) && (changed || !volume.is_there()) {
                    volume.dirty = true;
                }
            }
            let name = pod.name.clone();
            if changed && reference.resource() == Resource::ServiceAccounts {
                self.compare_account(user);
            }
            self.queue_disk_work(&name);
        }
    }

    /// An account that was made again has a new UID, and every token of the old one is dead.
    pub(super) fn compare_account(&mut self, id: PodId) {
        let now = self.now();
        let Some(pod) = self.roster.get(id).filter(|pod| pod.loaded) else { return };
        let Some(uid) = self.sources.account_uid(&pod.account()).map(str::to_owned) else { return };
        let mut dead = Vec::new();
        for (v, volume) in pod.volumes.iter().enumerate() {
            for (t, token) in volume.tokens.iter().enumerate() {
                // One that failed waits for something to change: an account that appears is that.
                if token.is_of_another_account(&uid) || token.renewal.failure().is_some() {
                    dead.push(TokenId { pod: id, volume: v, token: t });
                }
            }
        }
        let (namespace, name) = (&pod.plan.namespace, &pod.plan.name);
        if !dead.is_empty() {
            tracing::info!(
                namespace,
                pod = name,
                account = pod.plan.account,
                tokens = dead.len(),
                "the service account is new, or was made again: its tokens are replaced"
            );
        }
        for token in dead {
            self.renew(token, now);
        }
    }

    fn log_failure(&mut self, id: FeedId) {
        let Some(feed) = self.feed(id) else { return };
        let resource = feed.resource.plural();
        let (namespace, name) = (feed.selection.namespace.clone(), feed.selection.name.clone());
        let cause = feed.error().map(|error| short_line(&error.to_string()));
        let polls = feed.polls();
        // Accounts need not be readable: all that is lost is how soon a new one is noticed.
        if feed.resource == Resource::ServiceAccounts && polls {
            tracing::debug!(resource, namespace, name, cause, "service accounts are not watched");
        } else {
            tracing::warn!(resource, namespace, name, cause, polls, "failed to watch");
        }
    }

    fn feed(&mut self, id: FeedId) -> Option<&mut Feed> {
        match id {
            FeedId::Pod(number) => self.members.named_feed(number),
            FeedId::Pods => self.members.feed.as_mut(),
            FeedId::Source(id) => self.sources.get_mut(id).map(|source| &mut source.feed),
        }
    }
}
