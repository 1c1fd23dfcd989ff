//! A listener with a small service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use time::macros::datetime;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::supervise::{Supervisor, Task};
use tokensmith_listen::{
    Accept, Bounds, Connection, Lifetime, Listening, RequestBody, Serve, Stats, Strange, TcpAccept, Weight,
    serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything is waited for.
pub const LONG: Duration = Duration::from_secs(20);

pub struct World {
    pub address: SocketAddr,
    pub clock: Arc<ManualClock>,
    pub stats: Arc<Stats>,
    /// Lets requests for `/wait` go on.
    pub go: Arc<Semaphore>,
    pub stop: watch::Sender<bool>,
    pub task: JoinHandle<()>,
}

/// Answers by its path.
#[derive(Clone)]
pub struct Paths(Arc<Semaphore>);

impl Serve for Paths {
    type Client = Lifetime;
    type Body = Full<Bytes>;

    fn connected(&self, connection: Connection) -> Lifetime {
        connection.lifetime
    }

    async fn answer(&self, request: Request<RequestBody>, client: Arc<Lifetime>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let mut answer = Response::new(Full::from("ok"));
        match path.as_str() {
            "/wait" => self.0.acquire().await.unwrap().forget(),
            "/known" => {
                let mut request = request;
                request.extensions_mut().remove::<Strange>();
                self.0.acquire().await.unwrap().forget();
            }
            "/refuse" => *answer.status_mut() = StatusCode::FORBIDDEN,
            "/read" => {
                let read = request.into_body().collect().await.unwrap().to_bytes().len();
                *answer.body_mut() = Full::from(read.to_string());
            }
            "/target" => *answer.body_mut() = Full::from(request.uri().to_string()),
            "/close" => drop(answer.headers_mut().insert("connection", "close".parse().unwrap())),
            "/tunnel" => {
                let upgrade = hyper::upgrade::on(request);
                let echo = async {
                    let (mut from, mut to) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
                    tokio::io::copy(&mut from, &mut to).await
                };
                tokio::spawn(Lifetime::clone(&client).limit(echo));
                *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                *answer.body_mut() = Full::default();
                for (name, value) in [("connection", "upgrade"), ("upgrade", "echo")] {
                    answer.headers_mut().insert(name, value.parse().unwrap());
                }
            }
            "/big" => {
                let body = vec![b'x'; BIG];
                *answer.body_mut() = Full::from(body);
                answer.extensions_mut().insert(Weight(BIG as u64));
            }
            _ => {}
        }
        answer
    }
}

/// More than the system keeps for a client that does not read.
pub const BIG: usize = 32 << 20;

pub async fn start(bounds: Bounds) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    start_on(TcpAccept(listener), address, bounds)
}

pub fn start_on(acceptor: impl Accept, address: SocketAddr, bounds: Bounds) -> World {
    let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00 UTC)));
    let (stats, go) = (Arc::new(Stats::default()), Arc::new(Semaphore::new(0)));
    let (stop, stopped) = watch::channel(false);
    let how = Listening {
        bounds,
        tls: None,
        clock: clock.clone(),
        stats: stats.clone(),
        supervisor: Supervisor::new(clock.clone()),
        task: Task::Listener,
    };
    let task = tokio::spawn(serve(acceptor, Paths(go.clone()), how, stopped));
    World { address, clock, stats, go, stop, task }
}

impl World {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A new connection with these bytes.
    pub async fn say(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// A whole exchange on a connection of its own.
    pub async fn ask(&self, path: &str) -> String {
        let mut stream = self.say(get(path).as_bytes()).await;
        answer(&mut stream).await
    }

    /// Moves the clock until something comes true.
    pub async fn advance_until(&self, step: Duration, mut condition: impl AsyncFnMut() -> bool) {
        let waited = async {
            while !condition().await {
                self.clock.advance(step);
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, waited).await.expect("never");
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// One answer, by its `content-length`; what has come when the other side closes before.
pub async fn answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let read = async {
        while !whole(&all) {
            if stream.read_buf(&mut all).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    timeout(LONG, read).await.expect("never answered");
    String::from_utf8_lossy(&all).into_owned()
}

fn whole(all: &[u8]) -> bool {
    let Some(end) = all.windows(4).position(|w| w == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| all.len() - end - 4 >= length.parse::<usize>().unwrap())
}

/// Whether the other side has closed; whatever comes before is read.
pub fn is_closed(stream: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.try_read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Waits for the other side to close.
pub async fn closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(LONG, stream.read_to_end(&mut rest)).await.is_ok()
}

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame: length, type, flags, stream.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a GET.
pub fn block(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, path.len() as u8];
    block.extend(path.as_bytes());
    block.extend([0x41, 1, b'x']);
    block
}
