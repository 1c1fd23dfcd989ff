//! A flood on loopback: silent, slow and resetting peers, and how a good client fares beside them.
//!
//! `cargo test` runs a small part. The whole: `cargo test --release -p tokensmith-tests --test flood -- --ignored --nocapture`
//! (2,000 silent, 2,000 slow, 500 peers of HTTP/2 with resets; two minutes; it raises its own limit of open files).

mod answers;
mod descriptors;
mod good;
mod others;
mod peers;
mod stop;

use std::time::Duration;

use anyhow::{Result, ensure};
use tokensmith_tests::Server;
use tokensmith_tests::server::pause;

use good::{Good, Times};
use peers::{Flood, Kind};

/// How many of each kind.
struct Scale {
    silent: usize,
    slow: usize,
    resets: usize,
    /// Exchanges of each good client.
    exchanges: usize,
    /// The longest that one may take.
    limit: Duration,
}

const SMALL: Scale =
    Scale { silent: 300, slow: 150, resets: 20, exchanges: 5, limit: Duration::from_secs(10) };
const WHOLE: Scale =
    Scale { silent: 2000, slow: 2000, resets: 500, exchanges: 20, limit: Duration::from_secs(1) };

/// A flood from 127.0.0.1, all kinds at once; good clients from there and from 127.0.0.2.
async fn flooded(scale: &Scale) -> Result<()> {
    tokensmith_listen::descriptors::raise();
    let server = Server::start(&["--signing-algorithm=ES256"]).await?;
    let clients = [Good::new(&server, "127.0.0.1")?, Good::new(&server, "127.0.0.2")?];
    let mut rows = Vec::new();
    for client in &clients {
        rows.push((format!("idle, {}", client.from), client.exchanges(scale.exchanges).await?));
    }
    let third = scale.slow / 3;
    let flood = Flood::start(
        &server,
        &[
            (Kind::Silent, scale.silent),
            (Kind::SlowHello, third),
            (Kind::SlowHead, third),
            (Kind::SlowBody, scale.slow - 2 * third),
            (Kind::Resets, scale.resets),
        ],
    )?;
    flood.all_there().await?;
    for client in &clients {
        rows.push((format!("flood, {}", client.from), client.exchanges(scale.exchanges).await?));
    }
    println!("\n{:24} {:>10} {:>10}", "a new connection each", "median", "worst");
    for (what, times) in &rows {
        println!("{what:24} {:>7} ms {:>7} ms", times.median().as_millis(), times.worst().as_millis());
    }
    println!("connections of the flood: {}; server: {} MiB", flood.connected(), server.resident()? >> 20);
    for (what, times) in &rows {
        ensure!(times.worst() < scale.limit, "{what}: {times:?}");
    }
    // And when it is over, all is as before.
    flood.end().await;
    pause(Duration::from_millis(200)).await;
    let after: Times = clients[0].exchanges(scale.exchanges).await?;
    ensure!(after.worst() < scale.limit, "afterwards: {after:?}");
    println!("afterwards: {} MiB", server.resident()? >> 20);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_keeps_nobody_out() -> Result<()> {
    flooded(&SMALL).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the whole takes minutes, and the machine"]
async fn whole_flood() -> Result<()> {
    flooded(&WHOLE).await
}
