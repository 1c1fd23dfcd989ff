//! HTTP/1 and HTTP/2 on a connection: requests within their bounds, and an end for who does not come to one.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls_pki_types::CertificateDer;
use tokensmith_core::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};

use crate::BoxError;
use crate::activity::{Activity, Verdict};
use crate::begun::Begun;
use crate::body::{self, RequestBody};
use crate::bounds::Bounds;
use crate::crowd::Stage;
use crate::gather::Gathered;
use crate::places::Lifetime;
use crate::reply::{self, Reply};
use crate::serve::{Connection, Serve};
use crate::sums::{Counted, Owner, Sums};
use crate::turns::{Age, Turns};
use crate::unread::{Room, Unread};

/// So many requests may be taken back before we have seen them ("rapid reset", CVE-2023-44487): a client that gives up does
/// so when it has waited, and `Activity` counts those. One more ends the connection.
const RESET_UNSEEN: usize = 20;
/// So many streams of one connection may end by our reset because of what the peer did wrong in them: each has made a
/// request and is no longer counted among those at one time ("made you reset", CVE-2025-8671). No client does it at all.
const RESET_BY_US: usize = 32;
/// So much of one answer is taken from its body before the peer has taken it; of a watch that nobody reads this is what it
/// holds, and a connection can have as many as it has streams.
const SENT_AHEAD: usize = 128 << 10;
/// So much of one body, and of all of a connection, may come before it is read, as in upstream (`secure_serving.go`): who
/// has no rights sends that much into memory.
const BODY_AHEAD: u32 = 256 << 10;
const BODIES_AHEAD: u32 = 1 << 20;

/// What the connections of a listener share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bounds: Bounds,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) headers: Arc<Sums>,
    pub(crate) unread: Arc<Unread>,
}

/// A connection before its first request.
pub(crate) struct Arrival {
    pub(crate) from: Option<IpAddr>,
    pub(crate) certificates: Option<Vec<CertificateDer<'static>>>,
    pub(crate) lifetime: Lifetime,
}

/// Serves until the client goes, or is no longer waited for.
pub(crate) async fn serve<S: Serve, I>(
    stream: I,
    arrival: Arrival,
    service: S,
    shared: Arc<Shared>,
) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (activity, mut stop) = (arrival.lifetime.activity.clone(), arrival.lifetime.stop.clone());
    let (bounds, clock) = (&shared.bounds, &*shared.clock);
    let place = activity.place();
    // What is needed for the beginning alone is in these blocks: a future has room for all that is in sight while it waits.
    let (stream, http2, said) = {
        let begun = tokio::select! {
            begun = Begun::read(stream, arrival.from.is_none()) => begun?,
            () = clock.sleep(bounds.head) => return Err(io::ErrorKind::TimedOut.into()),
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        if begun.is_silent() {
            return Ok(());
        }
        let (http2, said) = (begun.is_http2(), begun.said());
        // What takes the stream over from HTTP/1 sends for itself.
        (Gathered::new(begun, http2), http2, said)
    };
    place.set(Stage::Greeted);
    if !http2 && !bounds.http1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
    }
    let requests = Arc::new(Requests {
        client: {
            let Arrival { from, certificates, lifetime } = arrival;
            Arc::new(service.connected(Connection { from, certificates, lifetime }))
        },
        service,
        shared: shared.clone(),
        owner: Owner { connection: place.id, block: place.block },
        activity: activity.clone(),
        stop: stop.clone(),
        last: Notify::new(),
    });
    let (last, out) = (requests.clone(), stream.clone());
    let mut connection = pin!({
        let service = service_fn(move |request| {
            said.request(&request);
            let requests = requests.clone();
            // In a box: a stream of HTTP/2 has room for the making of its answer for as long as that is sent, and a watch is
            // sent for hours.
            Box::pin(async move { Ok::<_, Infallible>(requests.answer(request).await) })
        });
        builder(bounds, http2).serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned()
    });
    let mut turn = Turn::default();
    let mut stopping: Option<Duration> = None;
    loop {
        let judged = clock.monotonic();
        let verdict = match stopping {
            None => activity.verdict(bounds, http2),
            Some(since) => activity.farewell(bounds, http2, since),
        };
        let rest = match verdict {
            Verdict::Stay(rest) => rest.max(Duration::from_millis(1)),
            Verdict::Close(why) => return Err(io::Error::new(io::ErrorKind::TimedOut, why)),
            Verdict::Dismiss => {
                connection.as_mut().graceful_shutdown();
                stopping = Some(clock.monotonic());
                continue;
            }
        };
        tokio::select! {
            ended = poll_fn(|context| turn.take(connection.as_mut(), &out, &activity, context)) => return ended,
            // Answers what has been asked, takes nothing new.
            _ = stop.wait_for(|stop| *stop), if stopping.is_none() => {
                connection.as_mut().graceful_shutdown();
                stopping = Some(clock.monotonic());
            }
            () = last.last.notified(), if http2 && stopping.is_none() => {
                connection.as_mut().graceful_shutdown();
                stopping = Some(clock.monotonic());
            }
            () = activity.alarm() => {}
            () = clock.sleep_past(judged.saturating_add(rest)) => shared.unread.sweep(place.id, bounds.stall),
        }
    }
}

/// How either protocol is spoken.
fn builder(bounds: &Bounds, http2: bool) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    // How long heads may take is seen to by who polls the connection.
    builder
        .http1()
        .header_read_timeout(Option::<Duration>::None)
        .max_buf_size((bounds.header_bytes as usize).max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(bounds.header_bytes)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(RESET_BY_US)
        .max_send_buf_size(SENT_AHEAD)
        .initial_stream_window_size(BODY_AHEAD)
        .initial_connection_window_size(BODIES_AHEAD)
        .keep_alive_interval(bounds.ping)
        .keep_alive_timeout(bounds.pong);
    builder
}

