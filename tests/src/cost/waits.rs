//! How long another client waits while large requests are answered, beside an idle server in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::endpoints::Endpoint;
use super::{Body, measure};
use crate::Server;
use crate::server::{ADMIN, JANE, pause};

/// How long answers took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// How many there were.
    pub count: usize,
    /// Half of them took no longer.
    pub median: Duration,
    /// Of a hundred, ninety-nine.
    pub p99: Duration,
    /// The longest.
    pub worst: Duration,
}

/// Asks small things again and again while `work` goes on.
///
/// # Errors
/// One of them is not answered, or the work fails.
pub async fn during(server: &Server, work: impl Future<Output = Result<()>>) -> Result<Waits> {
    let stop = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..2).map(|_| tokio::spawn(ask(server.client(), stop.clone()))).collect();
    let done = work.await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for asker in askers {
        all.extend(asker.await??);
    }
    done?;
    all.sort_unstable();
    let of_hundred =
        |part: usize| all.get((all.len() * part / 100).min(all.len().saturating_sub(1))).copied();
    Ok(Waits {
        count: all.len(),
        median: of_hundred(50).unwrap_or_default(),
        p99: of_hundred(99).unwrap_or_default(),
        worst: all.last().copied().unwrap_or_default(),
    })
}

/// Sends a body four times at once, in so many rounds.
///
/// # Errors
/// A request is not answered.
pub async fn four(server: &Server, endpoint: &Endpoint, body: &Body, rounds: usize) -> Result<()> {
    for _ in 0..rounds {
        measure::there(&server.client_http2()?, endpoint).await?;
        let mut sent = Vec::new();
        for _ in 0..4 {
            let (client, body, method, path) =
                (server.client_http2()?, body.clone(), endpoint.method, endpoint.path.clone());
            let who = endpoint.asks_who().then_some(ADMIN);
            sent.push(tokio::spawn(async move {
                let headers = [("content-type", body.media)];
                client.send(method, &path, who, &headers, Some(body.bytes)).await
            }));
        }
        for answer in sent {
            answer.await??;
        }
    }
    Ok(())
}

async fn ask(client: Result<crate::Client>, stop: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let client = client?;
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for (path, token, code) in [("/readyz", None, 200), ("/api/v1/namespaces/default", Some(JANE), 403)] {
            let from = now();
            let answer = client.send("GET", path, token, &[], None).await?;
            all.push(from.elapsed());
            ensure!(answer.status == code, "{path}: {}", answer.status);
        }
        pause(Duration::from_millis(5)).await;
    }
    Ok(all)
}

#[expect(clippy::disallowed_methods, reason = "what a client waits is the machine's time")]
fn now() -> Instant {
    Instant::now()
}
