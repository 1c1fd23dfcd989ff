//! As many tokens as the server gives: per algorithm beside the raw signing rate, and per mode of the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokensmith_tests::Server;
use tokensmith_tests::server::{ADMIN, pause};

use crate::{TOKEN, now, raw};

const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Both tables.
pub async fn run(seconds: u64, connections: usize) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    println!("{cores} cores, {connections} connections, {seconds} s each; client and server share the cores");
    println!("{:<8}{:>16}{:>14}{:>10}{:>16}", "", "raw sign/s/core", "tokens/s", "ratio", "reviews/s");
    for (algorithm, raw) in [("RS256", raw::rs256()?), ("ES256", raw::es256()?)] {
        let flag = format!("--signing-algorithm={algorithm}");
        let server = Server::start(&[&flag]).await?;
        let time = Duration::from_secs(seconds);
        let tokens = rate(&server, TOKEN, Bytes::from_static(b"{}"), connections, time).await?;
        let reply = server.client()?.post(TOKEN, Some(ADMIN), &serde_json::json!({})).await?;
        let review = serde_json::json!({"spec": {"token": reply["status"]["token"]}});
        let reviews = rate(&server, REVIEW, serde_json::to_vec(&review)?.into(), connections, time).await?;
        println!("{algorithm:<8}{raw:>16.0}{tokens:>14.0}{:>10.2}{reviews:>16.0}", tokens / raw);
    }
    ledgers(connections, Duration::from_secs(seconds)).await
}

/// What the ledger costs: ES256, so that signing hides as little of it as it can. Each mode is measured several times
/// in turn, since the machine's speed drifts; the server's CPU time per token says most where others use the machine.
async fn ledgers(connections: usize, time: Duration) -> Result<()> {
    const ROUNDS: usize = 3;
    let modes = ["off", "revocations", "full"];
    let (mut rates, mut costs) = ([[0.0; ROUNDS]; 3], [[0.0; ROUNDS]; 3]);
    for round in 0..ROUNDS {
        for (at, mode) in modes.iter().enumerate() {
            let flag = format!("--ledger={mode}");
            let server = Server::start(&["--signing-algorithm=ES256", &flag]).await?;
            let (before, issued) = (server.cpu()?, issued(&server).await?);
            rates[at][round] = rate(&server, TOKEN, Bytes::from_static(b"{}"), connections, time).await?;
            let issued = self::issued(&server).await? - issued;
            costs[at][round] = (server.cpu()? - before).as_secs_f64() * 1e6 / issued;
        }
    }
    println!(
        "\n{:<16}{:>10}{:>14}{:>16}{:>14}",
        "ES256, --ledger", "tokens/s", "against off", "CPU us/token", "against off"
    );
    let median = |of: &[f64; ROUNDS]| {
        let mut sorted = *of;
        sorted.sort_by(f64::total_cmp);
        sorted[ROUNDS / 2]
    };
    let (rate, cost) = (median(&rates[0]), median(&costs[0]));
    for ((mode, rates), costs) in modes.iter().zip(&rates).zip(&costs) {
        let (r, c) = (median(rates), median(costs));
        println!("{mode:<16}{r:>10.0}{:>14.2}{c:>16.1}{:>14.2}", r / rate, c / cost);
    }
    Ok(())
}

/// As many tokens the server has signed.
async fn issued(server: &Server) -> Result<f64> {
    let answer = server.client()?.send("GET", "/metrics", Some(ADMIN), &[], None).await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let name = "tokensmith_token_request_duration_seconds_count ";
    let line = text.lines().find_map(|l| l.strip_prefix(name)).context("no count of tokens")?;
    Ok(line.parse()?)
}

/// Answers per second; every answer must be a 201.
pub async fn rate(
    server: &Server,
    path: &'static str,
    body: Bytes,
    connections: usize,
    time: Duration,
) -> Result<f64> {
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut workers = Vec::new();
    for _ in 0..connections {
        let (client, body, done, stop) = (server.client()?, body.clone(), done.clone(), stop.clone());
        workers.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let headers = [("content-type", "application/json")];
                let answer = client.send("POST", path, Some(ADMIN), &headers, Some(body.clone())).await?;
                ensure!(answer.status == 201, "{}: {:?}", answer.status, answer.body);
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        }));
    }
    // The first answers pay for the connections.
    pause(Duration::from_millis(500)).await;
    let (from, start) = (done.load(Ordering::Relaxed), now());
    pause(time).await;
    let rate = (done.load(Ordering::Relaxed) - from) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await??;
    }
    Ok(rate)
}
