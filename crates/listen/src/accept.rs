//! The accept loop: never stopped by a client, never spinning, at its end in a few seconds.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokensmith_core::Clock;
use tokensmith_core::supervise::{Supervisor, Task, turn};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::activity::Activity;
use crate::block::Block;
use crate::bounds::Bounds;
use crate::http::{self, Arrival, Shared};
use crate::metered::Metered;
use crate::places::{Lifetime, Places};
use crate::serve::Serve;
use crate::stats::Stats;
use crate::stream::Socket;
use crate::sums::Sums;
use crate::tls::{self, Tls};
use crate::turns::Turns;
use crate::unread::Unread;

/// A socket that listens.
pub trait Accept: Send + Sync + 'static {
    /// The next connection; `None` for one that has no business here.
    fn accept(&self) -> impl Future<Output = io::Result<Option<Accepted>>> + Send;
}

/// A connection as it came.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: Socket,
    /// Where it comes from; `None` for a Unix socket.
    pub from: Option<IpAddr>,
}

/// Accepts from TCP.
#[derive(Debug)]
pub struct TcpAccept(pub TcpListener);

impl Accept for TcpAccept {
    async fn accept(&self) -> io::Result<Option<Accepted>> {
        let (stream, from) = self.0.accept().await?;
        Ok(Some(Accepted { socket: Socket::Tcp(stream), from: Some(from.ip().to_canonical()) }))
    }
}

/// How a listener is to serve.
#[derive(Clone, Debug)]
pub struct Listening {
    /// What clients may take.
    pub bounds: Bounds,
    /// TLS; its ALPN protocols should be `h2` and `http/1.1`.
    pub tls: Option<Tls>,
    /// Where time comes from. Clients have clocks of their own: it is the system's, never a test clock.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// Begins accepting again when it panics.
    pub supervisor: Arc<Supervisor>,
    /// As which task.
    pub task: Task,
}

