//! Heads, bodies and idleness: what is waited for, and for how long.

use std::time::Duration;

use tokensmith_core::Clock;
use tokensmith_listen::Bounds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn who_does_not_send_a_head_is_left() {
    let world = start(Bounds::default()).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTT", "GET / HTTP/1.1\r\nHost: x\r\nX: "] {
        let stream = world.say(beginning.as_bytes()).await;
        let start = world.clock.monotonic();
        world.advance_until(SECOND, async || is_closed(&stream)).await;
        assert!(world.clock.monotonic() - start >= 30 * SECOND, "{beginning:?}");
    }
    // The same after a request.
    let mut stream = world.say(get("/").as_bytes()).await;
    assert!(answer(&mut stream).await.ends_with("ok"));
    stream.write_all(b"GET / HT").await.unwrap();
    world.advance_until(SECOND, async || is_closed(&stream)).await;
}

#[tokio::test]
async fn idle_connections_end_in_both_protocols() {
    let world = start(Bounds::default()).await;
    let mut one = world.say(get("/").as_bytes()).await;
    assert!(answer(&mut one).await.ends_with("ok"));
    let start = world.clock.monotonic();
    world.advance_until(SECOND, async || is_closed(&one)).await;
    assert!(world.clock.monotonic() - start >= 90 * SECOND);
    let mut two = world.say(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, &block("/"))].concat()).await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"ok") {
        assert_ne!(two.read_buf(&mut seen).await.unwrap(), 0);
    }
    let start = world.clock.monotonic();
    // It never answers a ping, and is gone all the same.
    world.advance_until(SECOND, async || is_closed(&two)).await;
    assert!(world.clock.monotonic() - start >= 300 * SECOND);
}

/// A watch is an answer under way: nothing moves for hours, and it stays.
#[tokio::test]
async fn what_is_under_way_is_not_idle() {
    let world = start(Bounds::default()).await;
    let mut one = world.say(get("/wait").as_bytes()).await;
    let mut two =
        world.say(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, &block("/wait"))].concat()).await;
    let mut steps = 0;
    world
        .advance_until(10 * SECOND, async || {
            steps += 1;
            steps > 2000
        })
        .await;
    world.go.add_permits(2);
    assert!(answer(&mut one).await.ends_with("ok"));
    let mut seen = Vec::new();
    while !seen.ends_with(b"ok") {
        assert_ne!(two.read_buf(&mut seen).await.unwrap(), 0);
    }
}

/// Go's server reads bytes that no URI has; what is said of a target is asked of the library's own reading.
#[tokio::test]
async fn a_target_with_bytes_that_no_uri_has_is_read() {
    let world = start(Bounds::default()).await;
    let post = "POST /read?<a> HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\nGET /target> HTTP/1.1\r\nHost: x\r\n";
    let mut stream =
        world.say([&get("/target?a>1&b=<\"`#c"), post, &get("/target?>")].concat().as_bytes()).await;
    let mut seen = Vec::new();
    for want in ["/target?a%3E1&b=%3C%22%60%23c", "31", "/target?%3E"] {
        while !String::from_utf8_lossy(&seen).contains(&format!("\r\n\r\n{want}")) {
            assert_ne!(timeout(LONG, stream.read_buf(&mut seen)).await.unwrap().unwrap(), 0, "{want}");
        }
    }
}

