//! Load over TLS, on loopback: a release binary and its clients share the machine's cores and stop by themselves.
//!
//! `cargo run --release -p tokensmith-tests --bin load [SECONDS [CONNECTIONS]]` counts tokens per second beside the raw
//! signing rate of the same machine in the same run, over kept-alive connections, for the given time each (5 s, 16
//! connections), and compares the modes of the ledger. The ratios are what to compare, never the absolute numbers.
//!
//! `… --bin load rotation [ROTATIONS [CONNECTIONS]]` (12 rotations, 16 connections) measures how long requests take
//! around a rotation, and fails where it shows.
//!
//! `… --bin load sidecar [SECONDS [CONNECTIONS]]` (5 s, 32 connections) counts the requests that the sidecar verifies and
//! passes on, beside the raw verification rate, and rotates the issuer's key under that load: none may be refused.
//!
//! `… --bin load exchange [SECONDS [CONNECTIONS]]` (5 s, 16 connections) has tokens exchanged beside token requests, rates and 99th
//! percentiles in one run, and rotates keys under the exchanges: none may be refused.
//!
//! `… --bin load scale` is described in `scale`.

mod exchange;
mod raw;
mod rotation;
mod scale;
mod sidecar;
mod steady;
mod throughput;

use std::time::Instant;

use anyhow::{Context, Result, ensure};

/// Where tokens come from.
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|a| a == "scale").is_some() {
        return scale::run(args.collect()).await;
    }
    let rotation = args.next_if(|a| a == "rotation").is_some();
    let exchange = args.next_if(|a| a == "exchange").is_some();
    let sidecar = args.next_if(|a| a == "sidecar").is_some();
    let (count, most) = if rotation { (12, 50) } else { (5, 60) };
    let count: u64 = args.next().map_or(Ok(count), |a| a.parse()).context("the first is a number")?;
    let connections: usize = args
        .next()
        .map_or(Ok(if sidecar { 32 } else { 16 }), |a| a.parse())
        .context("CONNECTIONS is a number")?;
    ensure!(
        args.next().is_none(),
        "load [exchange|sidecar] [SECONDS [CONNECTIONS]] or load rotation [ROTATIONS [CONNECTIONS]]"
    );
    ensure!(
        (1..=most).contains(&count) && (1..=256).contains(&connections),
        "at most 60 s or 50 rotations, and 256 connections"
    );
    if exchange {
        return exchange::run(count, connections).await;
    }
    if sidecar {
        return sidecar::run(count, connections).await;
    }
    match rotation {
        true => rotation::run(count, connections).await,
        false => throughput::run(count, connections).await,
    }
}

#[expect(clippy::disallowed_methods, reason = "a load program measures the machine's time")]
fn now() -> Instant {
    Instant::now()
}
