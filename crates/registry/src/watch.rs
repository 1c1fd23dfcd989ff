//! Watch: what changes in a collection, seen through selectors (apiserver `storage/cacher`).
//!
//! The view's dispatcher says what has changed, once for all who watch; here it is what one watcher's selectors make of it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::Stream;
use futures::{FutureExt, ready};

use super::*;
use tokensmith_core::view::{Moved, Subject, Watcher, collection_key};
use tokensmith_objects::selector::{FieldSelector, LabelSelector};

/// What a watcher is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// All that was there at this revision has been told.
    Begun(Revision),
    /// An object has changed.
    Changed(Turn, Arc<Moved>),
    /// An object was there when the watch began.
    There(Arc<Stored>),
}

/// What a change is to a watcher's selectors: an object that begins to match is added, one that ceases to is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is there now.
    Added,
    /// It is gone. Its last state is what was there before the change.
    Deleted,
    /// It has changed.
    Modified,
}

/// A watch. It ends after an error, and else never.
pub struct Watch {
    /// What was there when it began, as long as that has not been told.
    first: Option<First>,
    /// `None` after the end.
    watcher: Option<Watcher>,
    selectors: Option<Box<(LabelSelector, FieldSelector)>>,
    after: Revision,
    /// While it waits for a revision that is still to come: the newest one after the time that it waits.
    ahead: Option<BoxFuture<'static, Revision>>,
}

/// A watch waits so long for the revision after which it begins: as lists and initial events do upstream (`blockTimeout`).
const PATIENCE: Duration = Duration::from_secs(3);

enum First {
    /// All objects.
    Objects {
        objects: std::vec::IntoIter<Arc<Stored>>,
        /// Who has asked for it is told when that was all.
        begun: Option<Revision>,
    },
    /// Nothing but that it cannot begin.
    Failed(Box<Error>),
}

impl Registry {
    /// Watches a collection: after `resourceVersion`, or with all that is there first when that is empty or `0`. What cannot
    /// begin although it was asked for well says so as its only event, as upstream's watches do (`newErrWatcher`): clients
    /// look there.
    ///
    /// # Errors
    /// A version that cannot be read.
    pub async fn watch(&self, kind: &Kind, namespace: &str, options: &ListOptions) -> Result<Watch, Error> {
        let (kind, wanted) = (kind.storage(), options.revision_to_watch()?);
        Ok(self.begin(kind, namespace, options, wanted).await.unwrap_or_else(|error| Watch {
            first: Some(First::Failed(Box::new(error))),
            watcher: None,
            selectors: None,
            after: wanted,
            ahead: None,
        }))
    }

    async fn begin(
        &self,
        kind: &Kind,
        namespace: &str,
        options: &ListOptions,
        wanted: Revision,
    ) -> Result<Watch, Error> {
        let (first, after) = match (options.send_initial_events, wanted) {
            (Some(true), _) | (None, 0) => {
                let snapshot = self.snapshot();
                if wanted > snapshot.revision() {
                    return Err(Error::Ahead { wanted, current: snapshot.revision(), awaited: true });
                }
                let prefix = collection_key(&kind.group, &kind.plural, namespace);
                let there = options.candidates(kind, &snapshot, &prefix, None).map(|(_, o)| o);
                let objects: Vec<_> = there.filter(|o| options.take(&***o)).cloned().collect();
                // Upstream takes a watch without a version for one that asks for what is there.
                let begun = options.allow_watch_bookmarks().then(|| snapshot.revision());
                (Some(First::Objects { objects: objects.into_iter(), begun }), snapshot.revision())
            }
            (Some(false), 0) => (None, self.snapshot().revision()),
            _ => (None, wanted),
        };
        let subject = subject(kind, namespace, options);
        let from = (&*self.store, &*self.clock);
        let watcher = self.view.watch(from, &subject, after).await.map_err(|e| failed(&e, after))?;
        let ahead = (after > self.view.snapshot().revision()).then(|| self.patience());
        Ok(Watch { first, watcher: Some(watcher), selectors: options.selectors(), after, ahead })
    }

