//! A stream whose beginning has been read already.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::frames::Frames;
use crate::target::{Said, Targets};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that gives back what was read from it to learn the protocol.
#[derive(Debug)]
pub(crate) struct Begun<S> {
    targets: Targets,
    stream: Frames<S>,
    http2: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Begun<S> {
    /// Reads until it is clear which protocol the client speaks. Waits as long as the client does: the caller sets a limit.
    /// `local`: it comes by a Unix socket, and may name that in place of a host.
    pub(crate) async fn read(mut stream: S, local: bool) -> io::Result<Self> {
        let mut start = Vec::with_capacity(PREFACE.len());
        while start.len() < PREFACE.len() && PREFACE.starts_with(&start) {
            let mut rest = (&mut stream).take((PREFACE.len() - start.len()) as u64);
            if rest.read_buf(&mut start).await? == 0 {
                break;
            }
        }
        let http2 = start == PREFACE;
        Ok(Begun {
            targets: Targets::new(&start, !http2),
            stream: Frames::new(stream, http2 && local),
            http2,
        })
    }

    /// Whether it is HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2
    }

    /// Whether the client has left without a word.
    pub(crate) fn is_silent(&self) -> bool {
        self.targets.is_empty()
    }

    /// Who is to hear of each request of HTTP/1 when it has been read.
    pub(crate) fn said(&self) -> Arc<Said> {
        self.targets.said()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Begun { targets, stream, .. } = &mut *self;
        targets.poll_read(Pin::new(stream), context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
