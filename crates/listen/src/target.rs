//! Targets of HTTP/1's requests as Go's server takes them. Clients write `?labelSelector=a>1` as it is; upstream reads it, and the
//! HTTP library here refuses bytes that no URI has (and cuts a target off at its `#`). So those are escaped before it sees them.
//!
//! A head that says both how long its body is and that it comes in chunks is spoilt, so that the library refuses it (400): it would
//! go by the chunks alone, and whoever stands before us may have gone by the length (RFC 9112, 6.1 and 11.2).
//!
//! Where a head begins is not guessed: behind the empty line that ends one, nothing is handed out until the library has said how
//! long it takes the body to be, and as many bytes go by untouched. Where it has not said so, or says that it does not know
//! (chunks, another protocol), all that comes later goes by as it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use http::header::UPGRADE;
use http::{Method, Request};
use hyper::body::Body;
use tokio::io::{AsyncRead, ReadBuf};

/// What a connection's bytes go through on their way in.
#[derive(Debug)]
pub(crate) struct Targets {
    stage: Stage,
    said: Arc<Said>,
    /// Has been read and not been looked at.
    raw: BytesMut,
    /// Has been looked at and not been handed out.
    done: BytesMut,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head(Part),
    /// A head has been handed out whole.
    Ended,
    /// So much of a body is still to come.
    Body(u64),
    /// Nothing is looked at any more.
    Through,
}

/// Where in a head the next byte is.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Before its first line: an empty one may come first.
    Start,
    Method,
    Target,
    /// Behind the target, with what the lines before have named.
    Lines(Line, Named),
}

/// Where in a line of a head the next byte is.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// There is nothing on it yet.
    Empty,
    /// So much of one of the names has come.
    Name(&'static [u8], usize),
    /// The rest is of no interest.
    Rest,
}

const LENGTH: &[u8] = b"content-length";
const CODING: &[u8] = b"transfer-encoding";

/// Which of the headers a head has that say where its body ends.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    length: bool,
    coding: bool,
}

/// What the library has said of the last head: how long its body is.
#[derive(Debug)]
pub(crate) struct Said(AtomicU64);

const NOTHING: u64 = u64::MAX;
const UNKNOWN: u64 = u64::MAX - 1;

impl Said {
    /// A request has been read.
    pub(crate) fn request<B: Body>(&self, request: &Request<B>) {
        let other = request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE);
        let length = request.body().size_hint().exact().filter(|_| !other);
        self.0.store(length.unwrap_or(UNKNOWN).min(UNKNOWN), Ordering::Relaxed);
    }
}

impl Targets {
    /// For a connection that begins with these bytes; of one that does not speak HTTP/1 nothing is looked at.
    pub(crate) fn new(start: &[u8], http1: bool) -> Self {
        let stage = if http1 { Stage::Head(Part::Start) } else { Stage::Through };
        let said = Arc::new(Said(AtomicU64::new(NOTHING)));
        Targets { stage, said, raw: BytesMut::from(start), done: BytesMut::new() }
    }

    pub(crate) fn said(&self) -> Arc<Said> {
        self.said.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.done.is_empty()
    }

