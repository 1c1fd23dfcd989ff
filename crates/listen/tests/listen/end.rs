//! The end: what is under way ends whole, and nobody silent is waited for.

use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_listen::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::*;

/// Moves the clock on until the loop has ended, and says for how long.
async fn ends(world: &World, step: Duration) -> Duration {
    let start = world.clock.monotonic();
    let ended = async {
        while !world.task.is_finished() {
            world.clock.advance(step);
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, ended).await.expect("it does not end");
    world.clock.monotonic() - start
}

#[tokio::test]
async fn an_answer_under_way_ends_whole_and_says_that_it_is_the_last() {
    let world = start(Bounds::default()).await;
    let mut waiting = world.say(get("/wait").as_bytes()).await;
    let mut idle = world.say(get("/").as_bytes()).await;
    assert!(answer(&mut idle).await.ends_with("ok"));
    let mut silent = world.connect().await;
    tokio::task::yield_now().await;
    world.stop.send_replace(true);
    world.advance_until(Duration::from_millis(10), async || is_closed(&idle) && is_closed(&silent)).await;
    assert!(closed(&mut silent).await);
    assert!(!world.task.is_finished());
    world.go.add_permits(1);
    let answered = answer(&mut waiting).await;
    assert!(answered.ends_with("ok") && answered.contains("connection: close"), "{answered}");
    ends(&world, Duration::from_millis(10)).await;
}

/// Each in the middle of something, and silent from then on.
#[tokio::test]
async fn nobody_silent_is_waited_for() {
    let world = start(Bounds::default()).await;
    let http2 = |path| [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, &block(path))].concat();
    let mut kept = [
        world.connect().await,
        world.say(b"GET / HTTP/1.1\r\nX").await,
        world.say(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx").await,
        world.say(get("/big").as_bytes()).await,
        world.say(&http2("/")).await,
        world.say(&http2("/big")).await,
    ];
    for stream in &mut kept[3..] {
        stream.read_u8().await.unwrap();
    }
    world.stop.send_replace(true);
    let took = ends(&world, Duration::from_millis(5)).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A tunnel, and what has come through it once.
async fn tunnel(world: &World) -> TcpStream {
    let ask = "GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nping";
    let mut stream = world.say(ask.as_bytes()).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"ping") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
    }
    stream
}

#[tokio::test]
async fn a_tunnel_on_which_nothing_moves_is_not_waited_for() {
    let world = start(Bounds::default()).await;
    let mut idle = tunnel(&world).await;
    world.stop.send_replace(true);
    let took = ends(&world, Duration::from_millis(5)).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(closed(&mut idle).await);
}

/// What is at work has its time, and no more.
#[tokio::test]
async fn a_tunnel_that_is_used_has_its_time() {
    let world = start(Bounds::default()).await;
    let mut used = tunnel(&world).await;
    world.stop.send_replace(true);
    let start = world.clock.monotonic();
    let ended = async {
        while used.write_all(b"x").await.is_ok() && used.read_u8().await.is_ok() {
            world.clock.advance(Duration::from_millis(100));
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, ended).await.expect("it does not end");
    let took = world.clock.monotonic() - start;
    assert!((20..22).contains(&took.as_secs()), "{took:?}");
    ends(&world, Duration::from_millis(5)).await;
}

/// What is at work has its time, and no more.
#[tokio::test]
async fn what_does_not_end_is_cut() {
    let world = start(Bounds::default()).await;
    let mut waiting = world.say(get("/wait").as_bytes()).await;
    tokio::task::yield_now().await;
    world.stop.send_replace(true);
    let took = ends(&world, Duration::from_millis(100)).await;
    assert!((20..22).contains(&took.as_secs()), "{took:?}");
    assert!(closed(&mut waiting).await);
}

/// An answer that says so ends its connection, in HTTP/2 as well.
#[tokio::test]
async fn connection_close_ends_both_protocols() {
    let world = start(Bounds::default()).await;
    let mut one = world.say(get("/close").as_bytes()).await;
    assert!(answer(&mut one).await.contains("connection: close"));
    assert!(closed(&mut one).await);
    let mut two =
        world.say(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, &block("/close"))].concat()).await;
    let mut seen = Vec::new();
    let goaway = [7, 0, 0, 0, 0, 0];
    let read = async {
        while !seen.windows(goaway.len()).any(|w: &[u8]| w == goaway) {
            assert_ne!(two.read_buf(&mut seen).await.unwrap(), 0);
        }
    };
    timeout(LONG, read).await.expect("no GOAWAY");
    two.shutdown().await.unwrap();
}