/// How a connection is polled.
#[derive(Default)]
struct Turn {
    /// It has let others go first.
    yielded: bool,
    /// It has ended, with what it has said still to be sent.
    ended: Option<io::Result<()>>,
}

impl Turn {
    /// Polls a connection, and sends what it says.
    fn take<I, E: Into<BoxError>>(
        &mut self,
        connection: Pin<&mut impl Future<Output = Result<(), E>>>,
        out: &Gathered<I>,
        activity: &Activity,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.yielded && activity.is_crowded() {
            self.yielded = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.yielded = false;
        if self.ended.is_none()
            && let Poll::Ready(ended) = connection.poll(context)
        {
            self.ended = Some(ended.map_err(io::Error::other));
        }
        let sent = ready!(out.send(context));
        match self.ended.take() {
            Some(ended) => Poll::Ready(ended),
            None => match sent {
                Ok(()) => Poll::Pending,
                Err(e) => Poll::Ready(Err(e)),
            },
        }
    }
}

/// That a request's headers are counted, among those of whom nobody knows yet; in its extensions. Whoever has found out who
/// sends it takes this away: what a client that is known has under way is bounded elsewhere, and its tokens may be long. They are
/// counted all the same for as long as its body is still to come.
#[derive(Clone, Debug)]
pub struct Strange(#[expect(dead_code, reason = "it counts until it is dropped")] Arc<Counted>);

/// What answers the requests of one connection.
struct Requests<S: Serve> {
    service: S,
    client: Arc<S::Client>,
    shared: Arc<Shared>,
    owner: Owner,
    activity: Arc<Activity>,
    stop: watch::Receiver<bool>,
    /// An answer was the last one of a connection of HTTP/2.
    last: Notify,
}

type Answer<B> = Either<B, Full<Bytes>>;

impl<S: Serve> Requests<S> {
    async fn answer(&self, request: Request<Incoming>) -> Response<Reply<Answer<S::Body>>> {
        let Shared { clock, headers, unread, .. } = &*self.shared;
        let mut ticket = self.activity.begin();
        let version = request.version();
        let expects_word = version < Version::HTTP_2 && request.headers().contains_key(EXPECT);
        let (head, body) = request.into_parts();
        let weight = weight(&head.headers) + head.uri.path_and_query().map_or(0, |p| p.as_str().len()) as u64;
        let waiting = headers.take(self.owner, weight).map(|counted| Strange(Arc::new(counted)));
        let (body, back) = RequestBody::new(body, &self.activity, waiting.clone());
        let request = Request::from_parts(head, body);
        let unknown = !only_chunks(&request);
        let (mut answer, counted) = match waiting {
            _ if unknown => {
                drop(request);
                (refusal(StatusCode::NOT_IMPLEMENTED, "unsupported transfer encoding\n"), None)
            }
            None => {
                drop(request);
                let text = "too many headers wait for their answers\n";
                (refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text), None)
            }
            Some(waiting) => self.make(request, waiting).await,
        };
        // Of HTTP/2 the answer goes out at once, and the rest is read behind it.
        let rest = match version {
            Version::HTTP_2 => back.take(),
            _ => back.drain(&self.activity, &**clock, expects_word).await,
        };
        ticket.answered();
        match version {
            Version::HTTP_2 => {
                if says_close(answer.headers()) {
                    self.last.notify_one();
                }
                if let Some(rest) = rest {
                    tokio::spawn(body::linger(rest, clock.clone()));
                }
            }
            // Who is told does not send another request into a connection that closes.
            _ if rest.is_some() || *self.stop.borrow() || unknown => {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        Reply::wrap(answer, counted, unread, self.owner, ticket)
    }

    /// The answer, once there is room for one, with what it holds.
    async fn make(
        &self,
        request: Request<RequestBody>,
        strange: Strange,
    ) -> (Response<Answer<S::Body>>, Option<Counted>) {
        let Shared { clock, turns, unread, .. } = &*self.shared;
        let mut request = request;
        request.extensions_mut().insert(Room { unread: unread.clone(), owner: self.owner });
        request.extensions_mut().insert(strange);
        let (mut request, since) = (Some(request), clock.monotonic());
        let age = if self.activity.is_fresh() { Age::Fresh } else { Age::Old };
        // Nobody waits here while there is room.
        while unread.room(self.owner, since).await {
            let making = pin!(async {
                // Looked at again in the turn: what is answered from memory is counted before anybody else looks, so that no
                // more answers than cores go beyond the bound, however many requests have waited for it.
                let request = request.take_if(|_| !unread.is_full(self.owner))?;
                let mut answer = self.service.answer(request, self.client.clone()).await;
                let counted = reply::count(&mut answer, unread, self.owner);
                Some((answer.map(Either::Left), counted))
            });
            if let Some(made) = turns.begin(self.owner.block, self.owner.connection, age, making).await {
                return made;
            }
        }
        (refusal(StatusCode::TOO_MANY_REQUESTS, "earlier answers have not been read\n"), None)
    }
}

/// What headers take in memory, roughly; as HPACK counts them (RFC 7541, 4.1).
fn weight(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len() + 32) as u64).sum()
}

/// Whether a body's only coding is chunks, said once, as with Go's server (`net/http` `parseTransferEncoding`; RFC 9112, 6.1:
/// 501 for a coding that is not understood). The library looks at the last one alone, and HTTP/2 has none.
fn only_chunks<B>(request: &Request<B>) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

fn refusal<B>(status: StatusCode, text: &'static str) -> Response<Answer<B>> {
    let mut answer = Response::new(Either::Right(Full::new(Bytes::from_static(text.as_bytes()))));
    *answer.status_mut() = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}
