//! Who is there, and who comes: places, and an accept loop that goes on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_listen::{Accept, Accepted, Bounds, TcpAccept};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::world::*;

fn few() -> Bounds {
    Bounds { connections: 20, per_address: 16, silent: 4, greeted: 4, ..Bounds::default() }
}

#[tokio::test]
async fn a_newcomer_displaces_the_longest_silent() {
    let world = start(few()).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(world.connect().await);
    }
    for n in 0..100 {
        silent.push(world.connect().await);
        assert!(closed(&mut silent[n]).await, "{n} is still there");
        // Among them somebody who speaks takes one place more, and leaves it.
        assert!(world.ask("/").await.ends_with("ok"));
        assert!(silent[n + 2..].iter().all(|stream| !is_closed(stream)), "the younger stay");
    }
    assert!(world.stats.displaced() >= 100);
}

/// Half a head each, more than there are places: a good client comes through, again and again.
#[tokio::test]
async fn half_heads_keep_nobody_out() {
    let world = start(few()).await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(world.say(b"GET / HTTP/1.1\r\nX: ").await);
        assert!(world.ask("/").await.ends_with("ok"));
    }
    assert!(world.stats.open() <= 20);
}

#[tokio::test]
async fn the_idle_make_room_and_the_busy_do_not() {
    let world = start(few()).await;
    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut stream = world.say(get("/").as_bytes()).await;
        assert!(answer(&mut stream).await.ends_with("ok"));
        idle.push(stream);
    }
    let mut busy = Vec::new();
    for _ in 0..16 {
        busy.push(world.say(get("/wait").as_bytes()).await);
        // A place is taken by the one before.
        tokio::task::yield_now().await;
    }
    for stream in &mut idle {
        assert!(closed(stream).await);
    }
    // All that this address may have is at work: one more is refused, and those stay.
    let mut refused = world.connect().await;
    assert!(closed(&mut refused).await);
    world.go.add_permits(16);
    for stream in &mut busy {
        assert!(answer(stream).await.ends_with("ok"));
    }
}

/// Bodies that come byte by byte are slow from their first byte on.
#[tokio::test]
async fn slow_bodies_make_room() {
    let world = start(few()).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(world.say(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").await);
        assert!(world.ask("/").await.ends_with("ok"));
    }
}

/// Fails as a process without descriptors does, and then no longer.
struct Exhausted {
    inner: TcpAccept,
    failures: usize,
    asked: Arc<AtomicUsize>,
}

impl Accept for Exhausted {
    async fn accept(&self) -> io::Result<Option<Accepted>> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.failures {
            return Err(io::Error::from_raw_os_error(24)); // EMFILE
        }
        self.inner.accept().await
    }
}

#[tokio::test]
async fn a_failing_accept_is_tried_again_but_does_not_spin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let acceptor = Exhausted { inner: TcpAccept(listener), failures: 20, asked: asked.clone() };
    let world = start_on(acceptor, address, few());
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the clock stands still, so it waits");
    // Twenty failures take some 17 s.
    world.advance_until(Duration::from_millis(50), async || asked.load(Ordering::SeqCst) > 20).await;
    assert!(world.clock.monotonic() > Duration::from_secs(10));
    assert!(world.ask("/").await.ends_with("ok"));
}

/// Errors about the one who came cost nobody a pause.
struct Aborted(TcpAccept, AtomicUsize);

impl Accept for Aborted {
    async fn accept(&self) -> io::Result<Option<Accepted>> {
        if self.1.fetch_add(1, Ordering::SeqCst) < 100 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.0.accept().await
    }
}

#[tokio::test]
async fn who_has_gone_before_their_turn_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let world = start_on(Aborted(TcpAccept(listener), AtomicUsize::new(0)), address, few());
    assert!(timeout(LONG, world.ask("/")).await.unwrap().ends_with("ok"));
}

/// Panics at the second connection.
struct Panics(TcpAccept, AtomicUsize);

impl Accept for Panics {
    async fn accept(&self) -> io::Result<Option<Accepted>> {
        let accepted = self.0.accept().await;
        assert_ne!(self.1.fetch_add(1, Ordering::SeqCst), 1, "a test's");
        accepted
    }
}

#[tokio::test]
async fn accepting_that_panics_is_begun_again_on_its_socket_and_connections_go_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let world = start_on(Panics(TcpAccept(listener), AtomicUsize::new(0)), address, few());
    let mut there = world.say(get("/").as_bytes()).await;
    assert!(answer(&mut there).await.ends_with("ok"));
    let mut unlucky = world.connect().await;
    assert!(closed(&mut unlucky).await);
    let mut waits = world.say(get("/").as_bytes()).await;
    // Who was there is served meanwhile.
    there.write_all(get("/").as_bytes()).await.unwrap();
    assert!(answer(&mut there).await.ends_with("ok"));
    assert!(!is_closed(&waits), "whoever comes meanwhile waits in the socket");
    world.clock.advance(Duration::from_secs(1));
    assert!(answer(&mut waits).await.ends_with("ok"));
}
