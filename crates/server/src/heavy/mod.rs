//! Requests that compute for long: large bodies, large objects, long lists.
//!
//! What a request computes it computes in one go, and a worker that computes answers nobody else. So a handler that is
//! about to says so ([`enter`]). From then on it runs on a thread of its own while another one takes the worker's place, and
//! no more of them at a time than half the cores: the rest of the machine is everyone else's. Who waits for a place waits
//! as one waits for a disk: the deadline ends it. A place is held while its request computes, and not while that waits for
//! the store, the ledger or a signer: a slow disk would keep all others from computing. Users take turns: else one without
//! any rights, asking for large reviews again and again, would keep everybody's long lists waiting until their deadline.
//!
//! ```text
//! Light ─ enter ─► Wants ─ its turn ─► Placed ─ waits for something ─► Goes ─ enter ─► Wants …
//! ```
//!
//! A handler that has begun may hold what others wait for, such as the ledger's lock, or be half done. So it stands in line
//! only where it says so, never for each time that it is woken: it goes on in a place that is free, and without one else.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;
use tokensmith_listen::Room;
use tokensmith_objects::{Object, Stored};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a body, or of objects, from which on reading them and answering with them takes milliseconds.
pub(crate) const BODY: usize = 32 << 10;
/// The same of a tree: values in it, and what their texts weigh, a value for each [`TEXT`] bytes.
const VALUES: usize = 2_000;
const TEXT: usize = 32;

/// Large bodies are counted in such units.
const UNIT: usize = 1 << 10;
/// So many units of large bodies are in memory at once, of all users and of one: what has been read waits for a place.
const ALL_BODIES: usize = (256 << 20) / UNIT;
const ONES_BODIES: usize = (64 << 20) / UNIT;

/// The places for such requests.
#[derive(Clone)]
pub(crate) struct Places(Arc<Inner>);

struct Inner {
    cores: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    /// How many of the places one user may have.
    ones: usize,
    users: Mutex<Users>,
}

#[derive(Default)]
struct Users {
    by_name: HashMap<Arc<str>, Weak<User>>,
    /// At so many those who have gone are forgotten.
    sweep: usize,
}

/// What one user's requests share. Who asks for much waits behind themselves, and others behind one request of theirs.
struct User {
    turns: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

/// What a request has taken; free again when it has ended, or was given up.
#[derive(Default)]
struct Held {
    way: Way,
    body: Option<Permits>,
    /// Looked up by the first that is taken: most requests take nothing, and need no lock that all share. Kept, so that
    /// what is taken later is of the same user's share.
    user: Option<Arc<User>>,
}

/// How a request goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// On the worker: it has never said that it computes for long.
    #[default]
    Light,
    /// It waits in line.
    Wants,
    /// It has a place, until it waits for something.
    Placed,
    /// It has had one, and waits in no line.
    Goes,
}

/// Of a user's share, and of all.
type Permits = [OwnedSemaphorePermit; 2];

#[derive(Clone)]
struct Request {
    places: Places,
    by: Arc<str>,
    held: Arc<Mutex<Held>>,
    room: Option<Room>,
}

tokio::task_local! {
    static REQUEST: Request;
}

impl Places {
    /// As many as half the cores, and one at least; half of these for one user.
    pub(crate) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new((cores / 2).max(1))
    }

    fn new(places: usize) -> Self {
        Places(Arc::new(Inner {
            cores: Arc::new(Semaphore::new(places)),
            bodies: Arc::new(Semaphore::new(ALL_BODIES)),
            ones: (places / 2).max(1),
            users: Mutex::default(),
        }))
    }

    /// A handler that may [`enter`], of a request by a user of this name. `room` is its connection's for answers.
    pub(crate) fn around<F: Future>(
        &self,
        by: Arc<str>,
        room: Option<Room>,
        handler: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let request = Request { places: self.clone(), by, held: Arc::default(), room };
        let handler = Box::pin(handler);
        let inside = Aside { request: request.clone(), taking: None, waited: false, handler };
        REQUEST.scope(request, inside)
    }

    fn user(&self, name: &str) -> Arc<User> {
        let mut users = self.0.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = users.by_name.get(name).and_then(Weak::upgrade) {
            return user;
        }
        if users.by_name.len() >= users.sweep {
            users.by_name.retain(|_, user| user.strong_count() > 0);
            users.sweep = users.by_name.len().saturating_mul(2).max(1_024);
        }
        let (turns, bodies) = (Semaphore::new(self.0.ones), Semaphore::new(ONES_BODIES));
        let user = Arc::new(User { turns: Arc::new(turns), bodies: Arc::new(bodies) });
        users.by_name.insert(name.into(), Arc::downgrade(&user));
        user
    }
}

impl Request {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn user(&self) -> Arc<User> {
        self.held().user.get_or_insert_with(|| self.places.user(&self.by)).clone()
    }