/// The answer to a body that nobody wants comes whole, and says whether the connection goes on.
#[tokio::test]
async fn a_refused_body_costs_nobody_the_answer() {
    let world = start(Bounds::default()).await;
    let post =
        |length: usize| format!("POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    // Small: read, and the connection goes on.
    let mut stream = world.say(post(40_000).as_bytes()).await;
    for _ in 0..4 {
        stream.write_all(&[b'x'; 10_000]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answered = answer(&mut stream).await;
    assert!(answered.starts_with("HTTP/1.1 403 ") && !answered.contains("connection: close"), "{answered}");
    stream.write_all(get("/").as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.ends_with("ok"));
    // Large: the answer says that it ends, and is not lost although the client goes on.
    for _ in 0..20 {
        let mut stream = world.say(post(300_000).as_bytes()).await;
        let _ = stream.write_all(&vec![b'x'; 200_000]).await;
        let answered = answer(&mut stream).await;
        assert!(
            answered.starts_with("HTTP/1.1 403 ") && answered.contains("connection: close"),
            "{answered}"
        );
    }
    // Nobody is told to send what is not wanted.
    let expect = post(100).replace("Host", "Expect: 100-continue\r\nHost");
    let answered = answer(&mut world.say(expect.as_bytes()).await).await;
    assert!(answered.starts_with("HTTP/1.1 403 ") && answered.contains("connection: close"), "{answered}");
}

/// HTTP/2: no reset beside the answer.
#[tokio::test]
async fn a_refused_body_is_not_reset() {
    let world = start(Bounds::default()).await;
    let mut post = block("/refuse");
    post[0] = 0x83;
    let mut stream = world.say(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 4, 1, &post)].concat()).await;
    stream.write_all(&frame(0, 0, 1, &[b'x'; 5000])).await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(&frame(0, 1, 1, &[b'x'; 5000])).await.unwrap();
    let mut seen = Vec::new();
    let read = async {
        while !seen.ends_with(b"ok") {
            assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0);
        }
    };
    timeout(LONG, read).await.unwrap();
    // Ask for more, so that whatever was sent beside the answer has come.
    stream.write_all(&frame(6, 0, 0, b"12345678")).await.unwrap();
    let mut more = Vec::new();
    while !more.windows(8).any(|w| w == b"12345678") {
        assert_ne!(stream.read_buf(&mut more).await.unwrap(), 0);
    }
    let reset = frame(3, 0, 1, &[0, 0, 0, 0]);
    assert!(![seen, more].concat().windows(reset.len()).any(|w| w == reset), "a reset");
}

/// HTTP/2: a client that is still sending reads its answer before its stream is closed, and not for long.
#[tokio::test]
async fn an_early_answer_is_there_for_a_second_before_its_stream_is_closed() {
    for length in [100_000_u32, 3_000_000] {
        let world = start(Bounds::default()).await;
        let mut post = block("/refuse");
        post[0] = 0x83;
        // `content-length`, which says that nobody will read to the end.
        let digits = length.to_string();
        post.extend([0x0f, 0x0d, digits.len() as u8]);
        post.extend(digits.as_bytes());
        let mut stream = world.say(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 4, 1, &post)].concat()).await;
        // As much as may be sent before the server's settings are known.
        for _ in 0..4 {
            stream.write_all(&frame(0, 0, 1, &[b'x'; 16_000])).await.unwrap();
        }
        // Asks for more, so that whatever was sent beside the answer has come.
        let mut seen = Vec::new();
        let mut asked = 0_u64;
        let mut until_asked = async |stream: &mut TcpStream, seen: &mut Vec<u8>| {
            asked += 1;
            let ping = frame(6, 0, 0, &asked.to_be_bytes());
            stream.write_all(&ping).await.unwrap();
            let pong = frame(6, 1, 0, &asked.to_be_bytes());
            while !seen.windows(pong.len()).any(|w| w == pong) {
                assert_ne!(stream.read_buf(seen).await.unwrap(), 0);
            }
        };
        while !seen.windows(2).any(|w| w == b"ok") {
            assert_ne!(timeout(LONG, stream.read_buf(&mut seen)).await.unwrap().unwrap(), 0);
        }
        until_asked(&mut stream, &mut seen).await;
        let reset = |seen: &[u8]| {
            let reset = frame(3, 0, 1, &[0, 0, 0, 0]);
            seen.windows(reset.len()).any(|w| w == reset)
        };
        assert!(!reset(&seen), "a reset beside the answer of {length}");
        let begun = world.clock.monotonic();
        world
            .advance_until(SECOND / 10, async || {
                until_asked(&mut stream, &mut seen).await;
                reset(&seen)
            })
            .await;
        let took = world.clock.monotonic() - begun;
        assert!(took <= 2 * SECOND, "{took:?}");
        assert!(world.ask("/").await.ends_with("ok"));
    }
}

/// Headers of requests that wait are bounded in sum.
#[tokio::test]
async fn headers_that_wait_have_a_bound() {
    let bounds = Bounds { waiting_header_bytes: [100_000, 150_000, 200_000], ..Bounds::default() };
    let world = start(bounds).await;
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let head = format!("GET /wait HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(40_000));
        waiting.push(world.say(head.as_bytes()).await);
    }
    let mut refused = 0;
    for stream in &mut waiting {
        let said = timeout(Duration::from_millis(500), answer(stream)).await;
        refused += usize::from(said.is_ok_and(|said| said.starts_with("HTTP/1.1 431 ")));
    }
    assert_eq!(refused, 1, "four times forty thousand are more than the bound");
    world.go.add_permits(4);
    assert!(world.ask("/").await.ends_with("ok"));
}

