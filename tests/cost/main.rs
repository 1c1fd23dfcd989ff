//! A request's cost grows with its size and no faster. The whole, in three sizes: `cargo run --release -p tokensmith-tests
//! --bin cost`; here each endpoint, and a part of the lists, in two.

mod loops;

use std::time::Duration;

use anyhow::{Result, ensure};
use tokensmith_tests::Server;
use tokensmith_tests::cost::endpoints::{self, Depth};
use tokensmith_tests::cost::{POLICY, measure, waits};
use tokensmith_tests::server::pause;

/// Ten times the size costs less than so many times as much.
const MOST: f64 = 15.0;
/// What costs less counts as this: a tick of the kernel, a background task.
const FLOOR: Duration = Duration::from_millis(20);

async fn server() -> Result<Server> {
    let args =
        ["--ephemeral", "--test-clock", "--runtime-config=api/all=true", "--signing-algorithm=ES256", POLICY];
    Server::start(&args).await
}

/// The list of endpoints is made of the tables that the router is made of; what is in neither cannot be served.
#[test]
fn every_endpoint_that_takes_a_body_is_measured() {
    let all = endpoints::all();
    for endpoint in &all {
        let (small, large) = (endpoint.bodies(500, Depth::Part), endpoint.bodies(50_000, Depth::Part));
        assert!(!small.is_empty() && small.len() == large.len(), "{}", endpoint.name());
        for (small, large) in small.iter().zip(&large) {
            assert_eq!((&small.name, small.media), (&large.name, large.media));
        }
    }
    let openapi = include_str!("../../openapi/tokensmith.yaml");
    let mut path = "";
    for line in openapi.lines() {
        match line.strip_prefix("  ").filter(|line| line.starts_with('/')) {
            Some(found) => path = found.trim_end_matches(':').trim_matches('"'),
            None if ["    post:", "    put:", "    patch:", "    delete:"].contains(&line.trim_end()) => {
                let method = line.trim().trim_end_matches(':').to_uppercase();
                let name = format!("{method} {path}");
                assert!(all.iter().any(|endpoint| endpoint.name() == name), "{name}");
            }
            None => {}
        }
    }
}

#[tokio::test]
async fn ten_times_the_body_costs_less_than_fifteen_times_as_much() -> Result<()> {
    let server = server().await?;
    let client = server.client_http2()?;
    let (mut count, mut bad) = (0, Vec::new());
    for endpoint in endpoints::all() {
        let rows =
            measure::endpoint(&server, &client, &endpoint, &[10_000, 100_000], Depth::Part, (1, FLOOR, MOST))
                .await?;
        count += rows.len();
        bad.extend(rows.into_iter().filter(|row| row.worst_ratio(FLOOR) > MOST));
    }
    println!("{count} bodies in two sizes");
    ensure!(count > 1_000, "{count}");
    ensure!(bad.is_empty(), "{bad:#?}");
    Ok(())
}

/// Four large requests at a time, and two who ask for little: they wait no longer than a busy machine makes them.
#[tokio::test(flavor = "multi_thread")]
async fn large_requests_keep_nobody_waiting() -> Result<()> {
    let server = server().await?;
    let endpoint =
        endpoints::all().into_iter().find(|e| e.name() == "POST /api/v1/namespaces/default/configmaps");
    let Some(endpoint) = endpoint else { anyhow::bail!("no such endpoint") };
    let bodies = endpoint.bodies(1_000_000, Depth::Part);
    let body = bodies.iter().find(|body| body.name == "metadata.labels, bad");
    let Some(body) = body.or(bodies.last()) else { anyhow::bail!("no body") };
    let idle = waits::during(&server, async {
        pause(Duration::from_secs(1)).await;
        Ok(())
    });
    let idle = idle.await?;
    let loaded = waits::during(&server, waits::four(&server, &endpoint, body, 1)).await?;
    println!("idle {idle:?}\nfour times {}: {loaded:?}", body.name);
    // A worker that computes would hold up all that has been given to it, for a request's whole time.
    let fair = idle.median.max(Duration::from_millis(10)) * 20;
    ensure!(loaded.median < fair, "{loaded:?} beside {idle:?}");
    Ok(())
}
