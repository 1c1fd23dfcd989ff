//! Names of sockets in HTTP/2. A client of gRPC that comes by a Unix socket has no host to name, and some name the socket
//! instead: the core library (Python, C++, Ruby, PHP) sends `:authority: run%2Fsigner.sock`, grpcurl `unix:%2Frun%2Fsigner.sock`,
//! Java's `/run/signer.sock`. No authority may hold `%` or `/` (RFC 3986, 3.2.2), and the HTTP library resets the call before
//! anybody sees it. Go's server takes them. So they are put right on their way in; nobody goes by the authority of a Unix socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::hpack;

/// RFC 9113, 4.1 and 6.2.
const FRAME: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// As much as a frame may have, for the library has not said that it takes more.
const LARGEST: usize = 16 << 10;
/// Of a longer block nothing is looked at, nor of anything behind it.
const MOST: usize = 128 << 10;

/// A stream of frames, behind the preface.
#[derive(Debug)]
pub(crate) struct Frames<S> {
    stream: S,
    /// Whether anything is looked at.
    on: bool,
    /// So much of a frame is still to go by.
    rest: usize,
    /// Has been read and not been handed on: it begins with a frame.
    raw: BytesMut,
    /// So much of it are frames of a block that goes on.
    seen: usize,
    /// Has been looked at and not been handed out.
    done: BytesMut,
}

