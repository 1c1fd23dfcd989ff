//! A stop beside clients that say and read nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokensmith_tests::Server;
use tokensmith_tests::server::{ADMIN, JANE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::good::{address, now, secure, tls};
use crate::peers::{PREFACE, frame};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_nobody_who_is_silent() -> Result<()> {
    let server = Server::start(&["--signing-algorithm=ES256"]).await?;
    let to = address(&server)?;
    let silent = TcpStream::connect(to).await?;
    let mut hello = TcpStream::connect(to).await?;
    hello.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await?;
    let no_request = secure(&tls(&[]), TcpStream::connect(to).await?).await?;
    let mut half_head = secure(&tls(&[]), TcpStream::connect(to).await?).await?;
    half_head.write_all(b"GET /readyz HTTP/1.1\r\nHost").await?;
    let mut half_body = secure(&tls(&[]), TcpStream::connect(to).await?).await?;
    let head = format!(
        "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {JANE}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    half_body.write_all(head.as_bytes()).await?;
    let mut idle = secure(&tls(&[]), TcpStream::connect(to).await?).await?;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut byte = [0];
    idle.read_exact(&mut byte).await?;
    let mut http2 = secure(&tls(&[b"h2"]), TcpStream::connect(to).await?).await?;
    http2.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await?;
    http2.write_all(&frame(1, 5, 1, &[0x82, 0x87, 0x84, 0x41, 1, b'x'])).await?;
    http2.read_exact(&mut byte).await?;
    // A watch ends with the server, whole, and says that the connection does.
    let mut watch = secure(&tls(&[]), TcpStream::connect(to).await?).await?;
    let ask = format!(
        "GET /api/v1/namespaces?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\r\n"
    );
    watch.write_all(ask.as_bytes()).await?;
    watch.read_exact(&mut byte).await?;
    let start = now();
    let watched = tokio::spawn(async move {
        let mut rest = Vec::new();
        let _ = watch.read_to_end(&mut rest).await;
        rest
    });
    server.stop().await?;
    let took = start.elapsed();
    println!("a stop beside silent ones of every kind: {} ms", took.as_millis());
    ensure!(took < Duration::from_secs(6), "{took:?}");
    let rest = watched.await?;
    ensure!(rest.ends_with(b"0\r\n\r\n"), "the watch broke off");
    drop((silent, hello, no_request, half_head, half_body, idle, http2));
    Ok(())
}
