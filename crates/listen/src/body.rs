//! The body of a request, which comes back when its reader is no longer interested.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokensmith_core::Clock;

use crate::activity::{Activity, Reading};
use crate::http::Strange;

/// A request's body, as it comes.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` only while it is dropped.
    body: Option<Incoming>,
    activity: Arc<Activity>,
    /// While the client is waited for.
    reading: Option<Reading>,
    /// That the headers are counted, until it has come.
    headers: Option<Strange>,
    back: Arc<Back>,
}

/// Where a body goes that was not read to its end.
#[derive(Debug, Default)]
pub(crate) struct Back(Mutex<Option<Incoming>>);

/// As much of a body that nobody wants is read all the same: a client that is still sending when its answer comes may not
/// see it, and one of HTTP/2 has its stream reset.
const WANTED_BY_NOBODY: u64 = 64 << 10;
const DRAIN: Duration = Duration::from_secs(1);

impl RequestBody {
    pub(crate) fn new(
        body: Incoming,
        activity: &Arc<Activity>,
        headers: Option<Strange>,
    ) -> (Self, Arc<Back>) {
        let back = Arc::new(Back::default());
        let headers = headers.filter(|_| !body.is_end_stream());
        let (body, activity) = (Some(body), activity.clone());
        (RequestBody { body, activity, reading: None, headers, back: back.clone() }, back)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        let ended = match &polled {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(_))) => body.is_end_stream(),
            Poll::Ready(_) => true,
        };
        if ended {
            (self.reading, self.headers) = (None, None);
        } else if polled.is_pending() && self.reading.is_none() {
            // From here on it counts as slow, whatever comes in between: one byte now and then is no progress.
            self.reading = Some(Reading::new(&self.activity));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.back.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

impl Back {
    /// A body that its reader has let go before its end. One that is still being read is none of its business.
    pub(crate) fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Reads what is left of a body that its reader has let go, if that is little and comes soon; what is left then.
    pub(crate) async fn drain(
        &self,
        activity: &Arc<Activity>,
        clock: &dyn Clock,
        expects_word: bool,
    ) -> Option<Incoming> {
        let mut body = self.take()?;
        // Reading would be the word to send it.
        if expects_word || body.size_hint().lower() > WANTED_BY_NOBODY {
            return Some(body);
        }
        let _reading = Reading::new(activity);
        let read = tokio::select! {
            read = read_away(&mut body) => read,
            () = clock.sleep(DRAIN) => Read::Some,
        };
        (read != Read::Whole).then_some(body)
    }
}

/// Keeps a stream of HTTP/2 open whose answer goes out before its request has come: clients are still sending, and one that
/// sees the stream closed before it has read (Debian 12's curl, two times in three) reads no answer. So it is told nothing for
/// a second, in which a little is read away, and flow control holds it up when that has been taken.
pub(crate) async fn linger(mut body: Incoming, clock: Arc<dyn Clock>) {
    let rest = async {
        if read_away(&mut body).await == Read::Some {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = rest => {}
        () = clock.sleep(DRAIN) => {}
    }
}

/// How far a body was read away.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// To its end.
    Whole,
    /// As far as it is read at all.
    Some,
    /// Its client has given it up.
    Broken,
}

/// Reads no more of a body than nobody wants.
async fn read_away(body: &mut Incoming) -> Read {
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Read::Broken };
        seen += frame.data_ref().map_or(0, Bytes::len) as u64;
        if seen > WANTED_BY_NOBODY {
            return Read::Some;
        }
    }
    Read::Whole
}
