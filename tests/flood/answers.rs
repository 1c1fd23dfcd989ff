//! Answers that nobody reads.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokensmith_tests::Server;
use tokensmith_tests::server::{ADMIN, pause};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::good::{Good, address, secure, tls};
use crate::peers::{PREFACE, frame};

const MIB: u64 = 1 << 20;

/// A request's header block: GET, https, a path, an authority, a bearer token.
fn get(path: &str) -> Vec<u8> {
    let bearer = format!("Bearer {ADMIN}");
    let mut block = vec![0x82, 0x87, 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'x', 0x0f, 0x08, bearer.len() as u8]);
    block.extend(bearer.as_bytes());
    block
}

/// `lists` lists of `objects` MiB each on one connection of HTTP/2 that opens no window.
async fn unread(objects: usize, lists: u32) -> Result<[u64; 3]> {
    let server = Server::start(&["--signing-algorithm=ES256"]).await?;
    let client = server.client()?;
    for n in 0..objects {
        let object = json!({"metadata": {"name": format!("big-{n}")}, "data": {"a": "x".repeat(950_000)}});
        client.post("/api/v1/namespaces/default/configmaps", Some(ADMIN), &object).await?;
    }
    let before = server.resident()?;
    let to = address(&server)?;
    let mut stream = secure(&tls(&[b"h2"]), TcpStream::connect(to).await?).await?;
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await?;
    let block = get("/api/v1/configmaps");
    for n in 0..lists {
        stream.write_all(&frame(1, 5, 2 * n + 1, &block)).await?;
    }
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while stream.read(&mut buffer).await.is_ok_and(|got| got > 0) {}
    });
    let mut most = 0;
    for _ in 0..50 {
        pause(Duration::from_millis(100)).await;
        most = most.max(server.resident()?);
    }
    // Others are answered meanwhile.
    Good::new(&server, "127.0.0.1")?.exchanges(3).await.context("beside the unread")?;
    reading.abort();
    let _ = reading.await;
    let mut after = server.resident()?;
    for _ in 0..50 {
        after = after.min(server.resident()?);
        pause(Duration::from_millis(20)).await;
    }
    println!(
        "{lists} unread lists of {objects} MB: {} MiB before, {} at most, {} afterwards",
        before / MIB,
        most / MIB,
        after / MIB
    );
    Ok([before, most, after])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_are_bounded() -> Result<()> {
    let [before, most, _] = unread(8, 60).await?;
    // Without a bound they are 480 MB.
    ensure!(most.saturating_sub(before) < 320 * MIB, "grew by {} MiB", (most - before) / MIB);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "part of the whole flood"]
async fn whole_unread_answers() -> Result<()> {
    let [before, most, _] = unread(28, 60).await?;
    ensure!(most.saturating_sub(before) < 400 * MIB, "grew by {} MiB", (most - before) / MIB);
    Ok(())
}