    fn patience(&self) -> BoxFuture<'static, Revision> {
        let (clock, view) = (self.clock.clone(), self.view.clone());
        async move {
            clock.sleep(PATIENCE).await;
            view.snapshot().revision()
        }
        .boxed()
    }
}

impl Registry {
    /// Watches all objects after a revision.
    pub(crate) async fn watch_all(&self, after: Revision) -> Result<Watcher, StoreError> {
        self.view.watch((&*self.store, &*self.clock), &Subject::all(), after).await
    }
}

/// The least that holds all that a watch is about: of what clients live on, nobody is woken for another's.
fn subject(kind: &Kind, namespace: &str, options: &ListOptions) -> Subject {
    let (group, plural) = (kind.group.as_str(), kind.plural.as_str());
    if !kind.namespaced || !namespace.is_empty() {
        if let Some(name) = options.wanted("metadata.name").filter(|name| !name.is_empty()) {
            return Subject::object(group, plural, namespace, name);
        }
    } else if let Some(node) = options.node(kind) {
        return Subject::pods_on(node);
    }
    Subject::collection(group, plural, namespace)
}

impl Watch {
    /// The revision up to which it has told everything, if nothing waits to be told.
    pub fn seen(&self) -> Option<Revision> {
        self.watcher.as_ref().filter(|_| self.first.is_none())?.seen()
    }

    /// The next event; `None` after the end.
    pub fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        match self.first.take() {
            None => {}
            Some(First::Failed(error)) => return Poll::Ready(Some(Err(*error))),
            Some(First::Objects { mut objects, begun }) => {
                if let Some(object) = objects.next() {
                    self.first = Some(First::Objects { objects, begun });
                    return Poll::Ready(Some(Ok(Event::There(object))));
                }
                // With it goes the room that the objects took.
                if let Some(revision) = begun {
                    return Poll::Ready(Some(Ok(Event::Begun(revision))));
                }
            }
        }
        let Some(watcher) = &mut self.watcher else { return Poll::Ready(None) };
        loop {
            let moved = match watcher.poll_next(context) {
                Poll::Pending => return self.poll_ahead(context),
                Poll::Ready(Ok(moved)) => moved,
                Poll::Ready(Err(e)) => {
                    self.watcher = None;
                    return Poll::Ready(Some(Err(failed(&e, self.after))));
                }
            };
            if let Some(turn) = turn(&moved, self.selectors.as_deref()) {
                return Poll::Ready(Some(Ok(Event::Changed(turn, moved))));
            }
        }
    }
}

impl Watch {
    /// Ends a watch that begins after a revision which this server has never had: its client saw another server's data, of which
    /// these are a loss or a restore. Upstream tells it nothing until that revision comes, and so keeps from it all that
    /// happens before; clients of all languages list anew after `Expired`.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Event, Error>>> {
        let Some(ahead) = &mut self.ahead else { return Poll::Pending };
        let current = ready!(ahead.poll_unpin(context));
        self.ahead = None;
        if self.after <= current {
            return Poll::Pending;
        }
        self.watcher = None;
        let text = format!("too large resource version: {} ({current})", self.after);
        Poll::Ready(Some(Err(Error::Expired(text))))
    }
}

impl Stream for Watch {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(context)
    }
}

fn turn(moved: &Moved, selectors: Option<&(LabelSelector, FieldSelector)>) -> Option<Turn> {
    let takes = |object: &Option<Arc<Stored>>| match (object, selectors) {
        (Some(object), Some((labels, fields))) => labels.matches(&**object) && fields.matches(&**object),
        (object, _) => object.is_some(),
    };
    match (takes(&moved.old), takes(&moved.new)) {
        (false, true) => Some(Turn::Added),
        (true, true) => Some(Turn::Modified),
        (true, false) => Some(Turn::Deleted),
        (false, false) => None,
    }
}

fn failed(e: &StoreError, after: Revision) -> Error {
    match e {
        StoreError::Compacted { oldest } => {
            Error::Expired(format!("too old resource version: {after} ({oldest})"))
        }
        _ => Error::Unavailable("the watch broke off: begin again".into()),
    }
}
