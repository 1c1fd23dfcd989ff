//! The body of an answer on its way out: in slices, counted for as long as it is held, and taken back when nobody reads it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Frame, SizeHint};

use crate::BoxError;
use crate::activity::Ticket;
use crate::sums::{Counted, Owner};
use crate::unread::{Entry, GiveUp, Unread};

/// How many bytes an answer holds in memory from the beginning on, whatever its body looks like from outside: it may be
/// compressed as it goes. In the extensions of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Weight(pub u64);

/// What is handed on at one time. Of a body that is there whole no more than this is in the connection's own buffers.
const SLICE: usize = 64 << 10;
/// What is worth counting.
const SMALL: u64 = 4 << 10;

/// An answer's body.
pub(crate) struct Reply<B> {
    body: Either<B>,
    /// Until the answer has gone out.
    _ticket: Ticket,
}

enum Either<B> {
    /// Too small to be counted.
    Small(B),
    Large(Large<B>),
}

struct Large<B> {
    held: Arc<Held<B>>,
    entry: Entry,
    unread: Arc<Unread>,
    owner: Owner,
    /// Its weight is known, and counted until its end; else each part is, as it comes.
    whole: bool,
    room: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

/// Counts what an answer holds, in the moment in which it is made.
pub(crate) fn count<B>(answer: &mut Response<B>, unread: &Unread, owner: Owner) -> Option<Counted> {
    let weight = answer.extensions_mut().remove::<Weight>()?.0;
    (weight > SMALL).then(|| unread.count(owner, weight))
}

/// What can be taken back.
struct Held<B>(Mutex<Parts<B>>);

struct Parts<B> {
    /// `None` once it is given up.
    body: Option<B>,
    rest: Bytes,
    counted: Option<Counted>,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> Reply<B> {
    /// Wraps an answer; `counted` is what it holds.
    pub(crate) fn wrap(
        answer: Response<B>,
        counted: Option<Counted>,
        unread: &Arc<Unread>,
        owner: Owner,
        ticket: Ticket,
    ) -> Response<Self> {
        let (parts, body) = answer.into_parts();
        let weight = counted.as_ref().map_or(0, Counted::bytes);
        let body = match body.size_hint().exact() {
            Some(size) if size.max(weight) <= SMALL => Either::Small(body),
            _ => {
                let whole = counted.is_some();
                let held =
                    Arc::new(Held(Mutex::new(Parts { body: Some(body), rest: Bytes::new(), counted })));
                let weak: Weak<dyn GiveUp> = Arc::downgrade(&held) as Weak<dyn GiveUp>;
                let entry = unread.enter(owner, weak);
                entry.moved(whole);
                Either::Large(Large { held, entry, unread: unread.clone(), owner, whole, room: None })
            }
        };
        Response::from_parts(parts, Reply { body, _ticket: ticket })
    }
}

impl<B> Held<B> {
    fn lock(&self) -> MutexGuard<'_, Parts<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> fmt::Debug for Held<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(…)")
    }
}

impl<B: Send> GiveUp for Held<B> {
    fn give_up(&self) -> bool {
        let mut parts = self.lock();
        // A stream that holds nothing just now goes on.
        if parts.counted.is_none() {
            return false;
        }
        let gone = (parts.body.take(), std::mem::take(&mut parts.rest), parts.counted.take());
        drop(parts);
        drop(gone);
        true
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Large<B> {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut asked = false;
        loop {
            if let Some(room) = &mut self.room {
                // Without room for long it goes on all the same: one part of it is small beside an answer.
                ready!(room.as_mut().poll(context));
                (self.room, asked) = (None, true);
            }
            let mut parts = self.held.lock();
            let parts = &mut *parts;
            if !self.whole && !asked && parts.rest.is_empty() && self.unread.is_full(self.owner) {
                let (unread, owner, since) = (self.unread.clone(), self.owner, self.unread.monotonic());
                self.room = Some(Box::pin(async move { unread.room(owner, since).await }));
                continue;
            }
            if !parts.rest.is_empty() {
                let slice = parts.rest.split_to(SLICE.min(parts.rest.len()));
                if parts.rest.is_empty() && !self.whole {
                    parts.counted = None;
                    self.unread.freed();
                }
                self.entry.moved(parts.counted.is_some());
                return Poll::Ready(Some(Ok(Frame::data(slice))));
            }
            let Some(body) = &mut parts.body else {
                let why = "the answer was not read in time";
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, why).into())));
            };
            let frame = match ready!(Pin::new(body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(frame) => frame.map_err(Into::into)?,
            };
            self.entry.moved(self.whole);
            match frame.into_data() {
                Ok(data) if data.len() > SLICE => {
                    if !self.whole {
                        parts.counted = Some(self.unread.count(self.owner, data.len() as u64));
                    }
                    parts.rest = data;
                    self.entry.moved(true);
                }
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> Body for Reply<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.body {
            Either::Small(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Either::Large(large) => large.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Either::Small(body) => body.is_end_stream(),
            Either::Large(large) => {
                let parts = large.held.lock();
                parts.rest.is_empty() && parts.body.as_ref().is_some_and(Body::is_end_stream)
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Either::Small(body) => body.size_hint(),
            Either::Large(large) => {
                let parts = large.held.lock();
                let left = parts.rest.len() as u64;
                match &parts.body {
                    Some(body) if left == 0 => body.size_hint(),
                    Some(body) => body
                        .size_hint()
                        .exact()
                        .map_or_else(SizeHint::new, |more| SizeHint::with_exact(left + more)),
                    None => SizeHint::new(),
                }
            }
        }
    }
}

impl<B> Drop for Large<B> {
    fn drop(&mut self) {
        // What is counted goes with the last owner; nobody else keeps one for longer than a moment.
        let counted = self.held.lock().counted.take();
        drop(counted);
        self.unread.freed();
    }
}
