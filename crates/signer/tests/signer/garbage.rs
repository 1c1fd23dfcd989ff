//! Peers that do not speak the protocol, or say nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokensmith_core::keys::Algorithm;
use tokensmith_core::random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::api_server::Client;
use crate::world::World;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LONG: Duration = Duration::from_secs(30);

/// A frame: length, type, flags, stream.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let mut client = Client::v1(&world.socket).await?;
    let settings = frame(4, 0, 0, &[]);
    let noise: Vec<u8> = (0..64).flat_map(|_| random::bytes::<64>()).collect();
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("noise", noise.clone()),
        ("noise after the preface", [PREFACE, &noise].concat()),
        ("no settings", [PREFACE, &frame(6, 0, 0, &[0; 8])].concat()),
        ("a frame of 16 MiB", [PREFACE, &settings, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat()),
        ("headers on stream 0", [PREFACE, &settings, &frame(1, 4, 0, b"x")].concat()),
        ("headers that do not decode", [PREFACE, &settings, &frame(1, 4, 1, &[0xff; 64])].concat()),
        ("data on an idle stream", [PREFACE, &settings, &frame(0, 0, 5, b"x")].concat()),
        ("settings of a wrong length", [PREFACE, &frame(4, 0, 0, b"xyz")].concat()),
    ];
    for _ in 0..100 {
        cases.push(("noise", [PREFACE, &settings, &random::bytes::<48>()].concat()));
    }
    for (what, bytes) in cases {
        let mut stream = UnixStream::connect(&world.socket).await?;
        // It may hang up before all is written.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let ended = timeout(LONG, stream.read_to_end(&mut answer)).await;
        ensure!(ended.is_ok(), "{what}: the connection stays open");
        client.metadata().await.with_context(|| what.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_flood_of_streams_does_not_stop_others() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    // Opened and broken off at once, as in CVE-2023-44487; the header block is `:method: POST` and the like.
    let mut flood = [PREFACE, &frame(4, 0, 0, &[])].concat();
    for stream in (1..20_001).step_by(2) {
        flood.extend(frame(1, 4, stream, &[0x83, 0x86, 0x84, 0x41, 0x01, b'x']));
        flood.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let mut stream = UnixStream::connect(&world.socket).await?;
    let _ = stream.write_all(&flood).await;
    let mut answer = Vec::new();
    let ended = timeout(LONG, stream.read_to_end(&mut answer)).await;
    ensure!(ended.is_ok(), "the connection stays open");
    Client::v1(&world.socket).await?.metadata().await?;
    Ok(())
}

/// More connections than are served at one time, all silent: they are dropped, and the API server gets its turn.
#[tokio::test]
async fn the_silent_do_not_keep_others_out() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let mut silent = Vec::new();
    for _ in 0..80 {
        silent.push(UnixStream::connect(&world.socket).await?);
    }
    let served =
        timeout(LONG, async { Client::v1(&world.socket).await?.metadata().await.map_err(Into::into) });
    let served: Result<i64> = served.await.context("never served")?;
    served?;
    Ok(())
}

/// A call whose message never comes is answered all the same: it does not stay open for ever.
#[tokio::test]
async fn a_call_without_a_message_is_ended() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let path = b"/v1.ExternalJWTSigner/Sign";
    // HPACK: POST, http, a literal `:path`, a literal `content-type`.
    let mut block = [&[0x83, 0x86, 0x04, path.len() as u8], path.as_slice()].concat();
    block.extend_from_slice(b"\x0f\x10\x10application/grpc");
    let mut stream = UnixStream::connect(&world.socket).await?;
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &frame(1, 4, 1, &block)].concat()).await?;
    let answered = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            stream.read_exact(&mut payload).await?;
            if head[3] == 1 && head[8] == 1 {
                return Ok::<_, std::io::Error>((head[4], payload));
            }
        }
    };
    let mut answered = std::pin::pin!(answered);
    ensure!(timeout(Duration::from_secs(1), &mut answered).await.is_err(), "answered before the message");
    let (flags, block) = timeout(LONG, answered).await.context("never answered")??;
    ensure!(flags & 1 == 1, "the stream goes on");
    // gRPC's errors are `:status` 200 with a `grpc-status`.
    ensure!(block.first() == Some(&0x88), "{block:?}");
    Ok(())
}

#[tokio::test]
async fn the_end_waits_for_nobody_who_is_silent() -> Result<()> {
    let world = World::new(Algorithm::ES256, None).await?;
    let _silent = UnixStream::connect(&world.socket).await?;
    let mut client = Client::v1(&world.socket).await?;
    client.metadata().await?;
    let socket = world.socket.clone();
    let _dir = timeout(Duration::from_secs(5), world.stop()).await.context("it does not end")??;
    ensure!(!socket.exists());
    ensure!(client.metadata().await.is_err());
    Ok(())
}
