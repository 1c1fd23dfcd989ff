//! What every endpoint's worst bodies cost, at 10, 100 and 1,000 KB, and what others wait meanwhile; printed as a table.
//!
//! `cargo build --release && cargo run --release -p tokensmith-tests --bin cost [WORD]` runs the endpoints whose name has the
//! word, or all (some minutes), and fails where ten times the size costs more than fifteen times as much.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokensmith_tests::Server;
use tokensmith_tests::cost::endpoints::{self, Depth};
use tokensmith_tests::cost::measure::{self, Row};
use tokensmith_tests::cost::{POLICY, waits};
use tokensmith_tests::server::pause;

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const MOST: f64 = 15.0;
const FLOOR: Duration = Duration::from_millis(20);
/// For so many of the most expensive bodies it is measured what others wait.
const WAITS: usize = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let word = std::env::args().nth(1).unwrap_or_default();
    let args = [
        "--ephemeral",
        "--test-clock",
        "--runtime-config=api/all=true",
        "--signing-algorithm=ES256",
        POLICY,
        "--max-request-bytes=16777216",
    ];
    let server = Server::start(&args).await?;
    let client = server.client_http2()?;
    let all = endpoints::all();
    let wanted: Vec<_> = all.iter().filter(|endpoint| endpoint.name().contains(&word)).collect();
    ensure!(!wanted.is_empty(), "no endpoint has {word:?} in its name");
    let mut rows = Vec::new();
    for endpoint in &wanted {
        let found =
            measure::endpoint(&server, &client, endpoint, &SIZES, Depth::Whole, (2, FLOOR, MOST)).await?;
        summary(&endpoint.name(), &found);
        rows.extend(found);
    }
    println!("\n{} bodies. The most expensive, CPU of the server:", rows.len());
    rows.sort_by_key(|row| std::cmp::Reverse(row.cells.last().map(|cell| cell.cpu)));
    rows.iter().take(25).for_each(line);
    let bad: Vec<_> = rows.iter().filter(|row| row.worst_ratio(FLOOR) > MOST).collect();
    println!("\n{} cost more than {MOST} times as much at ten times the size", bad.len());
    bad.iter().for_each(|row| line(row));

    println!("\nWhat two others wait for small answers, while four of the same are answered at a time:");
    let idle = waits::during(&server, async {
        pause(Duration::from_secs(3)).await;
        Ok(())
    });
    let idle = idle.await?;
    println!(
        "{:>8.1?} median {:>8.1?} p99 {:>8.1?} worst  idle, {} answers",
        idle.median, idle.p99, idle.worst, idle.count
    );
    for row in rows.iter().take(WAITS) {
        let Some(endpoint) = wanted.iter().find(|endpoint| endpoint.name() == row.endpoint) else { continue };
        let bodies = endpoint.bodies(SIZES[2], Depth::Whole);
        let Some(body) = bodies.iter().find(|body| body.name == row.body) else { continue };
        let found = waits::during(&server, waits::four(&server, endpoint, body, 2)).await?;
        println!(
            "{:>8.1?} median {:>8.1?} p99 {:>8.1?} worst  {} {}",
            found.median, found.p99, found.worst, row.endpoint, row.body
        );
    }
    ensure!(bad.is_empty(), "{} bodies cost too much", bad.len());
    Ok(())
}

fn summary(name: &str, rows: &[Row]) {
    let most = rows.iter().max_by_key(|row| row.cells.last().map(|cell| cell.cpu));
    let worst = rows.iter().map(|row| row.worst_ratio(FLOOR)).fold(0.0, f64::max);
    let read = rows.iter().filter(|row| row.cells.iter().all(|cell| cell.status < 400)).count();
    println!(
        "{name}: {} bodies, {read} of them accepted, worst ratio {worst:.1}; the most expensive:",
        rows.len()
    );
    if let Some(row) = most {
        line(row);
    }
}

fn line(row: &Row) {
    let cells = row.cells.iter().map(|cell| {
        let (size, answer) = (cell.bytes as f64 / 1e3, cell.answer as f64 / 1e3);
        format!("{size:>6.0} KB {:>8.2} ms ({}, {answer:.0} KB)", cell.cpu.as_secs_f64() * 1e3, cell.status)
    });
    let cells: Vec<_> = cells.collect();
    println!("  {:>5.1}  {}  {}: {}", row.worst_ratio(FLOOR), cells.join("  "), row.endpoint, row.body);
}
