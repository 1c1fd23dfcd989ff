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
    let places = Places::new(1);
    let (begun, computes) = mpsc::channel();
    let (end, until) = mpsc::channel::<()>();
    let until = Arc::new(Mutex::new(until));
    let heavy: Vec<_> = (0..3)
        .map(|_| {
            let (begun, until, places) = (begun.clone(), until.clone(), places.clone());
            runtime.spawn(places.around("u".into(), None, async move {
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
    // In whatever order they have come to stand in line.
    heavy.iter().for_each(|_| end.send(()).unwrap());
    for done in heavy {
        runtime.block_on(done).unwrap();
    }
    assert_eq!(computes.iter().take(2).count(), 2, "each had its turn");
}

/// Who is known by what they have sent alone waits behind themselves, and not behind all strangers.
#[tokio::test]
async fn whom_a_request_is_for_has_a_line_of_their_own() {
    let places = Places::new(4);
    // Kept: a user whom nobody holds is forgotten.
    let user = places.user("u");
    let strangers = user.turns.clone().acquire_many_owned(2).await.unwrap();
    let mut among_them = Box::pin(places.around("u".into(), None, enter()));
    assert!(poll(&mut among_them).is_pending() && poll(&mut among_them).is_pending());
    let mut known = Box::pin(places.around("u".into(), None, enter_as("issuer#sub")));
    assert!(poll(&mut known).is_pending());
    assert_eq!(poll(&mut known), Poll::Ready(()));
    drop(strangers);
    assert_eq!(poll(&mut among_them), Poll::Ready(()));
}

/// Its disk is slow: others compute meanwhile, and it takes a place again for its answer.
#[tokio::test]
async fn a_place_is_free_while_its_request_waits() {
    let places = Places::new(1);
    let (disk, written) = tokio::sync::oneshot::channel::<()>();
    let mut waits = Box::pin(places.around("u".into(), None, async {
        enter().await;
        written.await.unwrap();
        enter().await;
    }));
    // Once for `enter`, once in its place.
    assert!(poll(&mut waits).is_pending() && poll(&mut waits).is_pending());
    assert_eq!(places.0.cores.available_permits(), 1);
    for user in ["u", "v"] {
        let mut other = Box::pin(places.around(user.into(), None, enter()));
        assert!(poll(&mut other).is_pending());
        assert_eq!(poll(&mut other), Poll::Ready(()));
    }
    disk.send(()).unwrap();
    let taken = places.0.cores.clone().acquire_owned().await.unwrap();
    assert!(poll(&mut waits).is_pending() && poll(&mut waits).is_pending(), "it computes in a place alone");
    drop(taken);
    assert_eq!(poll(&mut waits), Poll::Ready(()));
    assert_eq!(places.0.cores.available_permits(), 1);
}

/// A user's thousand stand in line for the only place. What the same user has begun meanwhile gets on.
#[tokio::test]
async fn who_has_begun_stands_in_no_line_while_others_wait_for_it() {
    let places = Places::new(1);
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    let (disk, written) = tokio::sync::oneshot::channel::<()>();
    let mut holds = Box::pin(places.around("many".into(), None, async {
        enter().await;
        let _one = lock.lock().await;
        written.await.unwrap();
    }));
    assert!(poll(&mut holds).is_pending() && poll(&mut holds).is_pending());
    let _taken = places.0.cores.clone().acquire_owned().await.unwrap();
    let mut line: Vec<_> =
        (0..1_000).map(|_| Box::pin(places.around("many".into(), None, enter()))).collect();
    for _ in 0..2 {
        assert!(line.iter_mut().all(|request| poll(request).is_pending()));
    }
    let mut other = Box::pin(async { drop(lock.lock().await) });
    assert!(poll(&mut other).is_pending());
    disk.send(()).unwrap();
    assert_eq!(poll(&mut holds), Poll::Ready(()));
    assert_eq!(poll(&mut other), Poll::Ready(()));
}

/// As a collection that is deleted: it is polled once for each wait, and never in vain.
#[tokio::test]
async fn many_small_steps_need_one_place() {
    const STEPS: usize = 20_000;
    let places = Places::new(1);
    let mut steps = Box::pin(places.around("u".into(), None, async {
        enter().await;
        for _ in 0..STEPS {
            tokio::task::yield_now().await;
        }
    }));
    assert!(poll(&mut steps).is_pending() && poll(&mut steps).is_pending());
    let _taken = places.0.cores.clone().acquire_owned().await.unwrap();
    let looks = (1..).find(|_| poll(&mut steps).is_ready());
    assert_eq!(looks, Some(STEPS));
}

#[tokio::test]
async fn a_place_is_free_when_its_request_was_given_up() {
    let places = Places::new(1);
    let taken = places.0.cores.clone().acquire_owned().await.unwrap();
    let mut given_up = Box::pin(places.around("u".into(), None, enter()));
    assert!(poll(&mut given_up).is_pending() && poll(&mut given_up).is_pending());
    drop(taken);
    // The place is its own by now.
    assert_eq!(places.0.cores.available_permits(), 0);
    drop(given_up);
    assert_eq!(places.0.cores.available_permits(), 1);
}

/// Polls a future once, however many others this task has polled.
fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    let future = std::pin::pin!(tokio::task::unconstrained(future.as_mut()));
    future.poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn who_asks_a_thousand_times_stands_in_line_once() {
    let places = Places::new(1);
    let taken = places.0.cores.clone().acquire_owned().await.unwrap();
    let mut many: Vec<_> =
        (0..1_000).map(|_| Box::pin(places.around("many".into(), None, enter()))).collect();
    // Once for `enter`, once for the line.
    for _ in 0..2 {
        assert!(many.iter_mut().all(|request| poll(request).is_pending()));
    }
    let mut other = Box::pin(places.around("other".into(), None, enter()));
    assert!(poll(&mut other).is_pending() && poll(&mut other).is_pending());
    drop(taken);
    let mut first = many.remove(0);
    assert_eq!(poll(&mut first), Poll::Ready(()));
    // The next of the same user stands behind the other.
    assert!(many.iter_mut().all(|request| poll(request).is_pending()));
    assert_eq!(poll(&mut other), Poll::Ready(()));
}

/// Small requests are most of all, and take no lock that all share.
#[tokio::test]
async fn who_takes_nothing_is_not_looked_up() {
    let places = Places::new(1);
    places.around("u".into(), None, async {}).await;
    assert!(places.0.users.lock().unwrap().by_name.is_empty());
}

#[tokio::test]
async fn bodies_that_wait_are_bounded_for_each_user_and_in_all() {
    let places = Places::new(1);
    let large = || {
        Box::pin(async {
            hold(3 << 20).await;
            std::future::pending::<()>().await;
        })
    };
    let mut sent: Vec<_> = (0..10)
        .flat_map(|user| (0..100).map(move |_| user.to_string()))
        .map(|user| Box::pin(places.around(user.into(), None, large())))
        .collect();
    sent.iter_mut().for_each(|request| assert!(poll(request).is_pending()));
    let held = ALL_BODIES - places.0.bodies.available_permits();
    assert!(held > ALL_BODIES - ONES_BODIES, "the room is used: {held}");
    let one = places.user("0").bodies.available_permits();
    assert!(one < (3 << 20) / UNIT, "a user has their share: {one} are left");
    drop(sent);
    assert_eq!(places.0.bodies.available_permits(), ALL_BODIES);
    assert!(places.0.users.lock().unwrap().by_name.values().all(|user| user.upgrade().is_none()));
}

#[tokio::test]
async fn a_runtime_of_one_thread_runs_it_as_it_is() {
    let places = Places::of_this_machine();
    assert_eq!(places.around("u".into(), None, async { enter().await }).await, ());
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

#[test]
fn large_objects_are_known_by_their_bytes() {
    let looked = std::cell::Cell::new(0);
    let large = |lengths: &[usize]| {
        looked.set(0);
        are_large(lengths.iter().map(|length| {
            looked.set(looked.get() + 1);
            *length
        }))
    };
    assert!(!large(&[]) && !large(&[30_000]) && !large(&[1_600; 20]));
    assert!(large(&[100_000]) && large(&[1_600; 10_000]));
    assert_eq!(looked.get(), 21, "no more than it takes");
}
