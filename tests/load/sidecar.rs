//! The sidecar in reverse mode: how many requests it verifies and passes on, and whether a rotation refuses any.
//!
//! The clients and the upstream are bare loops over sockets, so that what is measured is the sidecar; all of them share
//! the machine's cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Agent, Client, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::{TOKEN, now, raw};

const AUDIENCE: &str = "https://load.example";
/// As many clients there are, each with a token of its own.
const TOKENS: usize = 64;

/// Measures with tokens that have been seen and with tokens that have not, then rotates the key under load.
pub async fn run(seconds: u64, connections: usize) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    println!(
        "{cores} cores, {connections} connections, {seconds} s each; clients, sidecar and upstream share the cores"
    );
    // A spare is published for the shortest time that is allowed, so that it may sign within the load's time.
    let server = Server::start(&[
        "--anonymous-oidc",
        "--key-set-max-age=4s",
        "--key-replica-lag=1s",
        "--key-publish-before=6s",
    ])
    .await?;
    let upstream = upstream().await?;
    let kubeconfig = tokensmith_tests::agent::kubeconfig(&server);
    let args = [
        "proxy",
        "--verify",
        &format!("--kubeconfig={}", kubeconfig.display()),
        &format!("--issuer={}", server.url()),
        &format!("--audience={AUDIENCE}"),
        &format!("--upstream=http://{upstream}"),
        "--listen=127.0.0.1:0",
    ];
    let sidecar = Agent::start(&server, &args).await?;
    let client = server.client()?;
    let time = Duration::from_secs(seconds);

    let raw = raw::rs256_verify()?;
    println!("{:<34}{raw:>12.0}", "raw RS256 verifications/s/core");
    let direct = rate(&upstream, &tokens(&client, 1).await?, connections, time).await?;
    println!("{:<34}{direct:>12.0}", "clients and upstream alone/s");
    let before = sidecar.cpu()?;
    let start = now();
    let warm = rate(sidecar.address(), &tokens(&client, TOKENS).await?, connections, time).await?;
    let used = (sidecar.cpu()? - before).as_secs_f64() / start.elapsed().as_secs_f64();
    println!(
        "{:<34}{warm:>12.0}   {:.2} of the raw rate; the sidecar used {used:.2} cores",
        "verified requests/s",
        warm / raw
    );

    let rotated = rotation(&server, sidecar.address(), connections).await?;
    println!("{rotated}");
    Ok(())
}

/// Load goes on while the key rotates, and uses tokens of the new key as soon as there are any.
async fn rotation(server: &Server, sidecar: &str, connections: usize) -> Result<String> {
    const ROTATIONS: u32 = 3;
    let client = server.client()?;
    let (publish, published) = watch::channel(Arc::new(requests(&tokens(&client, TOKENS).await?)));
    let load = Load::start(sidecar, published, connections).await?;
    for round in 0..ROTATIONS {
        // The spare may not sign before every verifier can know it: the server says when.
        let mut tries = 0;
        while client.post("/admin/v1/keys/rotate", Some(ADMIN), &json!({})).await.is_err() {
            tries += 1;
            ensure!(tries < 300, "rotation {round} did not become possible");
            pause(Duration::from_millis(100)).await;
        }
        publish.send_replace(Arc::new(requests(&tokens(&client, TOKENS).await?)));
        pause(Duration::from_secs(2)).await;
    }
    let (done, refused) = load.stop().await?;
    ensure!(refused == 0, "{refused} of {done} requests were refused around {ROTATIONS} rotations");
    Ok(format!("{ROTATIONS} rotations under load: {done} requests, none refused"))
}

async fn tokens(client: &Client, count: usize) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    for _ in 0..count {
        let reply = client.post(TOKEN, Some(ADMIN), &json!({"spec": {"audiences": [AUDIENCE]}})).await?;
        tokens.push(reply["status"]["token"].as_str().context("no token")?.to_owned());
    }
    Ok(tokens)
}

/// As they go over the wire.
fn requests(tokens: &[String]) -> Vec<Vec<u8>> {
    let request = |t: &String| {
        format!("GET /data HTTP/1.1\r\nHost: sidecar\r\nAuthorization: Bearer {t}\r\n\r\n").into_bytes()
    };
    tokens.iter().map(request).collect()
}

async fn rate(address: &str, tokens: &[String], connections: usize, time: Duration) -> Result<f64> {
    let (_publish, published) = watch::channel(Arc::new(requests(tokens)));
    let load = Load::start(address, published, connections).await?;
    pause(Duration::from_millis(500)).await;
    let (from, start) = (load.done.load(Ordering::Relaxed), now());
    pause(time).await;
    let rate = (load.done.load(Ordering::Relaxed) - from) as f64 / start.elapsed().as_secs_f64();
    let (done, refused) = load.stop().await?;
    ensure!(refused == 0, "{refused} of {done} requests were refused");
    Ok(rate)
}

/// Clients that ask as fast as they are answered.
struct Load {
    done: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    workers: Vec<tokio::task::JoinHandle<Result<()>>>,
}

impl Load {
    async fn start(
        address: &str,
        requests: watch::Receiver<Arc<Vec<Vec<u8>>>>,
        connections: usize,
    ) -> Result<Load> {
        let (done, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = Vec::new();
        for at in 0..connections {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (done, refused, stop) = (done.clone(), refused.clone(), stop.clone());
            let requests = requests.clone();
            workers.push(tokio::spawn(async move {
                let (mut buffer, mut turn) = (vec![0; 16 << 10], at);
                while !stop.load(Ordering::Relaxed) {
                    let all = requests.borrow().clone();
                    stream.write_all(&all[turn % all.len()]).await?;
                    turn += 1;
                    if !answer(&mut stream, &mut buffer).await? {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        Ok(Load { done, refused, stop, workers })
    }

    /// How many requests were answered, and how many of them with no success.
    async fn stop(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await??;
        }
        Ok((self.done.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed)))
    }
}

/// Reads one answer with a `Content-Length`; whether it is a 200.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<bool> {
    let mut filled = 0;
    loop {
        let got = stream.read(&mut buffer[filled..]).await?;
        ensure!(got > 0, "the connection was closed");
        filled += got;
        let Some(head) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head])?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if filled >= head + 4 + length.context("an answer without Content-Length")? {
            return Ok(text.starts_with("HTTP/1.1 200"));
        }
    }
}

/// Says `ok` to whatever comes; gives its address.
async fn upstream() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let (mut buffer, mut filled) = (vec![0; 32 << 10], 0);
                loop {
                    let Ok(got @ 1..) = stream.read(&mut buffer[filled..]).await else { return };
                    filled += got;
                    // One request at a time, without a body.
                    if buffer[..filled].ends_with(b"\r\n\r\n") {
                        filled = 0;
                        let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        if stream.write_all(reply).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}
