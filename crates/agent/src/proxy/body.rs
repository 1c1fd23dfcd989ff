//! Bodies on their way through: nothing is copied, and nothing slips through behind them.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use tokensmith_listen::RequestBody;

use super::headers;

/// The body of an answer.
#[derive(Debug)]
pub enum ReplyBody {
    /// Ours.
    Full(Full<Bytes>),
    /// The upstream's, as it comes. If it breaks off, so does the client's connection: half an answer must not look
    /// like a whole one.
    Upstream(Incoming),
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            ReplyBody::Full(body) => {
                Pin::new(body).poll_frame(context).map_err(|never: std::convert::Infallible| match never {})
            }
            ReplyBody::Upstream(body) => {
                let mut polled = Pin::new(body).poll_frame(context);
                if let Poll::Ready(Some(Ok(frame))) = &mut polled
                    && let Some(trailers) = frame.trailers_mut()
                {
                    // HTTP/2 has none of them, and a client of it takes the whole answer for broken.
                    headers::strip_response(trailers);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ReplyBody::Full(body) => body.is_end_stream(),
            ReplyBody::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Full(body) => body.size_hint(),
            ReplyBody::Upstream(body) => body.size_hint(),
        }
    }
}

/// The body of a request that goes on. Trailers lose what headers lose: some servers make one of both.
#[derive(Debug)]
pub struct Passed {
    body: RequestBody,
    moved: Moved,
}

impl Passed {
    pub(super) fn new(body: RequestBody) -> Self {
        Passed { body, moved: Moved::default() }
    }

    /// When it moves.
    pub(super) fn moved(&self) -> Moved {
        self.moved.clone()
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.moved.0.fetch_add(1, Ordering::Relaxed);
        }
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            headers::strip_request(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How often a body has moved on.
#[derive(Clone, Debug, Default)]
pub(super) struct Moved(Arc<AtomicU64>);

impl Moved {
    /// What comes before nothing has moved for so long; `None` then. Looked at that often, so that it may be up to twice
    /// as long.
    pub(super) async fn in_time<T>(&self, limit: Duration, coming: impl Future<Output = T>) -> Option<T> {
        let mut coming = pin!(coming);
        loop {
            let before = self.0.load(Ordering::Relaxed);
            match tokio::time::timeout(limit, coming.as_mut()).await {
                Ok(come) => return Some(come),
                Err(_) if self.0.load(Ordering::Relaxed) == before => return None,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn what_moves_may_take_as_long_as_it_takes() {
        let moved = Moved::default();
        let upload = async {
            // A day, with something every four minutes.
            for _ in 0..360 {
                tokio::time::advance(Duration::from_secs(240)).await;
                moved.0.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            "answered"
        };
        assert_eq!(moved.in_time(LIMIT, upload).await, Some("answered"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_does_not() {
        let (moved, start) = (Moved::default(), tokio::time::Instant::now());
        let never = std::future::pending::<()>;
        assert_eq!(moved.in_time(LIMIT, never()).await, None);
        assert_eq!(start.elapsed().as_secs(), 300);
        let first = async {
            moved.0.fetch_add(1, Ordering::Relaxed);
            never().await;
        };
        assert_eq!(moved.in_time(LIMIT, first).await, None);
        assert!(start.elapsed() <= 3 * LIMIT + Duration::from_secs(1));
    }
}