/// How long accepting rests when it fails, unless a connection ends before: twice as long each time, up to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Serves until `stop` turns true; then what is under way ends, and nobody silent is waited for. When accepting panics it is
/// begun again on the same socket, where newcomers wait meanwhile; connections go on.
pub async fn serve<A: Accept, S: Serve>(
    acceptor: A,
    service: S,
    how: Listening,
    mut stop: watch::Receiver<bool>,
) {
    let Listening { bounds, tls, clock, stats, supervisor, task } = how;
    let places = Places::new(&bounds, stats.clone());
    // Two for each core: one at work, one whose turn is about to end.
    let workers = tokio::runtime::Handle::current().metrics().num_workers();
    let shared = Arc::new(Shared {
        bounds,
        clock: clock.clone(),
        turns: Turns::new(workers * 2),
        headers: Sums::new(bounds.waiting_header_bytes),
        unread: Unread::new(&bounds, clock.clone(), stats),
    });
    let (end, ended) = watch::channel(());
    // Outside of the loop: its panic ends none of them.
    let connections = Mutex::new(JoinSet::new());
    let door = Door { acceptor, service, places, shared, tls, stop: stop.clone(), ended };
    tokio::select! {
        () = supervisor.run(task, || door.open(&connections)) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
    // Who comes now is told at once that nobody listens.
    drop(door.acceptor);
    let places = door.places;
    let mut connections = connections.into_inner();
    let drained = async {
        while connections.join_next().await.is_some() {}
        // And the tunnels.
        places.left().await;
    };
    tokio::select! {
        () = drained => {}
        () = clock.sleep(bounds.drain) => {
            tracing::warn!(connections = connections.len(), "connections were cut that had not ended in time");
        }
    }
    drop(end);
}

/// What the loop needs.
struct Door<A, S> {
    acceptor: A,
    service: S,
    places: Arc<Places>,
    shared: Arc<Shared>,
    tls: Option<Tls>,
    stop: watch::Receiver<bool>,
    ended: watch::Receiver<()>,
}

impl<A: Accept, S: Serve> Door<A, S> {
    /// Accepts for as long as it is polled.
    async fn open(&self, connections: &Mutex<JoinSet<()>>) {
        let Door { acceptor, service, places, shared, tls, stop, ended } = self;
        let clock = &shared.clock;
        let mut connections = connections.lock().await;
        let mut pause = PAUSES[0];
        loop {
            turn();
            // Who finds no room waits outside, without costing anything.
            let accepting = async {
                places.ready().await;
                acceptor.accept().await
            };
            let accepted = tokio::select! {
                accepted = accepting => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Accepted { socket, from } = match accepted {
                Ok(Some(accepted)) => accepted,
                Ok(None) => {
                    tracing::warn!("a process of another user was turned away");
                    continue;
                }
                // Somebody who has gone before it was their turn.
                Err(e) if of_one_connection(&e) => continue,
                Err(e) => {
                    if pause == PAUSES[0] {
                        tracing::warn!(cause = %e, "cannot accept a connection: it is tried again");
                    }
                    // Out of descriptors, mostly: whoever waits leaves one, and others will close soon.
                    let made_room = places.displace();
                    let changed = async {
                        tokio::select! {
                            _ = connections.join_next(), if !connections.is_empty() => {}
                            () = places.change(), if !made_room => {}
                        }
                    };
                    tokio::select! {
                        () = changed => {}
                        () = clock.sleep(pause) => pause = pause.saturating_mul(2).min(PAUSES[1]),
                    }
                    continue;
                }
            };
            pause = PAUSES[0];
            // While all are at work it is held, and no other is accepted.
            let Some(place) = places.admit(Block::of(from)).await else { continue };
            tune(&socket);
            let place = Arc::new(place);
            let lifetime = Lifetime {
                activity: Activity::new(clock.clone(), place.clone()),
                farewell: shared.bounds.farewell,
                stall: shared.bounds.stall,
                stop: stop.clone(),
                end: ended.clone(),
            };
            let (service, shared, tls) = (service.clone(), shared.clone(), tls.clone());
            connections.spawn(async move {
                tokio::select! {
                    ended = connection(socket, from, lifetime, tls, service, shared) => {
                        if let Err(e) = ended {
                            tracing::debug!(cause = %e, "a connection ended");
                        }
                    }
                    () = place.wanted() => tracing::debug!("a connection that waited made room for another"),
                }
            });
        }
    }
}

async fn connection<S: Serve>(
    socket: Socket,
    from: Option<IpAddr>,
    lifetime: Lifetime,
    tls: Option<Tls>,
    service: S,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let own_address = own_address(&socket, from);
    let socket = Metered::new(socket, lifetime.activity.clone(), shared.clock.clone());
    let Some(tls) = tls else {
        let arrival = Arrival { from, certificates: None, lifetime };
        return http::serve(Box::new(socket), arrival, service, shared).await;
    };
    // A connection's task has room for all that it ever holds at one time, copies of what is moved on as well, for as long as
    // it lasts: what follows the handshake has the handshake's.
    let stream = {
        let mut stop = lifetime.stop.clone();
        let (place, clock) = (lifetime.activity.place(), &*shared.clock);
        tokio::select! {
            stream = tls::handshake(socket, &tls, own_address, place, &shared.turns, &shared.bounds, clock) => stream?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    };
    let chain = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty());
    let certificates = chain.map(<[_]>::to_vec);
    http::serve(stream, Arrival { from, certificates, lifetime }, service, shared).await
}

/// The address by which this machine reaches itself here; `None` for who comes from elsewhere.
fn own_address(socket: &Socket, from: Option<IpAddr>) -> Option<IpAddr> {
    let Socket::Tcp(stream) = socket else { return None };
    let own = stream.local_addr().ok()?.ip().to_canonical();
    from.filter(|from| from.is_loopback() || *from == own).map(|_| own)
}

/// Whether an error is about the one who came, so that the next may do better at once.
fn of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// A peer whose machine has gone is noticed after this and three more asks. Nobody is asked while something is on its way:
/// that the system sends again, and gives up after a quarter of an hour or so (`tcp_retries2`). A shorter limit
/// (`TCP_USER_TIMEOUT`) would also cut off one who is there, and only reads nothing for so long: a watch that is paused.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_ASKS: Duration = Duration::from_secs(20);

fn tune(socket: &Socket) {
    let Socket::Tcp(stream) = socket else { return };
    // Small answers do not wait for more to send.
    let _ = stream.set_nodelay(true);
    // A watch may be silent for hours: only this tells whether anybody is still there. Less is no reason to refuse.
    let _ = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, KEEPALIVE))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, KEEPALIVE_ASKS))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 3));
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use ::http::{Request, Response};
    use bytes::Bytes;
    use http_body_util::Full;
    use tokensmith_core::clock::SystemClock;

    use super::*;
    use crate::body::RequestBody;
    use crate::serve::Connection;

    #[derive(Clone)]
    struct Nothing;

    impl Serve for Nothing {
        type Client = ();
        type Body = Full<Bytes>;

        fn connected(&self, _: Connection) {}

        async fn answer(&self, _: Request<RequestBody>, _: Arc<()>) -> Response<Full<Bytes>> {
            Response::default()
        }
    }

    /// There may be thousands, each with a watch to which nothing happens.
    #[tokio::test]
    async fn a_connection_whose_handshake_is_over_has_no_room_for_it() {
        let (ours, _theirs) = tokio::net::UnixStream::pair().unwrap();
        let (bounds, clock): (_, Arc<dyn Clock>) = (Bounds::default(), Arc::new(SystemClock::new()));
        let place = Places::new(&bounds, Arc::default()).admit(Block::Local).await.unwrap();
        let (stop, end) = (watch::Sender::new(false), watch::Sender::new(()));
        let lifetime = Lifetime {
            activity: Activity::new(clock.clone(), Arc::new(place)),
            farewell: bounds.farewell,
            stall: bounds.stall,
            stop: stop.subscribe(),
            end: end.subscribe(),
        };
        let shared = Arc::new(Shared {
            bounds,
            clock: clock.clone(),
            turns: Turns::new(1),
            headers: Sums::new(bounds.waiting_header_bytes),
            unread: Unread::new(&bounds, clock, Arc::default()),
        });
        let connection = connection(Socket::Unix(ours), None, lifetime, None, Nothing, shared);
        let size = size_of_val(&connection);
        assert!(size <= 3 << 10, "{size}");
    }

    #[tokio::test]
    async fn a_silent_peer_that_has_gone_is_noticed_in_two_minutes_and_one_that_does_not_read_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let Some(Accepted { socket, .. }) = TcpAccept(listener).accept().await.unwrap() else { panic!() };
        tune(&socket);
        let Socket::Tcp(stream) = &socket else { panic!() };
        assert!(sockopt::socket_keepalive(stream).unwrap());
        let asks = sockopt::tcp_keepintvl(stream).unwrap() * sockopt::tcp_keepcnt(stream).unwrap();
        assert_eq!(sockopt::tcp_keepidle(stream).unwrap() + asks, Duration::from_secs(120));
        assert_eq!(sockopt::tcp_user_timeout(stream).unwrap(), 0, "what is unread ends nobody");
    }
}