/// They count for as long as nobody knows who sends them.
#[tokio::test]
async fn headers_of_who_is_known_have_no_bound_in_sum() {
    let bounds = Bounds { waiting_header_bytes: [100_000, 150_000, 200_000], ..Bounds::default() };
    let world = start(bounds).await;
    let mut known = Vec::new();
    for _ in 0..20 {
        let head = format!("GET /known HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(40_000));
        let mut stream = world.say(head.as_bytes()).await;
        // Until it waits as one who is known.
        let quick = timeout(Duration::from_millis(20), answer(&mut stream)).await;
        assert!(quick.is_err(), "{quick:?}");
        known.push(stream);
    }
    world.go.add_permits(20);
    for stream in &mut known {
        assert!(answer(stream).await.ends_with("ok"));
    }
}

/// And, whoever sends them, for as long as their body is still to come.
#[tokio::test]
async fn headers_of_who_is_known_count_while_a_body_drips() {
    let bounds = Bounds { waiting_header_bytes: [100_000, 150_000, 200_000], ..Bounds::default() };
    let world = start(bounds).await;
    let mut dripping = Vec::new();
    for _ in 0..5 {
        let more = "a".repeat(40_000);
        let head = format!("POST /known HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nX: {more}\r\n\r\nabc");
        let mut stream = world.say(head.as_bytes()).await;
        // Until it waits, or its rest is waited for before it is refused.
        let quick = timeout(Duration::from_millis(100), answer(&mut stream)).await;
        assert!(quick.is_err(), "{quick:?}");
        dripping.push(stream);
    }
    // Whenever it is read: the others' bodies may take much longer.
    let mut last = dripping.pop().unwrap();
    let comes = async || timeout(Duration::from_millis(20), last.readable()).await.is_ok();
    world.advance_until(Duration::from_millis(100), comes).await;
    let said = answer(&mut last).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    for stream in &mut dripping {
        let said = timeout(Duration::from_millis(20), answer(stream)).await;
        assert!(said.is_err(), "{said:?}");
    }
}

#[tokio::test]
async fn who_takes_all_requests_back_is_left() {
    let world = start(Bounds::default()).await;
    let mut stream = world.say(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await;
    let mut taken_back = 0;
    for n in 0..2000_u32 {
        let request = frame(1, 5, 2 * n + 1, &block("/wait"));
        if stream.write_all(&request).await.is_err() {
            break;
        }
        // The request begins before it is taken back.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if stream.write_all(&frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])).await.is_err() || is_closed(&stream) {
            break;
        }
        taken_back = n;
    }
    assert!(taken_back < 1000, "{taken_back}");
    assert!(world.ask("/").await.ends_with("ok"));
}

/// Whether the peer is told to calm down (`ENHANCE_YOUR_CALM`), and left.
async fn is_told_to_calm_down(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    // A reset may follow.
    let _ = timeout(LONG, stream.read_to_end(&mut seen)).await.expect("it is not left");
    let goaway = |w: &[u8]| w[3..5] == [7, 0] && w[9 + 4..] == [0, 0, 0, 11];
    seen.windows(17).any(goaway)
}

#[tokio::test]
async fn who_takes_requests_back_before_they_are_seen_is_left() {
    let world = start(Bounds::default()).await;
    let request = |n: u32| [frame(1, 5, 2 * n + 1, &block("/wait")), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])];
    let all: Vec<_> = (0..100).flat_map(request).collect();
    let mut stream = world.say(&[PREFACE, &frame(4, 0, 0, &[]), &all.concat()].concat()).await;
    assert!(is_told_to_calm_down(&mut stream).await);
    assert!(world.ask("/").await.ends_with("ok"));
}

/// A window that overflows is an error of its stream alone, which we reset.
#[tokio::test]
async fn who_makes_us_reset_requests_is_left() {
    let world = start(Bounds::default()).await;
    let mut stream = world.say(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await;
    let mut begun = 0;
    for n in 0..200_u32 {
        let request = frame(1, 5, 2 * n + 1, &block("/wait"));
        let overflow = frame(8, 0, 2 * n + 1, &0x7fff_ffff_u32.to_be_bytes());
        if stream.write_all(&[request, overflow].concat()).await.is_err() {
            break;
        }
        begun = n;
    }
    assert!(is_told_to_calm_down(&mut stream).await || begun < 199, "{begun}");
    assert!(world.ask("/").await.ends_with("ok"));
}
