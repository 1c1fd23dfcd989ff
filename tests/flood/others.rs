//! The same for the sidecar, its metrics, and the signer's socket, with smaller numbers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokensmith_tests::{Agent, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;

use crate::good::{LONG, now};
use crate::peers::{PREFACE, frame};

pub async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

/// Asks for metrics on a new connection.
pub async fn scrape(port: u16) -> Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    ask(stream, "/metrics").await
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        Ok(answer)
    };
    timeout(LONG, asked).await.context("never answered")?
}

/// A connection of HTTP/2 whose ping is answered.
async fn pinged(path: &Path) -> Result<()> {
    let pinged = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(&[PREFACE, &frame(4, 0, 0, &[]), &frame(6, 0, 0, b"12345678")].concat()).await?;
        let mut answer = Vec::new();
        while !answer.windows(8).any(|found| found == b"12345678") {
            ensure!(stream.read_buf(&mut answer).await? > 0, "hung up on");
        }
        Ok(())
    };
    timeout(LONG, pinged).await.context("never answered")?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silent_keep_nobody_from_sidecar_metrics_and_signer() -> Result<()> {
    let server = Server::start(&["--external-signer-socket=signer.sock"]).await?;
    let port = free_port().await?;
    let metrics = format!("--metrics-address=127.0.0.1:{port}");
    let args = ["proxy", "--service-account=default/default", "--listen=127.0.0.1:0", &metrics];
    let agent = Agent::start(&server, &args).await?;
    let signer = server.home().join("signer.sock");
    let mut silent: Vec<Box<dyn Send>> = Vec::new();
    for n in 0..400 {
        let mut stream = TcpStream::connect(agent.address()).await?;
        if n % 2 == 0 {
            stream.write_all(b"GET /token HTTP/1.1\r\nX: ").await?;
        }
        silent.push(Box::new(stream));
        silent.push(Box::new(TcpStream::connect(("127.0.0.1", port)).await?));
        if n < 200 {
            silent.push(Box::new(UnixStream::connect(&signer).await?));
        }
    }
    let start = now();
    for _ in 0..3 {
        ask(TcpStream::connect(agent.address()).await?, "/token").await.context("sidecar")?;
        let text = scrape(port).await.context("metrics")?;
        ensure!(text.contains("tokensmith_proxy_connections "), "{text}");
        pinged(&signer).await.context("signer")?;
    }
    let took = start.elapsed() / 9;
    println!("beside 400 silent ones each: sidecar, metrics and signer answer in {} ms", took.as_millis());
    ensure!(took < Duration::from_secs(5), "{took:?}");
    drop(silent);
    ensure!(agent.stop().await?.success());
    Ok(())
}
