//! A process that has few file descriptors, and all of them taken.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokensmith_tests::server::pause;
use tokensmith_tests::{Agent, Server};
use tokio::net::TcpStream;

use crate::good::{Good, address};
use crate::others::{free_port, scrape};

/// CPU time that a process takes within a second.
async fn busy(cpu: impl Fn() -> Result<Duration>) -> Result<Duration> {
    let before = cpu()?;
    pause(Duration::from_secs(1)).await;
    Ok(cpu()?.saturating_sub(before))
}

/// A loop that spins takes all of a second.
const SPINS: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_descriptors_does_not_spin_and_recovers() -> Result<()> {
    for limit in [40, 64, 128] {
        let server =
            Server::start_with_descriptors(limit, &["--signing-algorithm=ES256", "--ephemeral"]).await?;
        let mut silent = Vec::new();
        for _ in 0..300 {
            silent.push(TcpStream::connect(address(&server)?).await?);
        }
        let busy = busy(|| server.cpu()).await?;
        ensure!(busy < SPINS, "{limit} descriptors: {busy:?} of a second");
        println!("server with {limit} descriptors, 300 silent: {} ms of a second", busy.as_millis());
        // It is served beside them, and without them.
        let client = Good::new(&server, "127.0.0.1")?;
        client.exchanges(3).await.context("beside the silent")?;
        drop(silent);
        client.exchanges(3).await.context("afterwards")?;
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_metrics_listener_without_descriptors_does_not_spin_and_recovers() -> Result<()> {
    let server = Server::start(&["--anonymous-oidc"]).await?;
    let port = free_port().await?;
    let metrics = format!("--metrics-address=127.0.0.1:{port}");
    let args = ["proxy", "--service-account=default/default", "--listen=127.0.0.1:0", &metrics];
    let agent = Agent::start_with_descriptors(&server, 40, &args).await?;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await?);
    }
    let busy = busy(|| agent.cpu()).await?;
    println!("sidecar with 40 descriptors, 200 silent at its metrics: {} ms of a second", busy.as_millis());
    ensure!(busy < SPINS, "{busy:?} of a second");
    scrape(port).await.context("beside the silent")?;
    drop(silent);
    scrape(port).await.context("afterwards")?;
    Ok(())
}