    /// A place that is free; nobody in line is passed by that.
    fn take_free(&self) -> Option<Permits> {
        let own = self.user().turns.clone().try_acquire_owned().ok()?;
        Some([own, self.places.0.cores.clone().try_acquire_owned().ok()?])
    }

    /// Waits for a place; the first time for room for an answer, too.
    async fn take(self, first: bool) -> Option<Permits> {
        let user = self.user();
        loop {
            // First among one's own, so that a user who asks a thousand times stands in the line of all once.
            let permits = both(&user.turns, &self.places.0.cores, 1).await;
            // Whoever has waited for a place found room for an answer before: those of meanwhile may not have been read.
            let Some(room) = self.room.as_ref().filter(|room| first && room.is_full()) else { break permits };
            drop(permits);
            room.wait().await;
        }
    }
}

/// What follows is long work, and is done in a place until it waits for something; at once where the request has one, or
/// there are no places. Never under a lock: others may stand in line before.
pub(crate) async fn enter() {
    let Ok(request) = REQUEST.try_with(Clone::clone) else { return };
    let placed = {
        let mut held = request.held();
        let placed = held.way == Way::Placed;
        if !placed {
            held.way = Way::Wants;
        }
        placed
    };
    if !placed {
        // What follows is to be polled aside.
        tokio::task::yield_now().await;
    }
}

/// The same for who is known by the request alone: they stand in a line of their own, not in that of all strangers.
pub async fn enter_as(name: &str) {
    if let Ok(request) = REQUEST.try_with(Clone::clone) {
        let user = request.places.user(name);
        request.held().user = Some(user);
    }
    enter().await;
}

/// Does something long on the way of an answer that has begun, such as a watch's, while another thread takes the worker's
/// place. There is no line for it: what a change looks like is made once, and the write that has made it has stood in one.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread) {
        true => tokio::task::block_in_place(work),
        false => work(),
    }
}

/// Takes room for a large body before it is read. A sender who is slow takes it from themselves alone.
pub(crate) async fn hold(bytes: usize) {
    let Ok(request) = REQUEST.try_with(Clone::clone) else { return };
    let user = request.user();
    let units = bytes.div_ceil(UNIT).min(ONES_BODIES);
    let units = u32::try_from(units).unwrap_or(u32::MAX);
    let permits = both(&user.bodies, &request.places.0.bodies, units).await;
    request.held().body = permits;
}

async fn both(own: &Arc<Semaphore>, all: &Arc<Semaphore>, units: u32) -> Option<Permits> {
    // Nobody closes either.
    let own = own.clone().acquire_many_owned(units).await.ok()?;
    Some([own, all.clone().acquire_many_owned(units).await.ok()?])
}

/// Takes a place if objects are large, of which trees are made.
pub(crate) async fn enter_for<'a>(objects: impl IntoIterator<Item = &'a Stored>) {
    if are_large(objects.into_iter().map(|object| object.json().len())) {
        enter().await;
    }
}

/// Takes a place if a tree is large.
pub(crate) async fn enter_for_tree(object: &Object) {
    let mut left = VALUES;
    if !object.0.values().all(|value| fits(value, &mut left)) {
        enter().await;
    }
}

/// Whether so many values are left; looks at no more than that.
fn fits(value: &Value, left: &mut usize) -> bool {
    let weight = 1 + if let Value::String(text) = value { text.len() / TEXT } else { 0 };
    let Some(rest) = left.checked_sub(weight) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left)),
        Value::Object(map) => map.values().all(|item| fits(item, left)),
        _ => true,
    }
}

/// Looks at no more lengths than it takes.
fn are_large(mut lengths: impl Iterator<Item = usize>) -> bool {
    lengths.try_fold(BODY, usize::checked_sub).is_none()
}

/// Runs a handler on the worker, or aside once it has entered.
struct Aside<F> {
    request: Request,
    /// The place that it waits for.
    taking: Option<BoxFuture<'static, Option<Permits>>>,
    /// It has had one.
    waited: bool,
    handler: Pin<Box<F>>,
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Aside { request, taking, waited, handler } = &mut *self;
        let way = request.held().way;
        let place = match way {
            Way::Light => None,
            Way::Wants => {
                let take = taking.get_or_insert_with(|| request.clone().take(!*waited).boxed());
                let place = ready!(take.as_mut().poll(cx));
                (*taking, *waited) = (None, true);
                place
            }
            Way::Placed | Way::Goes => request.take_free(),
        };
        // Free again after this, also where the handler now waits for something itself.
        let Some(_place) = place else { return handler.as_mut().poll(cx) };
        request.held().way = Way::Placed;
        // A runtime of one thread has no other that could take over.
        let polled = match Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            true => tokio::task::block_in_place(|| handler.as_mut().poll(cx)),
            false => handler.as_mut().poll(cx),
        };
        let way = &mut request.held().way;
        if *way == Way::Placed {
            *way = Way::Goes;
        }
        polled
    }
}

#[cfg(test)]
mod tests;
