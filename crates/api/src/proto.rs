//! Protobuf: Kubernetes' frame around a message, and the wire primitives below it.
//!
//! Every length is checked against what is left: a truncated or lying message is an error, never a panic
//! and never an allocation of the claimed size.

/// The four bytes before every Kubernetes protobuf body (apimachinery `serializer/protobuf`).
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// The bytes with which each body ends: neither an encoding nor a type of its content.
pub const END: [u8; 4] = [3 << 3 | 2, 0, 4 << 3 | 2, 0];

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    /// Nothing at all.
    #[error("empty data")]
    Empty,
    /// The frame's prefix is missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// A tag or length is malformed.
    #[error("proto: {0}")]
    Malformed(&'static str),
    /// The bytes end inside a field.
    #[error("unexpected EOF")]
    Truncated,
}

/// `runtime.Unknown`: the frame's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// `typeMeta.apiVersion`, may be empty.
    pub api_version: &'a str,
    /// `typeMeta.kind`, may be empty.
    pub kind: &'a str,
    /// The encoded object.
    pub raw: &'a [u8],
}

/// Opens the frame.
pub fn unframe(body: &[u8]) -> Result<Unknown<'_>, ProtoError> {
    if body.is_empty() {
        return Err(ProtoError::Empty);
    }
    let mut message = Reader::new(body.strip_prefix(&MAGIC).ok_or(ProtoError::Prefix)?);
    let mut unknown = Unknown::default();
    while let Some((number, field)) = message.next()? {
        match (number, field) {
            (1, Field::Bytes(meta)) => {
                let mut meta = Reader::new(meta);
                while let Some((number, field)) = meta.next()? {
                    match (number, field) {
                        (1, Field::Bytes(text)) => unknown.api_version = utf8(text)?,
                        (2, Field::Bytes(text)) => unknown.kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Field::Bytes(raw)) => unknown.raw = raw,
            _ => {}
        }
    }
    Ok(unknown)
}

/// Builds the frame as Go's encoder does, empty content encoding and type included.
///
/// ```
/// use tokensmith_api::proto;
///
/// let body = proto::frame("v1", "Pod", b"");
/// assert!(body.starts_with(&proto::MAGIC));
/// assert_eq!(proto::unframe(&body)?.kind, "Pod");
/// assert_eq!(proto::unframe(b"{}"), Err(proto::ProtoError::Prefix));
/// # Ok::<_, proto::ProtoError>(())
/// ```
pub fn frame(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 96);
    begin(&mut out, api_version, kind);
    put_bytes(&mut out, 2, raw);
    out.extend_from_slice(&END);
    out
}

/// Begins a frame whose message is written in place: as field 2, before [`END`].
pub fn begin(out: &mut Vec<u8>, api_version: &str, kind: &str) {
    out.extend_from_slice(&MAGIC);
    let meta = open(out, 1);
    put_bytes(out, 1, api_version.as_bytes());
    put_bytes(out, 2, kind.as_bytes());
    close(out, meta);
}

fn utf8(bytes: &[u8]) -> Result<&str, ProtoError> {
    std::str::from_utf8(bytes).map_err(|_| ProtoError::Malformed("invalid UTF-8"))
}

/// One field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a string, bytes, or a message.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Reads the fields of one message.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over a message's bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next field's number and value; `None` at the end.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results would hide the end of a bad message"
    )]
    pub fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, ProtoError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| *n > 0 && *n < 1 << 29);
        let number = number.ok_or(ProtoError::Malformed("illegal tag"))?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                let len = usize::try_from(len).map_err(|_| ProtoError::Truncated)?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(ProtoError::Malformed("illegal wireType")),
        };
        Ok(Some((number, field)))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ProtoError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(ProtoError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtoError> {
        self.take(N)?.try_into().map_err(|_| ProtoError::Truncated)
    }

    fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut value = 0u64;
        for (at, byte) in self.rest.iter().enumerate() {
            if at == 9 && *byte > 1 {
                return Err(ProtoError::Malformed("integer overflow"));
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(ProtoError::Truncated)
    }
}

/// Writes a varint field. Negative `int32` and `int64` values are given as their 64-bit two's complement.
pub fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, value);
}

