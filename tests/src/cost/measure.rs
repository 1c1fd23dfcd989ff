//! What a server's process has computed, and how long others wait.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Body;
use super::endpoints::{Depth, Endpoint};
use crate::server::{ADMIN, pause};
use crate::{Client, Server};

/// How often what seems to cost too much is asked once more.
const AGAIN: usize = 4;

/// One body in its sizes.
#[derive(Clone, Debug)]
pub struct Row {
    /// Of the endpoint.
    pub endpoint: String,
    /// Of the body.
    pub body: String,
    /// For each size.
    pub cells: Vec<Cell>,
}

/// One size.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Bytes that were sent.
    pub bytes: usize,
    /// The least that the process computed for it.
    pub cpu: Duration,
    /// The answer.
    pub status: u16,
    /// Bytes of the answer.
    pub answer: usize,
}

impl Row {
    /// How much more the larger of two neighbours costs, for each ten times the size; costs below the floor count as it.
    pub fn worst_ratio(&self, floor: Duration) -> f64 {
        let of = |pair: &[Cell]| {
            let [small, large] = pair else { return 0.0 };
            // Both alike beyond what is read at all.
            let sizes = large.bytes as f64 / small.bytes.max(1) as f64;
            let costs = large.cpu.as_secs_f64() / small.cpu.max(floor).as_secs_f64();
            costs * 10.0 / sizes.max(10.0)
        };
        self.cells.windows(2).map(of).fold(0.0, f64::max)
    }
}

/// CPU time of a process: all threads that are there, to the nanosecond (`/proc/PID/task/TID/schedstat`).
///
/// # Errors
/// It is gone.
pub fn cpu(server: &Server) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{}/task", server.pid()))? {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        nanos += text.split(' ').next().context("no time")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Sends all bodies of an endpoint in all sizes, each at least `times` times, and more often what seems to cost too much:
/// another process may have been in the way.
///
/// # Errors
/// A request is not answered, or is too long for the server: then it was not decoded.
pub async fn endpoint(
    server: &Server,
    client: &Client,
    endpoint: &Endpoint,
    sizes: &[usize],
    depth: Depth,
    (times, floor, most): (usize, Duration, f64),
) -> Result<Vec<Row>> {
    let by_size: Vec<Vec<Body>> = sizes.iter().map(|size| endpoint.bodies(*size, depth)).collect();
    let count = by_size.first().map_or(0, Vec::len);
    let mut rows = Vec::with_capacity(count);
    for at in 0..count {
        let bodies: Vec<&Body> = by_size.iter().filter_map(|all| all.get(at)).collect();
        let mut row = Row { endpoint: endpoint.name(), body: bodies[0].name.clone(), cells: Vec::new() };
        for body in &bodies {
            row.cells.push(once(server, client, endpoint, body).await?);
        }
        for attempt in 1..times + AGAIN {
            if attempt >= times && row.worst_ratio(floor) <= most {
                break;
            }
            for (cell, body) in row.cells.iter_mut().zip(&bodies) {
                let other = once(server, client, endpoint, body).await?;
                cell.cpu = cell.cpu.min(other.cpu);
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Sends one body.
///
/// # Errors
/// It is not answered, or was too long.
pub async fn once(server: &Server, client: &Client, endpoint: &Endpoint, body: &Body) -> Result<Cell> {
    there(client, endpoint).await?;
    let headers = [("content-type", body.media)];
    let who = endpoint.asks_who().then_some(ADMIN);
    let before = cpu(server)?;
    let answer = client
        .send(endpoint.method, &endpoint.path, who, &headers, Some(body.bytes.clone()))
        .await
        .with_context(|| format!("{}: {}", endpoint.name(), body.name))?;
    let cpu = cpu(server)?.saturating_sub(before);
    // More operations than a patch may have are refused with the same code, but have been read.
    let limit = String::from_utf8_lossy(&answer.body).contains("limit is");
    anyhow::ensure!(!(answer.status == 413 && limit), "{}: {}: not read", endpoint.name(), body.name);
    // Nor is what is meant for an object that is not there.
    anyhow::ensure!(
        answer.status != 404 || endpoint.changed().is_none(),
        "{}: {}: the object is not there",
        endpoint.name(),
        body.name
    );
    Ok(Cell { bytes: body.bytes.len(), cpu, status: answer.status, answer: answer.body.len() })
}

/// Creates the object that an endpoint is about where it is not there, or no longer: a body may have deleted it.
///
/// # Errors
/// It cannot be created.
pub async fn there(client: &Client, endpoint: &Endpoint) -> Result<()> {
    let Some(changed) = endpoint.changed() else { return Ok(()) };
    loop {
        let found = client.send("GET", &changed.path, Some(ADMIN), &[], None).await?;
        if found.status == 404 {
            client.post_any(&changed.collection, Some(ADMIN), &changed.object).await?.success()?;
        } else if found.success()?["metadata"].get("deletionTimestamp").is_none() {
            return Ok(());
        } else {
            // A namespace takes its time.
            pause(Duration::from_millis(5)).await;
        }
    }
}
