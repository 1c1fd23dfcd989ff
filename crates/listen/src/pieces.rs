//! A connection of tests whose bytes come in pieces.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Gives what it has in pieces.
pub(crate) struct Pieces<'a>(VecDeque<&'a [u8]>);

impl<'a> FromIterator<&'a [u8]> for Pieces<'a> {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(pieces: I) -> Self {
        Pieces(pieces.into_iter().collect())
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(first) = self.0.front_mut() else { return Poll::Ready(Ok(())) };
        let (now, later) = first.split_at(first.len().min(buffer.remaining()));
        buffer.put_slice(now);
        if later.is_empty() {
            self.0.pop_front();
        } else {
            *first = later;
        }
        Poll::Ready(Ok(()))
    }
}
