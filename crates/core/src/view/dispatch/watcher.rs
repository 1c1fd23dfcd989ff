//! Who watches: a place in what was told so far.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Dispatcher;
use super::topic::Topic;
use crate::store::{Revision, StoreError};
use crate::view::moved::Moved;

/// Every change of a subject after a revision, in order, each once. It holds numbers and no changes, but for a few of those
/// that it began behind: who does not read keeps nothing.
pub struct Watcher {
    dispatcher: Arc<Dispatcher>,
    subject: Arc<str>,
    /// All up to this revision is in `page` or was told.
    at: Revision,
    /// What is next, while it catches up.
    page: VecDeque<Arc<Moved>>,
    place: Option<Place>,
}

/// A watcher's place in its topic.
pub(super) struct Place {
    pub(super) topic: Arc<Topic>,
    /// The number of the change that comes next.
    pub(super) next: u64,
    pub(super) number: usize,
}

/// A part of the window.
pub(super) struct Page {
    pub(super) changes: VecDeque<Arc<Moved>>,
    /// Up to where they were looked for.
    pub(super) until: Revision,
    /// Nothing comes after it: the watcher goes on here.
    pub(super) place: Option<Place>,
}

impl Watcher {
    pub(super) fn new(
        dispatcher: &Arc<Dispatcher>,
        subject: Arc<str>,
        after: Revision,
    ) -> Result<Self, StoreError> {
        let mut watcher = Watcher {
            dispatcher: dispatcher.clone(),
            subject,
            at: after,
            page: VecDeque::new(),
            place: None,
        };
        watcher.turn()?;
        Ok(watcher)
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// [`StoreError::Compacted`]: changes that were not seen are no longer kept, or may have been missed by the view itself.
    /// Nothing comes after that.
    pub async fn next(&mut self) -> Result<Arc<Moved>, StoreError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<Moved>, StoreError>> {
        loop {
            if let Some(moved) = self.page.pop_front() {
                return Poll::Ready(Ok(moved));
            }
            let Some(place) = &mut self.place else {
                if let Err(e) = self.turn() {
                    return Poll::Ready(Err(e));
                }
                continue;
            };
            let mut queue = place.topic.queue();
            if place.next < queue.first {
                if self.at < queue.oldest {
                    let oldest = queue.oldest;
                    drop(queue);
                    return Poll::Ready(Err(StoreError::Compacted {
                        oldest: self.dispatcher.oldest().max(oldest),
                    }));
                }
                // It began with what all was restarted with.
                place.next = queue.first;
            }
            while let Some(moved) = queue.get(place.next) {
                place.next += 1;
                // Who begins after a revision that is still to come is told of none before.
                if moved.revision > self.at {
                    self.at = moved.revision;
                    return Poll::Ready(Ok(moved.clone()));
                }
            }
            queue.wait(place.number, context.waker());
            return Poll::Pending;
        }
    }

    /// The revision up to which it has been told everything, if nothing is waiting for it.
    pub fn seen(&self) -> Option<Revision> {
        let place = self.place.as_ref().filter(|_| self.page.is_empty())?;
        let head = self.dispatcher.head_if(|| place.topic.queue().end() == place.next)?;
        Some(head).filter(|head| self.at <= *head)
    }

    /// Takes the next page.
    fn turn(&mut self) -> Result<(), StoreError> {
        let Page { changes, until, place } = self.dispatcher.page(&self.subject, self.at)?;
        if let Some(place) = &place {
            // One text for all who watch the same.
            self.subject = place.topic.subject.clone();
        }
        (self.page, self.at, self.place) = (changes, until, place);
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.dispatcher.leave(&place);
        }
    }
}
