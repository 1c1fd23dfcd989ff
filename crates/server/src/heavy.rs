//! Requests that compute for long: large bodies, large objects, long lists.
//!
//! What a request computes it computes in one go, and a worker that computes answers nobody else. So a handler that is
//! about to says so ([`enter`]). From then on it runs on a thread of its own while another one takes the worker's place, and
//! no more of them at a time than half the cores: the rest of the machine is everyone else's. Who waits for a place waits
//! as one waits for a disk: the deadline ends it.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use serde_json::Value;
use tokensmith_listen::Room;
use tokensmith_objects::Object;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a body from which on reading it and answering it takes milliseconds.
pub(crate) const BODY: usize = 32 << 10;
/// The same of objects: values in them, and what their texts weigh, a value for each [`TEXT`] bytes.
const VALUES: usize = 2_000;
const TEXT: usize = 32;

/// The places for such requests.
#[derive(Clone)]
pub(crate) struct Places(Arc<Semaphore>);

/// The place of the request that is being handled, if it has taken one.
type Place = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

tokio::task_local! {
    static REQUEST: (Places, Place, Option<Room>);
}

impl Places {
    /// As many as half the cores, and one at least.
    pub(crate) fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Places(Arc::new(Semaphore::new((cores / 2).max(1))))
    }

    /// A handler that may [`enter`]. Its place is free again when it has ended, or was given up. `room` is its connection's
    /// for answers.
    pub(crate) fn around<F: Future>(
        &self,
        room: Option<Room>,
        handler: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let place = Place::default();
        let inside = Aside { place: place.clone(), handler: Box::pin(handler) };
        REQUEST.scope((self.clone(), place, room), inside)
    }
}

/// Takes a place before long work; at once where the request has one, or there are no places.
pub(crate) async fn enter() {
    let Ok((places, place, room)) = REQUEST.try_with(Clone::clone) else { return };
    if taken(&place) {
        return;
    }
    let permit = loop {
        // Nobody closes the semaphore.
        let permit = places.0.clone().acquire_owned().await.ok();
        // Whoever has waited for a place found room for an answer before: those of meanwhile may not have been read.
        let Some(room) = room.as_ref().filter(|room| room.is_full()) else { break permit };
        drop(permit);
        room.wait().await;
    };
    if let Ok(mut place) = place.lock() {
        *place = permit;
    }
    // What follows is to be polled aside.
    tokio::task::yield_now().await;
}

/// Takes a place if an object is large.
pub(crate) async fn enter_for<'a>(objects: impl IntoIterator<Item = &'a Object>) {
    let mut left = VALUES;
    if !objects.into_iter().all(|object| object.0.values().all(|value| fits(value, &mut left))) {
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

fn taken(place: &Place) -> bool {
    place.lock().is_ok_and(|place| place.is_some())
}

/// Runs a handler on the worker, or aside once it has taken its place.
struct Aside<F> {
    place: Place,
    handler: Pin<Box<F>>,
}

impl<F: Future> Future for Aside<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // A runtime of one thread has no other that could take over.
        let threads = || Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        match taken(&self.place) && threads() {
            true => tokio::task::block_in_place(|| self.handler.as_mut().poll(cx)),
            false => self.handler.as_mut().poll(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use serde_json::json;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    /// Two wait for a place, one computes, and the only worker answers.
    #[test]
    fn a_request_that_computes_holds_no_worker() {
        let runtime = runtime();
        let places = Places(Arc::new(Semaphore::new(1)));
        let (begun, computes) = mpsc::channel();
        let (end, until) = mpsc::channel::<()>();
        let until = Arc::new(Mutex::new(until));
        let heavy: Vec<_> = (0..3)
            .map(|_| {
                let (begun, until, places) = (begun.clone(), until.clone(), places.clone());
                runtime.spawn(places.around(None, async move {
                    enter().await;
                    enter().await;
                    begun.send(()).unwrap();
                    let _ = until.lock().unwrap().recv();
                }))
            })
            .collect();
        computes.recv().unwrap();
        // Blocked for as long as the worker is held.
        let answer = runtime.block_on(async { tokio::spawn(async { 7 }).await.unwrap() });
        assert_eq!(answer, 7);
        assert!(computes.try_recv().is_err(), "the others wait for the place");
        for done in heavy {
            end.send(()).unwrap();
            runtime.block_on(done).unwrap();
        }
        assert_eq!(computes.iter().take(2).count(), 2, "each had its turn");
    }

    #[test]
    fn a_place_is_free_when_its_request_was_given_up() {
        let runtime = runtime();
        let places = Places(Arc::new(Semaphore::new(1)));
        runtime.block_on(async {
            let given_up = places.around(None, async {
                enter().await;
                std::future::pending::<()>().await;
            });
            let never = std::time::Duration::from_millis(1);
            assert!(tokio::time::timeout(never, given_up).await.is_err());
            places.around(None, enter()).await;
        });
        assert_eq!(places.0.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_runtime_of_one_thread_runs_it_as_it_is() {
        let places = Places::of_this_machine();
        assert_eq!(places.around(None, async { enter().await }).await, ());
        enter().await;
    }

    #[test]
    fn a_large_object_is_known_without_a_walk_over_all_of_it() {
        let of = |value: Value| Object::from_value(json!({ "a": value })).unwrap();
        let large = |object: &Object| {
            let mut left = VALUES;
            !object.0.values().all(|value| fits(value, &mut left))
        };
        assert!(!large(&of(vec!["x"; 1000].into())) && large(&of(vec!["x"; 3000].into())));
        assert!(!large(&of("x".repeat(30_000).into())) && large(&of("x".repeat(100_000).into())));
    }
}
