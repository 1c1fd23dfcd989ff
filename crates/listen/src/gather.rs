//! What a connection of HTTP/2 sends in one go: all that its streams have ready, in few writes.
//!
//! A watch of a thousand clients on ten connections has a hundred small frames for each of them with every change. Each in a
//! write of its own they would be a hundred records of TLS and a hundred calls of the system. So what is written is held back
//! until the connection has nothing more to say for now; and a connection with several answers under way lets the tasks go
//! first that have been woken with it, so that what they have to send goes out together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of so much, a record of TLS, and a frame more it has enough.
const HELD: usize = 16 << 10;

/// A stream whose writes are held back until [`Gathered::send`], or until they are large.
#[derive(Debug)]
pub(crate) struct Gathered<S>(Arc<Mutex<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    stream: S,
    holds: bool,
    /// Without room of its own while it is empty: there are many connections, and few have something to say.
    held: Vec<u8>,
    /// How much of it has gone out.
    sent: usize,
}

impl<S> Clone for Gathered<S> {
    fn clone(&self) -> Self {
        Gathered(self.0.clone())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gathered<S> {
    /// Holds back nothing where `holds` is false: then each flush is one, as whoever takes the stream over expects.
    pub(crate) fn new(stream: S, holds: bool) -> Self {
        Gathered(Arc::new(Mutex::new(Inner { stream, holds, held: Vec::new(), sent: 0 })))
    }

    /// Sends what is held back, by whom ever: TLS takes bytes that its socket has no room for yet, and has them sent by a
    /// flush alone.
    pub(crate) fn send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.drain(context))?;
        Pin::new(&mut inner.stream).poll_flush(context)
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.held.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent = self.sent.saturating_add(sent);
        }
        (self.held, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        if !inner.holds {
            return Pin::new(&mut inner.stream).poll_write(context, bytes);
        }
        if inner.held.len() >= HELD {
            ready!(inner.drain(context))?;
        }
        inner.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner().stream).poll_write_vectored(context, slices)
    }

    /// Where writes are held back they are put together here, small ones before.
    fn is_write_vectored(&self) -> bool {
        let inner = self.inner();
        !inner.holds && inner.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        match inner.holds {
            // Its task sends it when it has polled the connection.
            true => Poll::Ready(Ok(())),
            false => Pin::new(&mut inner.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.drain(context))?;
        Pin::new(&mut inner.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn pair(room: usize) -> (Gathered<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(room);
        (Gathered::new(ours, true), theirs)
    }

    #[tokio::test]
    async fn what_is_written_in_one_go_is_sent_at_once() {
        let (mut ours, mut theirs) = pair(1 << 20);
        for part in ["a", "b", "c"] {
            ours.write_all(part.as_bytes()).await.unwrap();
            ours.flush().await.unwrap();
        }
        let mut buffer = [0; 10];
        let mut read = ReadBuf::new(&mut buffer);
        assert!(Pin::new(&mut theirs).poll_read(&mut context(), &mut read).is_pending());
        assert!(ours.send(&mut context()).is_ready());
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 3);
        assert_eq!(&buffer[..3], b"abc");
        assert_eq!(ours.inner().held.capacity(), 0, "it keeps no room");
    }

    #[tokio::test]
    async fn who_reads_nothing_has_no_more_than_a_little_held_for_them() {
        let (mut ours, mut theirs) = pair(10);
        let frame = vec![7; 1_000];
        let mut written = 0;
        while let Poll::Ready(wrote) = Pin::new(&mut ours).poll_write(&mut context(), &frame) {
            written += wrote.unwrap();
            assert!(written < 2 * HELD);
        }
        assert!(ours.send(&mut context()).is_pending());
        let all = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all
        });
        // What is held goes out before the end.
        ours.shutdown().await.unwrap();
        drop(ours);
        assert_eq!(all.await.unwrap(), vec![7; written]);
    }

    /// As TLS: it takes what is written, and sends it when it is flushed and its socket has room.
    struct Tls {
        taken: Vec<u8>,
        room: usize,
        sent: Vec<u8>,
    }

    impl AsyncRead for Tls {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Tls {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.taken.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let some = self.room.min(self.taken.len());
            let sent: Vec<u8> = self.taken.drain(..some).collect();
            self.sent.extend(sent);
            self.room -= some;
            if self.taken.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(context)
        }
    }

    #[test]
    fn what_the_stream_has_taken_goes_out_although_nothing_more_is_written() {
        let mut ours = Gathered::new(Tls { taken: Vec::new(), room: 2, sent: Vec::new() }, true);
        assert!(Pin::new(&mut ours).poll_write(&mut context(), b"abc").is_ready());
        assert!(ours.send(&mut context()).is_pending(), "its socket is full");
        ours.inner().stream.room = 10;
        assert!(ours.send(&mut context()).is_ready());
        assert_eq!(ours.inner().stream.sent, b"abc");
    }

    #[tokio::test]
    async fn where_nothing_is_held_a_flush_is_one() {
        let (ours, mut theirs) = duplex(100);
        let mut ours = Gathered::new(ours, false);
        ours.write_all(b"a").await.unwrap();
        ours.flush().await.unwrap();
        let mut buffer = [0; 10];
        assert_eq!(theirs.read(&mut buffer).await.unwrap(), 1);
    }
}
