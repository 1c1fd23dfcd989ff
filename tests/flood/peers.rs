//! The flood: peers that come back as often as they are hung up on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokensmith_tests::Server;
use tokensmith_tests::server::{JANE, pause};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::good::{address, secure, tls};

/// What a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Says nothing.
    Silent,
    /// A TLS hello, one byte now and then.
    SlowHello,
    /// Headers, so.
    SlowHead,
    /// A body, so; with credentials.
    SlowBody,
    /// HTTP/2 requests that are taken back at once.
    Resets,
}

/// Between two bytes of the slow, between two bursts of resets, and before somebody comes back.
const NOW_AND_THEN: Duration = Duration::from_millis(1000);

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame: length, type, flags, stream.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A flood that goes on until it is dropped.
pub struct Flood {
    counts: Arc<Counts>,
    peers: JoinSet<()>,
    wanted: usize,
}

#[derive(Default)]
struct Counts {
    /// Peers that have got as far as they wanted at least once.
    begun: AtomicUsize,
    /// Connections made in all.
    connected: AtomicUsize,
}

impl Flood {
    pub fn start(server: &Server, kinds: &[(Kind, usize)]) -> Result<Self> {
        let to = address(server)?;
        let counts = Arc::new(Counts::default());
        let connectors = [tls(&[]), tls(&[b"h2"])];
        let mut peers = JoinSet::new();
        for (kind, count) in kinds {
            for _ in 0..*count {
                let connector = connectors[usize::from(*kind == Kind::Resets)].clone();
                let mut peer = Peer { kind: *kind, to, tls: connector, counts: counts.clone(), begun: false };
                peers.spawn(async move {
                    loop {
                        let _ = peer.once().await;
                        pause(NOW_AND_THEN).await;
                    }
                });
            }
        }
        let wanted = kinds.iter().map(|(_, count)| count).sum();
        Ok(Flood { counts, peers, wanted })
    }

    /// Waits until nearly each has got as far as it wanted: some are displaced before.
    pub async fn all_there(&self) -> Result<()> {
        for _ in 0..1200 {
            let begun = self.counts.begun.load(Ordering::Relaxed);
            if begun >= self.wanted * 9 / 10 {
                return Ok(());
            }
            pause(Duration::from_millis(50)).await;
        }
        let begun = self.counts.begun.load(Ordering::Relaxed);
        // The flood is bounded in time: who is not there by now has been kept out, which is no fault.
        ensure!(begun > self.wanted / 4, "only {begun} of {} have come", self.wanted);
        Ok(())
    }

    pub fn connected(&self) -> usize {
        self.counts.connected.load(Ordering::Relaxed)
    }

    pub async fn end(mut self) {
        self.peers.shutdown().await;
    }
}

struct Peer {
    kind: Kind,
    to: SocketAddr,
    tls: TlsConnector,
    counts: Arc<Counts>,
    begun: bool,
}

impl Peer {
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.counts.begun.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn once(&mut self) -> Result<()> {
        let mut stream = TcpStream::connect(self.to).await?;
        self.counts.connected.fetch_add(1, Ordering::Relaxed);
        match self.kind {
            Kind::Silent => {
                self.begin();
                until_closed(&mut stream).await
            }
            // A record header that announces 512 bytes of a hello which never is whole.
            Kind::SlowHello => {
                let start = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
                self.drip(&mut stream, &start).await
            }
            Kind::SlowHead => {
                let mut stream = secure(&self.tls, stream).await?;
                self.drip(&mut stream, b"GET /readyz HTTP/1.1\r\nHost: x\r\nX-Slow: ").await
            }
            Kind::SlowBody => {
                let mut stream = secure(&self.tls, stream).await?;
                let head = format!(
                    "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {JANE}\r\n\
                     Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n{{"
                );
                self.drip(&mut stream, head.as_bytes()).await
            }
            Kind::Resets => {
                let mut stream = secure(&self.tls, stream).await?;
                stream.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).await?;
                self.begin();
                let mut next = 1;
                loop {
                    // `:method: GET`, `:scheme: https`, `:path: /`, `:authority: x`; then CANCEL.
                    let mut burst = Vec::new();
                    for _ in 0..100 {
                        burst.extend(frame(1, 5, next, &[0x82, 0x87, 0x84, 0x41, 1, b'x']));
                        burst.extend(frame(3, 0, next, &[0, 0, 0, 8]));
                        next += 2;
                    }
                    stream.write_all(&burst).await?;
                    tokio::select! {
                        ended = until_closed(&mut stream) => return ended,
                        () = pause(NOW_AND_THEN) => {}
                    }
                }
            }
        }
    }

    /// All of a start at once, then bytes one by one.
    async fn drip<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S, start: &[u8]) -> Result<()> {
        stream.write_all(start).await?;
        stream.flush().await?;
        self.begin();
        loop {
            tokio::select! {
                ended = until_closed(stream) => return ended,
                () = pause(NOW_AND_THEN) => {}
            }
            stream.write_all(b"a").await?;
            stream.flush().await?;
        }
    }
}

async fn until_closed<S: AsyncRead + Unpin>(stream: &mut S) -> Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}
