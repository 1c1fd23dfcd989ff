//! A socket that tells what moves on it, and that closes without taking the last answer away.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokensmith_core::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::activity::Activity;
use crate::stream::Socket;

/// What is still read of a client that is being hung up on, and how long it has to read its answer: closing on unread bytes
/// resets the connection, and takes the answer with it. Who goes on sending is not read for the rest of that time.
const LINGER_BYTES: usize = 256 << 10;
const LINGER: Duration = Duration::from_secs(1);

pub(crate) struct Metered {
    socket: Socket,
    activity: Arc<Activity>,
    clock: Arc<dyn Clock>,
    /// What may still come before the handshake; `None` after it.
    allowed: Option<usize>,
    parting: Parting,
}

enum Parting {
    No,
    Reading { seen: usize, until: Pin<Box<dyn Future<Output = ()> + Send>> },
    Done,
}

impl Metered {
    pub(crate) fn new(socket: Socket, activity: Arc<Activity>, clock: Arc<dyn Clock>) -> Self {
        Metered { socket, activity, clock, allowed: None, parting: Parting::No }
    }

    /// No more than so many bytes may come, from now on; `None`: any number.
    pub(crate) fn allow(&mut self, bytes: Option<usize>) {
        self.allowed = bytes;
    }

    fn wrote<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(Ok(_)) => self.activity.wrote(),
            Poll::Pending => self.activity.block(),
            Poll::Ready(Err(_)) => {}
        }
        polled
    }

    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.parting {
                Parting::No => {
                    let clock = self.clock.clone();
                    let until = Box::pin(async move { clock.sleep(LINGER).await });
                    self.parting = Parting::Reading { seen: 0, until };
                }
                Parting::Reading { seen, until } if *seen > LINGER_BYTES => {
                    ready!(until.as_mut().poll(context));
                    self.parting = Parting::Done;
                }
                Parting::Reading { seen, until } => {
                    let mut waste = [0; 4096];
                    let mut buffer = ReadBuf::new(&mut waste);
                    let polled = Pin::new(&mut self.socket).poll_read(context, &mut buffer);
                    let got = buffer.filled().len();
                    *seen += got;
                    let over = match polled {
                        Poll::Pending => {
                            ready!(until.as_mut().poll(context));
                            true
                        }
                        Poll::Ready(read) => read.is_err() || got == 0,
                    };
                    if over {
                        self.parting = Parting::Done;
                    }
                }
                Parting::Done => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let got = buffer.filled().len() - before;
        if got > 0 {
            self.activity.read();
        }
        if let Some(allowed) = &mut self.allowed {
            *allowed = allowed.checked_sub(got).ok_or(io::ErrorKind::InvalidData)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Parting::No = self.parting {
            ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        }
        self.linger(context).map(Ok)
    }
}