    pub(crate) fn poll_read(
        &mut self,
        mut stream: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.listen();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !self.done.is_empty() {
                hand_out(&mut self.done, buffer, usize::MAX);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            match self.stage {
                // It wants more, of what we take for the end.
                Stage::Ended => self.stage = Stage::Through,
                Stage::Head(part) if !self.raw.is_empty() => self.look(part),
                Stage::Head(part) => {
                    ready!(stream.as_mut().poll_read(context, buffer))?;
                    let (clean, part) = clean(part, &buffer.filled()[before..]);
                    self.stage = part.map_or(Stage::Ended, Stage::Head);
                    self.put_back(buffer, before.saturating_add(clean));
                    if clean > 0 || self.raw.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stage::Body(rest) => {
                    let most = usize::try_from(rest).unwrap_or(usize::MAX);
                    if self.raw.is_empty() {
                        ready!(stream.as_mut().poll_read(context, buffer))?;
                        self.put_back(buffer, before.saturating_add(most));
                    } else {
                        hand_out(&mut self.raw, buffer, most);
                    }
                    let given = buffer.filled().len().saturating_sub(before) as u64;
                    self.stage = body(rest.saturating_sub(given));
                    return Poll::Ready(Ok(()));
                }
                Stage::Through if self.raw.is_empty() => return stream.poll_read(context, buffer),
                Stage::Through => {
                    hand_out(&mut self.raw, buffer, usize::MAX);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Whether the library has read a request since.
    fn listen(&mut self) {
        let said = self.said.0.swap(NOTHING, Ordering::Relaxed);
        self.stage = match (said, self.stage) {
            (NOTHING, stage) => stage,
            (UNKNOWN, _) => Stage::Through,
            (length, Stage::Ended) => body(length),
            // It has found another end than we have.
            _ => Stage::Through,
        };
    }

    /// Looks at what has been read, up to the end of a head.
    fn look(&mut self, part: Part) {
        let mut part = Some(part);
        while let Some(at) = part
            && !self.raw.is_empty()
        {
            let (clean, next) = clean(at, &self.raw);
            self.done.extend_from_slice(&self.raw[..clean]);
            self.raw.advance(clean);
            part = next;
            // What stopped it inside of a head.
            if let Some(at) = part
                && !self.raw.is_empty()
            {
                let byte = self.raw.get_u8();
                if let Part::Lines(..) = at {
                    // No name has it.
                    self.done.extend_from_slice(b"\0");
                    part = Some(Part::Lines(Line::Rest, Named::default()));
                } else {
                    self.done.extend_from_slice(&[
                        b'%',
                        HEX[usize::from(byte >> 4)],
                        HEX[usize::from(byte & 15)],
                    ]);
                }
            }
        }
        self.stage = part.map_or(Stage::Ended, Stage::Head);
        if self.raw.is_empty() {
            self.raw = BytesMut::new();
        }
    }

    /// Takes what has been read beyond an end.
    fn put_back(&mut self, buffer: &mut ReadBuf<'_>, end: usize) {
        if let Some(more) = buffer.filled().get(end..).filter(|more| !more.is_empty()) {
            self.raw.extend_from_slice(more);
            buffer.set_filled(end);
        }
    }
}

const HEX: [u8; 16] = *b"0123456789ABCDEF";

fn body(length: u64) -> Stage {
    if length == 0 { Stage::Head(Part::Start) } else { Stage::Body(length) }
}

fn hand_out(from: &mut BytesMut, buffer: &mut ReadBuf<'_>, most: usize) {
    let length = from.len().min(buffer.remaining()).min(most);
    buffer.put_slice(&from[..length]);
    from.advance(length);
    // Most connections need no room for it most of the time.
    if from.is_empty() {
        *from = BytesMut::new();
    }
}

/// How many bytes can be handed out as they are, up to one that must not or the end of the head; and where that leads, `None`
/// behind the end.
fn clean(mut part: Part, bytes: &[u8]) -> (usize, Option<Part>) {
    for (index, byte) in bytes.iter().enumerate() {
        part = match (part, byte) {
            (Part::Start, b'\r' | b'\n') => Part::Start,
            (Part::Start | Part::Method, b' ') => Part::Target,
            (Part::Method | Part::Target, b'\n') => Part::Lines(Line::Empty, Named::default()),
            (Part::Start | Part::Method, _) => Part::Method,
            (Part::Target, b'"' | b'#' | b'<' | b'>' | b'`') => return (index, Some(part)),
            (Part::Target, b' ' | b'\r') => Part::Lines(Line::Rest, Named::default()),
            (Part::Target, _) => Part::Target,
            (Part::Lines(Line::Empty, _), b'\n') => return (index.saturating_add(1), None),
            (Part::Lines(line, named), byte) => {
                let (after, all) = next(line, named, *byte);
                if all.length && all.coding {
                    return (index, Some(part));
                }
                Part::Lines(after, all)
            }
        };
    }
    (bytes.len(), Some(part))
}

/// What a byte of a head's lines leads to.
fn next(line: Line, mut named: Named, byte: u8) -> (Line, Named) {
    let begins = |name: &'static [u8]| byte.eq_ignore_ascii_case(&name[0]).then_some(Line::Name(name, 1));
    let line = match (line, byte) {
        (_, b'\n') => Line::Empty,
        (Line::Empty, b'\r') => Line::Empty,
        (Line::Empty, _) => begins(LENGTH).or_else(|| begins(CODING)).unwrap_or(Line::Rest),
        (Line::Name(name, at), _) => match name.get(at) {
            Some(expected) if byte.eq_ignore_ascii_case(expected) => Line::Name(name, at.saturating_add(1)),
            None if byte == b':' => {
                named.length |= name == LENGTH;
                named.coding |= name == CODING;
                Line::Rest
            }
            _ => Line::Rest,
        },
        (Line::Rest, _) => Line::Rest,
    };
    (line, named)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body_util::Full;

    use super::*;
    use crate::pieces::Pieces;

    /// What comes out, if each head that does is a request with a body of this length.
    fn through(sent: &[u8], piece: usize, room: usize, lengths: &[Option<usize>]) -> String {
        let (mut targets, mut lengths) = (Targets::new(&sent[..1], true), lengths.iter());
        let mut stream: Pieces<'_> = sent[1..].chunks(piece).collect();
        let (mut out, mut head, mut rest) = (Vec::new(), Vec::new(), 0);
        loop {
            let mut room = vec![0; room];
            let mut buffer = ReadBuf::new(&mut room);
            let context = &mut Context::from_waker(Waker::noop());
            assert!(targets.poll_read(Pin::new(&mut stream), context, &mut buffer).is_ready());
            if buffer.filled().is_empty() {
                return String::from_utf8(out).unwrap();
            }
            out.extend_from_slice(buffer.filled());
            for byte in buffer.filled() {
                if rest > 0 {
                    rest -= 1;
                    continue;
                }
                head.push(*byte);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    let length = lengths.next().copied().unwrap_or_default();
                    rest = length.unwrap_or(usize::MAX);
                    match length {
                        Some(length) => {
                            targets.said().request(&Request::new(Full::<bytes::Bytes>::from(vec![0; length])))
                        }
                        None => targets.said().0.store(UNKNOWN, Ordering::Relaxed),
                    }
                }
            }
        }
    }

    #[test]
    fn targets_are_escaped_and_nothing_else_is() {
        let get = "GET /a?x>1&\"`#b HTTP/1.1\r\nX: a>b \"c\r\n\r\n";
        let got = "GET /a?x%3E1&%22%60%23b HTTP/1.1\r\nX: a>b \"c\r\n\r\n";
        // Looks like a head of its own.
        let post = "POST /<> HTTP/1.1\r\nContent-Length: 25\r\n\r\nGET /a>b HTTP/1.1\r\nX:\r\n\r\n";
        let posted = post.replace("/<>", "/%3C%3E");
        let sent = format!("\r\n{get}{get}{post}{get}");
        for piece in [1, 2, 7, 64, 4096] {
            for room in [1, 3, 50, 4096] {
                let lengths = [Some(0), Some(0), Some(25), Some(0)];
                assert_eq!(
                    through(sent.as_bytes(), piece, room, &lengths),
                    format!("\r\n{got}{got}{posted}{got}"),
                    "{piece} {room}"
                );
                // Nobody knows where the body ends.
                assert_eq!(
                    through(format!("{get}{post}{get}").as_bytes(), piece, room, &[Some(0), None]),
                    format!("{got}{posted}{get}"),
                    "{piece} {room}"
                );
            }
        }
    }

    #[test]
    fn a_head_with_two_ends_is_spoilt() {
        for (first, second) in
            [("content-LENGTH", "Transfer-Encoding"), ("transfer-encoding", "Content-Length")]
        {
            let head = |colon| {
                format!(
                    "GET / HTTP/1.1\r\nX: Content-Length: 1\r\n{first}: 1\r\n{first}: 1\r\n{second}{colon} 1\r\n\r\n"
                )
            };
            for piece in [1, 3, 4096] {
                assert_eq!(through(head(':').as_bytes(), piece, 4096, &[Some(0)]), head('\0'), "{piece}");
            }
        }
        // These are other headers, and the names are not at the beginning of their lines.
        let other = "GET / HTTP/1.1\r\nContent-Length: 0\r\nX-Transfer-Encoding: a\r\nTransfer-Encoding2: b\r\nTrailer: Transfer-Encoding: c\r\n\r\n";
        assert_eq!(through(other.as_bytes(), 5, 4096, &[Some(0)]), other);
    }

    #[test]
    fn what_the_library_does_not_take_for_a_head_is_left_alone() {
        let sent = b"GET /> HTTP/1.1\n\nGET /> HTTP/1.1\r\n\r\n";
        // The end is not told: it wants more.
        let told = through(sent, 4096, 4096, &[]);
        assert_eq!(told, "GET /%3E HTTP/1.1\n\nGET /> HTTP/1.1\r\n\r\n");
    }
}
