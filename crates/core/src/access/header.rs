//! Headers that say who asks: read exactly, or refused. One that cannot be read must never count as one that is not there,
//! for then the caller goes on as somebody else.
//!
//! Kubernetes takes the bytes of such headers as they are. They have no charset (RFC 9110 §5.5), so two programs on a
//! request's way may see two users in them; here they are refused, and so are repetitions, of which Kubernetes takes the
//! first and others the last.

/// What is wrong with a header; its caller's fault (400). Never shows the value, which may be a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There, and nothing in it.
    #[error("the {0} header is empty")]
    Empty(String),
    /// More than one where there must be one.
    #[error("there is more than one {0} header")]
    Repeated(String),
    /// Other bytes than printable ASCII.
    #[error("the {0} header has characters other than printable ASCII")]
    Unreadable(String),
}

/// A value as text; it may be empty.
///
/// # Errors
/// It holds other bytes than printable ASCII and tabs.
pub fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, HeaderError> {
    let readable = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let text = std::str::from_utf8(value).ok().filter(|_| readable);
    text.ok_or_else(|| HeaderError::Unreadable(name.into()))
}

/// The one value of a header that may be there once, and then says something; `None` when it is not there.
///
/// # Errors
/// It is there, and cannot be read, is repeated or is blank.
pub fn single<'a>(
    name: &str,
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<&'a str>, HeaderError> {
    let mut values = values.into_iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderError::Repeated(name.into()));
    }
    let value = text(name, first)?.trim();
    if value.is_empty() { Err(HeaderError::Empty(name.into())) } else { Ok(Some(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_absent() {
        let read = |values: &[&'static [u8]]| single("X", values.iter().copied());
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"a b\tc~"]), Ok(Some("a b\tc~")));
        for unreadable in ["josé".as_bytes(), b"jos\xe9", b"\xff", b"a\x7f", b"a\0", "\u{2002}".as_bytes()] {
            assert_eq!(single("X", [unreadable]), Err(HeaderError::Unreadable("X".into())));
        }
        for empty in [&b""[..], b" ", b"\t "] {
            assert_eq!(single("X", [empty]), Err(HeaderError::Empty("X".into())));
        }
        for repeated in [&[&b"a"[..], b"a"][..], &[b"", b""], &[b"a", b"\xff"]] {
            assert_eq!(single("X", repeated.iter().copied()), Err(HeaderError::Repeated("X".into())));
        }
    }
}