impl<S> Frames<S> {
    pub(crate) fn new(stream: S, on: bool) -> Self {
        Frames { stream, on, rest: 0, raw: BytesMut::new(), seen: 0, done: BytesMut::new() }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Looks at what has been read, as far as frames are whole.
    fn look(&mut self) {
        while !self.raw.is_empty() {
            if self.rest > 0 {
                let by = self.rest.min(self.raw.len());
                self.done.extend_from_slice(&self.raw[..by]);
                self.raw.advance(by);
                self.rest = self.rest.saturating_sub(by);
                continue;
            }
            let Some(head) = Head::of(&self.raw) else { return };
            if head.kind == HEADERS {
                match self.block() {
                    Block::Whole(length) => {
                        let mended = mended(&self.raw[..length]);
                        self.done.extend_from_slice(mended.as_deref().unwrap_or(&self.raw[..length]));
                        self.raw.advance(length);
                        self.seen = 0;
                    }
                    Block::Half if self.raw.len() <= MOST => return,
                    Block::Half | Block::Bad => return self.give_up(),
                }
            } else {
                self.done.extend_from_slice(&self.raw[..FRAME]);
                self.raw.advance(FRAME);
                self.rest = head.length;
            }
        }
        // Most connections need no room for it most of the time.
        self.raw = BytesMut::new();
    }

    /// How far the block has come that begins here: a frame of headers, and those that continue it. None is looked at twice.
    fn block(&mut self) -> Block {
        loop {
            let Some(head) = self.raw.get(self.seen..).and_then(Head::of) else { return Block::Half };
            let first = self.seen == 0;
            let continues = first || (head.kind == CONTINUATION && self.raw[5..FRAME] == head.stream);
            if head.length > LARGEST || !continues {
                return Block::Bad;
            }
            let end = self.seen.saturating_add(FRAME).saturating_add(head.length);
            if self.raw.len() < end {
                return Block::Half;
            }
            if head.flags & END_HEADERS != 0 {
                return Block::Whole(end);
            }
            self.seen = end;
        }
    }

    fn give_up(&mut self) {
        self.on = false;
        self.done.extend_from_slice(&self.raw);
        self.raw = BytesMut::new();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !self.done.is_empty() {
                let length = self.done.len().min(buffer.remaining());
                buffer.put_slice(&self.done[..length]);
                self.done.advance(length);
                if self.done.is_empty() {
                    self.done = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            if !self.on {
                return Poll::Ready(Ok(()));
            }
            let got = buffer.filled().len().saturating_sub(before);
            if got == 0 {
                // The end, perhaps within a frame.
                self.give_up();
                if self.done.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            // What belongs to a frame that goes by stays where it is.
            let by = if self.raw.is_empty() { self.rest.min(got) } else { 0 };
            self.rest = self.rest.saturating_sub(by);
            let clean = before.saturating_add(by);
            if by < got {
                self.raw.extend_from_slice(&buffer.filled()[clean..]);
                buffer.set_filled(clean);
                self.look();
            }
            if by > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
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
        self.stream().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Head {
    /// `None` while it has not come whole.
    fn of(bytes: &[u8]) -> Option<Head> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<FRAME>()?;
        Some(Head { length: u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, stream })
    }

    fn write(self, to: &mut Vec<u8>, payload: &[u8]) {
        let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
        to.extend_from_slice(&length);
        to.extend_from_slice(&[self.kind, self.flags]);
        to.extend_from_slice(&self.stream);
        to.extend_from_slice(payload);
    }
}

/// What begins with a frame of headers.
enum Block {
    /// So many bytes.
    Whole(usize),
    /// More is to come.
    Half,
    /// The library refuses it.
    Bad,
}

/// What the frames of a block are to be, if not what they are.
fn mended(mut frames: &[u8]) -> Option<Vec<u8>> {
    let first = Head::of(frames)?;
    let (mut fields, mut priority) = (Vec::new(), None);
    while let Some(head) = Head::of(frames) {
        let (payload, rest) = frames.get(FRAME..)?.split_at_checked(head.length)?;
        frames = rest;
        if priority.is_some() {
            fields.extend_from_slice(payload);
        } else {
            let parts = Parts::of(first.flags, payload)?;
            fields.extend_from_slice(parts.fields);
            priority = Some(parts.priority);
        }
    }
    let fields = hpack::mend(&fields)?;
    let (mut frames, mut rest) = (Vec::new(), &[priority?, &fields[..]].concat()[..]);
    let mut head = Head { flags: first.flags & !PADDED & !END_HEADERS, ..first };
    loop {
        let (payload, more) = rest.split_at(rest.len().min(LARGEST));
        if more.is_empty() {
            head.flags |= END_HEADERS;
        }
        head.write(&mut frames, payload);
        if more.is_empty() {
            return Some(frames);
        }
        (head.kind, head.flags, rest) = (CONTINUATION, 0, more);
    }
}

/// What a frame of headers holds, without its padding.
struct Parts<'a> {
    priority: &'a [u8],
    fields: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(flags: u8, mut payload: &'a [u8]) -> Option<Self> {
        if flags & PADDED != 0 {
            let (padding, rest) = payload.split_first()?;
            payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        }
        let (priority, fields) = payload.split_at_checked(if flags & PRIORITY != 0 { 5 } else { 0 })?;
        Some(Parts { priority, fields })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::pieces::Pieces;

    fn through(sent: &[u8], piece: usize, room: usize) -> Vec<u8> {
        let mut frames = Frames::new(sent.chunks(piece).collect::<Pieces<'_>>(), true);
        let (mut got, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
        loop {
            let mut space = vec![0; room];
            let mut buffer = ReadBuf::new(&mut space);
            assert!(Pin::new(&mut frames).poll_read(&mut context, &mut buffer).is_ready());
            if buffer.filled().is_empty() {
                return got;
            }
            got.extend_from_slice(buffer.filled());
        }
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        Head { length: 0, kind, flags, stream: [0, 0, 0, 1] }.write(&mut frame, payload);
        frame
    }

    /// A block, and what becomes of it.
    fn blocks() -> (Vec<u8>, Vec<u8>) {
        let of = |authority: &[u8]| [&[0x83, 0x41, 8][..], authority, &[0x86]].concat();
        (of(b"run%2Fsi"), of(b"run-2Fsi"))
    }

    #[test]
    fn names_of_sockets_are_put_right_and_nothing_else_changes() {
        let (before, after) = blocks();
        let settings = frame(4, 0, &[0; 36]);
        // Looks like a frame of headers.
        let data = frame(0, 1, &frame(HEADERS, END_HEADERS, &before));
        let (early, late) = before.split_at(5);
        let padded = [&[2][..], &[9; 5], &before, &[0, 0]].concat();
        let cases = [
            (frame(HEADERS, END_HEADERS, &before), frame(HEADERS, END_HEADERS, &after)),
            (
                [
                    frame(HEADERS, 1, early),
                    frame(CONTINUATION, 0, &[]),
                    frame(CONTINUATION, END_HEADERS, late),
                ]
                .concat(),
                frame(HEADERS, END_HEADERS | 1, &after),
            ),
            (
                frame(HEADERS, END_HEADERS | PADDED | PRIORITY, &padded),
                frame(HEADERS, END_HEADERS | PRIORITY, &[&[9; 5][..], &after].concat()),
            ),
            (frame(HEADERS, END_HEADERS, &after), frame(HEADERS, END_HEADERS, &after)),
        ];
        for (sent, got) in cases {
            let sent = [&settings[..], &sent, &data, &sent, &settings].concat();
            let got = [&settings[..], &got, &data, &got, &settings].concat();
            for piece in [1, 3, 9, 10, 64, 4096] {
                for room in [1, 7, 4096] {
                    assert_eq!(through(&sent, piece, room), got, "{piece} {room}");
                }
            }
        }
    }

    #[test]
    fn a_block_that_grows_goes_on_in_another_frame() {
        // `/run/a` in Huffman's code has a byte less than without.
        let (code, written) = (b"\x41\x85\x62\xcb\x6a\x60\x7f", b"\x41\x06-run-a");
        let rest = [0x81].repeat(LARGEST - code.len());
        let sent = frame(HEADERS, END_HEADERS, &[&code[..], &rest].concat());
        let got = [&written[..], &rest].concat();
        let (first, second) = got.split_at(LARGEST);
        let got = [frame(HEADERS, 0, first), frame(CONTINUATION, END_HEADERS, second)].concat();
        assert_eq!(second.len(), 1);
        assert!(through(&sent, 4096, 4096) == got);
    }

    #[test]
    fn what_the_library_refuses_goes_by() {
        let (before, _) = blocks();
        for bad in [
            // Another frame in between, padding without end, half of it.
            [frame(HEADERS, 0, &before), frame(0, 0, b"x"), frame(CONTINUATION, END_HEADERS, &[])].concat(),
            frame(HEADERS, END_HEADERS | PADDED, &[200, 1, 2]),
            frame(HEADERS, END_HEADERS | PRIORITY, &[1, 2]),
            frame(HEADERS, END_HEADERS, &before)[..15].to_vec(),
            frame(HEADERS, 0, &before),
            frame(HEADERS, END_HEADERS, &vec![0; LARGEST + 1]),
            frame(4, 0, &[0; 36])[..20].to_vec(),
            [frame(HEADERS, 0, &before), frame(CONTINUATION, 0, &[0; LARGEST]).repeat(40)].concat(),
        ] {
            for piece in [1, 4096] {
                assert_eq!(through(&bad, piece, 4096), bad);
            }
        }
    }
}