/// Writes eight bytes: a `double`.
pub fn put_fixed64(out: &mut Vec<u8>, number: u32, bits: u64) {
    varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Writes a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_length(out, number, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Begins a length-delimited field; so many bytes are to follow.
pub fn put_length(out: &mut Vec<u8>, number: u32, length: u64) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, length);
}

/// Begins a message, or text, whose length is known once it is written: behind what [`close`] is then told.
pub fn open(out: &mut Vec<u8>, number: u32) -> Opened {
    varint(out, u64::from(number) << 3 | 2);
    // Most are shorter than 128 bytes.
    out.push(0);
    Opened { content: out.len() }
}

/// A message that is being written, see [`open`].
#[derive(Debug)]
#[must_use = "its length is not written yet"]
pub struct Opened {
    content: usize,
}

/// Writes the length of what has been appended since [`open`].
pub fn close(out: &mut Vec<u8>, opened: Opened) {
    let (at, end) = (opened.content, out.len());
    let mut length = end - at;
    // Longer lengths need room, and what was written moves.
    let more = varint_len(length as u64) - 1;
    out.resize(end + more, 0);
    out.copy_within(at..end, at + more);
    for byte in &mut out[at - 1..at + more] {
        *byte = length as u8 | 0x80;
        length >>= 7;
    }
    out[at + more - 1] &= 0x7f;
}

/// How many bytes a number takes.
pub fn varint_len(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_frame_that_kubectl_sends() {
        let body =
            b"k8s\0\x0a\x28\x0a\x18authentication.k8s.io/v1\x12\x0cTokenRequest\x12\x03abc\x1a\x00\x22\x00";
        let unknown = unframe(body).unwrap();
        assert_eq!(
            unknown,
            Unknown { api_version: "authentication.k8s.io/v1", kind: "TokenRequest", raw: b"abc" }
        );
        assert_eq!(frame(unknown.api_version, unknown.kind, unknown.raw), body);
    }

    #[test]
    fn bad_frames() {
        assert_eq!(unframe(b""), Err(ProtoError::Empty));
        assert_eq!(unframe(b"{}"), Err(ProtoError::Prefix));
        assert_eq!(unframe(b"k8s\0\x0a\x28\x0a"), Err(ProtoError::Truncated));
        assert_eq!(unframe(b"k8s\0\x12\xff\xff\xff\xff\x0f"), Err(ProtoError::Truncated));
        assert_eq!(unframe(b"k8s\0\x03"), Err(ProtoError::Malformed("illegal tag")));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut body = MAGIC.to_vec();
            body.extend(bytes);
            let _ = unframe(&body);
        }

        #[test]
        fn varints_come_back(value: u64, number in 1u32..(1 << 29)) {
            let mut out = Vec::new();
            put_varint(&mut out, number, value);
            prop_assert_eq!(Reader::new(&out).next(), Ok(Some((number, Field::Varint(value)))));
        }

        #[test]
        fn what_is_closed_has_its_length(before in 0usize..3, length in prop_oneof![0usize..300, 16_300usize..16_500], number in 1u32..5000) {
            let mut out = vec![7; before];
            let opened = open(&mut out, number);
            out.extend((0..length).map(|n| n as u8));
            close(&mut out, opened);
            let mut want = vec![7; before];
            put_bytes(&mut want, number, &(0..length).map(|n| n as u8).collect::<Vec<_>>());
            prop_assert_eq!(out, want);
            let mut number = Vec::new();
            varint(&mut number, length as u64);
            prop_assert_eq!(varint_len(length as u64), number.len());
        }
    }
}
