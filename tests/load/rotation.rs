//! Rotations under load: how long requests take in the second around one, against the seconds before.
//!
//! Rounds with a rotation alternate with rounds without, which show what the machine does by itself. What follows a
//! rotation is shown too: that is when the server makes the next spare.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};

use crate::steady::{Sample, Stream, p99};
use crate::throughput::rate;
use crate::{TOKEN, now};

/// How much of what the server can do it is asked for: it must have a say in how long a request takes, not the queue.
const SHARE: f64 = 0.5;
const ROUND: Duration = Duration::from_secs(4);
/// Around a rotation, on either side.
const HALF: Duration = Duration::from_millis(500);
const SECOND: Duration = Duration::from_secs(1);
/// Of so many seconds before the one around it, the median p99 counts: one of them may be disturbed.
const SECONDS: u32 = 3;
/// A p99 before a rotation that is a queue: the machine does not do what it did when it was asked for all it can.
const BUSY: Duration = Duration::from_millis(50);
/// The bound for the median of the ratios.
const BOUND: f64 = 1.5;

/// Measures both algorithms; an error where a rotation shows.
pub async fn run(rotations: u64, connections: usize) -> Result<()> {
    let mut slow = Vec::new();
    for algorithm in ["ES256", "RS256"] {
        let ratio = measure(algorithm, rotations, connections).await?;
        if ratio > BOUND {
            slow.push(format!("{algorithm}: {ratio:.2} times the p99 before"));
        }
    }
    ensure!(slow.is_empty(), "rotations slow requests down: {}", slow.join(", "));
    Ok(())
}

/// The median ratio of the rotations.
async fn measure(algorithm: &str, rotations: u64, connections: usize) -> Result<f64> {
    let server = Server::start(&[&format!("--signing-algorithm={algorithm}")]).await?;
    let client = server.client()?;
    let most = rate(&server, TOKEN, Bytes::from_static(b"{}"), connections, Duration::from_secs(3)).await?;
    let asked = (most * SHARE).floor();
    println!("{algorithm}: {asked:.0} tokens/s of {most:.0}, {connections} connections; p99 in ms");
    let stream = Stream::start(&server, connections, asked)?;
    let mut rounds = Vec::new();
    for round in 0..2 * rotations {
        pause(ROUND).await;
        let at = now();
        let rotates = round % 2 == 1;
        if rotates {
            rotate(&client).await.with_context(|| format!("rotation {}", round / 2 + 1))?;
        }
        rounds.push((rotates, at));
    }
    pause(HALF + SECOND).await;
    let samples = stream.stop().await?;
    println!("{:<10}{:>10}{:>10}{:>10}{:>10}", "", "before", "around", "ratio", "after");
    let (with, without): (Vec<_>, Vec<_>) = rounds.into_iter().partition(|(rotates, _)| *rotates);
    let none = table("none", &samples, without)?;
    let ratio = table("rotation", &samples, with)?;
    let spare = spares(&client, rotations).await?;
    println!(
        "{algorithm}: median ratio {ratio:.2} with a rotation, {none:.2} without; a spare after {spare}\n"
    );
    Ok(ratio)
}

/// A line per round; gives the median ratio.
fn table(what: &str, samples: &[Sample], rounds: Vec<(bool, Instant)>) -> Result<f64> {
    let (mut ratios, mut all, count) = (Vec::new(), [const { Vec::new() }; 3], rounds.len());
    for (_, at) in rounds {
        let second =
            |from| p99(samples, from, from + SECOND).unwrap_or(Duration::from_secs(60)).as_secs_f64() * 1e3;
        let from = at - HALF;
        let before = median((1..=SECONDS).map(|n| second(from - n * SECOND)).collect());
        if before >= BUSY.as_secs_f64() * 1e3 {
            println!("{what:<10} others use the machine: not counted");
            continue;
        }
        let parts = [before, second(from), second(from + SECOND)];
        let ratio = parts[1] / parts[0];
        println!("{what:<10}{:>10.2}{:>10.2}{ratio:>10.2}{:>10.2}", parts[0], parts[1], parts[2]);
        ratios.push(ratio);
        all.iter_mut().zip(parts).for_each(|(all, part)| all.push(part));
    }
    ensure!(2 * ratios.len() >= count, "the machine is too busy to tell: {} of {count} rounds", ratios.len());
    let [before, around, after] = all.map(median);
    let ratio = median(ratios);
    println!("{:<10}{before:>10.2}{around:>10.2}{ratio:>10.2}{after:>10.2}", "median");
    Ok(ratio)
}

/// Lets the spare sign at once; tokens are then of its key.
async fn rotate(client: &Client) -> Result<()> {
    let body = json!({"force": true, "reason": "a rotation under load"});
    let answer = client.post("/admin/v1/keys/rotate", Some(ADMIN), &body).await?;
    ensure!(answer["key"]["phase"] == "active", "nothing was rotated: {answer}");
    let minted = client.post(TOKEN, Some(ADMIN), &json!({})).await?;
    let header = minted["status"]["token"].as_str().and_then(|t| t.split('.').next()).context("no token")?;
    let header: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header)?)?;
    ensure!(header["kid"] == answer["key"]["id"], "another key signs: {header}");
    Ok(())
}

/// How long it took until a spare stood by again, by the journal: the median and the longest.
async fn spares(client: &Client, rotations: u64) -> Result<String> {
    let history = client.get("/admin/v1/keys/history", Some(ADMIN)).await?;
    let changes = history["changes"].as_array().context("no journal")?;
    let at = |entry: &Value| anyhow::Ok(OffsetDateTime::parse(entry["at"].as_str().unwrap_or(""), &Rfc3339)?);
    let mut took = Vec::new();
    for (n, promoted) in
        changes.iter().enumerate().filter(|(_, e)| e["forced"] == true && e["to"] == "active")
    {
        let next = changes[n..].iter().find(|e| e["to"] == "prepared").context("no spare")?;
        took.push((at(next)? - at(promoted)?).as_seconds_f64());
    }
    ensure!(took.len() as u64 == rotations, "{} of {rotations} rotations are in the journal", took.len());
    let longest = took.iter().copied().fold(0.0, f64::max);
    Ok(format!("{:.2} s, at most {longest:.2} s", median(took)))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    let half = of.len() / 2;
    if of.len() % 2 == 1 { of[half] } else { (of[half - 1] + of[half]) / 2.0 }
}
