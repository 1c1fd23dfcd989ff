//! Token requests at a steady rate, whatever the answers take, so that a stall is seen by all that it holds up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};
use tokio::task::JoinHandle;

use crate::{TOKEN, now};

/// One answered request.
pub struct Sample {
    /// When it was to be sent.
    pub due: Instant,
    /// How long its answer took.
    pub took: Duration,
}

/// Requests under way.
pub struct Stream {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<Vec<Sample>>>>,
}

impl Stream {
    /// Begins with `rate` requests per second over so many connections.
    pub fn start(server: &Server, connections: usize, rate: f64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let every = Duration::from_secs_f64(connections as f64 / rate);
        let start = now();
        let workers = (0..connections).map(|at| {
            // Evenly spread, so that they do not queue behind each other.
            let first = start + every.mul_f64(at as f64 / connections as f64);
            Ok(tokio::spawn(worker(server.client()?, first, every, stop.clone())))
        });
        Ok(Stream { workers: workers.collect::<Result<_>>()?, stop })
    }

    /// Ends it; gives all answers in the order in which they were due.
    pub async fn stop(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for worker in self.workers {
            all.extend(worker.await??);
        }
        all.sort_by_key(|s| s.due);
        Ok(all)
    }
}

/// One connection. Every answer must be a 201.
async fn worker(
    client: Client,
    first: Instant,
    every: Duration,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Sample>> {
    let headers = [("content-type", "application/json")];
    let (mut samples, mut due) = (Vec::new(), first);
    while !stop.load(Ordering::Relaxed) {
        // Who had to wait for the answer before counts from when they should have asked. The client's own timer, which
        // knows milliseconds, is no part of the server's time.
        let mut from = due;
        let early = due.saturating_duration_since(now());
        if !early.is_zero() {
            pause(early).await;
            from = now();
        }
        let body = Some(Bytes::from_static(b"{}"));
        let answer = client.send("POST", TOKEN, Some(ADMIN), &headers, body).await?;
        ensure!(answer.status == 201, "{}: {:?}", answer.status, answer.body);
        samples.push(Sample { due, took: from.elapsed() });
        due += every;
    }
    Ok(samples)
}

/// What 99 of 100 of the requests that were due in that time have not exceeded.
pub fn p99(samples: &[Sample], from: Instant, to: Instant) -> Option<Duration> {
    let within = &samples[samples.partition_point(|s| s.due < from)..samples.partition_point(|s| s.due < to)];
    let mut took: Vec<_> = within.iter().map(|s| s.took).collect();
    took.sort();
    took.get((took.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}
