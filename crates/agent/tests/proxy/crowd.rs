//! Ten thousand requests at once, on connections that are kept.

use std::sync::Arc;
use std::time::Duration;

use tokensmith_agent::proxy::Mode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use crate::upstream::Upstream;
use crate::world::*;

/// Each connection is one file at the client and one at the proxy, both in this process. Those to the upstream are one:
/// it is spoken to by HTTP/2.
const CONNECTIONS: usize = 2_000;
const ROUNDS: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_are_answered() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if limit.is_some_and(|limit| limit < 3 * CONNECTIONS as u64) {
        println!("skipped: {limit:?} open files are too few");
        return;
    }
    let (upstream, url) = Upstream::start().await;
    let to = tokensmith_agent::proxy::Upstream::new(
        url.parse().unwrap(),
        client_tls(),
        tokensmith_agent::proxy::UpstreamProtocol::Http2,
        Default::default(),
    );
    let proxy = start(config(Mode::Forward(forward_mode(to)))).await;
    let address = proxy.tcp();
    let together = Arc::new(Barrier::new(CONNECTIONS));
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let together = together.clone();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for round in 0..ROUNDS {
                    together.wait().await;
                    let request = format!("GET /{n}/{round} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let mut answer = Vec::new();
                    while !answer.ends_with(b"\r\n\r\nok") {
                        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
                    }
                    assert!(answer.starts_with(b"HTTP/1.1 200 "));
                }
            })
        })
        .collect();
    let all = futures::future::join_all(clients);
    let done = tokio::time::timeout(Duration::from_secs(120), all).await.expect("in time");
    assert!(done.into_iter().all(|client| client.is_ok()));
    assert_eq!(upstream.count(), CONNECTIONS * ROUNDS);
    assert_eq!(
        upstream.seen.lock().unwrap().iter().filter(|s| s.header("authorization").len() == 1).count(),
        CONNECTIONS * ROUNDS
    );
}
