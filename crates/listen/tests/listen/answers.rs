//! Answers that nobody reads.

use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_listen::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::world::*;

fn bounds() -> Bounds {
    let most = BIG as u64;
    Bounds { unread_bytes: [most, most, 2 * most], ..Bounds::default() }
}

#[tokio::test]
async fn what_nobody_reads_is_taken_back_for_another() {
    let world = start(bounds()).await;
    let mut unread = world.say(get("/big").as_bytes()).await;
    assert_eq!(unread.read_u8().await.unwrap(), b'H');
    // The next one of this address waits, with its request.
    let mut next = world.say(get("/big").as_bytes()).await;
    assert!(timeout(Duration::from_millis(200), next.read_u8()).await.is_err(), "it does not wait");
    world.advance_until(Duration::from_secs(1), async || world.stats.given_up() == 1).await;
    assert!(answer(&mut next).await.len() > BIG, "whole");
    // The other one breaks off, and never looks whole.
    let mut rest = Vec::new();
    let _ = timeout(LONG, unread.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < BIG);
    assert!(world.clock.monotonic() < Duration::from_secs(9));
}

#[tokio::test]
async fn who_finds_no_room_for_long_is_told() {
    let bounds = Bounds { patience: Duration::from_secs(3600), stall: Duration::from_secs(3600), ..bounds() };
    let world = start(bounds).await;
    let mut unread = world.say(get("/big").as_bytes()).await;
    assert_eq!(unread.read_u8().await.unwrap(), b'H');
    let mut next = world.say(get("/").as_bytes()).await;
    tokio::task::yield_now().await;
    let mut said = Vec::new();
    world
        .advance_until(Duration::from_millis(500), async || {
            let mut buffer = [0; 4096];
            if let Ok(got) = next.try_read(&mut buffer) {
                said.extend_from_slice(&buffer[..got]);
            }
            said.windows(4).any(|w| w == b"\r\n\r\n")
        })
        .await;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.starts_with("HTTP/1.1 429 ") && said.contains("retry-after: 1"), "{said}");
    // It was the client's fault, not the connection's.
    drop(unread);
    timeout(LONG, async {
        while world.stats.open() > 1 {
            tokio::task::yield_now().await
        }
    })
    .await
    .unwrap();
    next.write_all(get("/").as_bytes()).await.unwrap();
    assert!(answer(&mut next).await.contains("200 OK"));
}

#[tokio::test]
async fn a_client_that_never_reads_is_left() {
    let world = start(Bounds::default()).await;
    let mut unread = world.say(get("/big").as_bytes()).await;
    assert_eq!(unread.read_u8().await.unwrap(), b'H');
    world.advance_until(Duration::from_secs(1), async || world.stats.open() == 0).await;
    assert!(world.clock.monotonic() >= Duration::from_secs(30));
}

/// HTTP/2 with a window that is never opened: the stream goes, its connection stays.
#[tokio::test]
async fn an_unread_stream_is_given_up_and_its_connection_is_not() {
    let world = start(bounds()).await;
    let big = frame(1, 5, 1, &block("/big"));
    let mut stream = world.say(&[PREFACE, &frame(4, 0, 0, &[]), &big].concat()).await;
    let mut seen = vec![0; 60_000];
    stream.read_exact(&mut seen).await.unwrap();
    world.advance_until(Duration::from_secs(1), async || world.stats.given_up() == 1).await;
    // A larger window for the connection: the first stream had it all.
    stream.write_all(&frame(8, 0, 0, &[0, 1, 0, 0])).await.unwrap();
    stream.write_all(&frame(1, 5, 3, &block("/"))).await.unwrap();
    let mut rest = Vec::new();
    let read = async {
        while !rest.ends_with(b"ok") {
            assert_ne!(stream.read_buf(&mut rest).await.unwrap(), 0);
        }
    };
    timeout(LONG, read).await.unwrap();
}
