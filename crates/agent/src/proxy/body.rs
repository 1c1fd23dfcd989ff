//! Bodies on their way through: nothing is copied, and nothing slips through behind them.

use std::pin::Pin;
use std::task::{Context, Poll};

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
            ReplyBody::Upstream(body) => Pin::new(body).poll_frame(context),
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
pub struct Passed(pub(super) RequestBody);

impl Body for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut polled = Pin::new(&mut self.0).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            headers::strip_request(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
