//! PEM text (RFC 7468, and the headers of RFC 1421 that openssl's traditional form has), read and written.
//!
//! Reading is lazy: a block of a kind that nobody asks for is never decoded. What may be secret is wiped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::KeyError;

pub(super) const CERTIFICATE: &str = "CERTIFICATE";
pub(super) const EC_PRIVATE_KEY: &str = "EC PRIVATE KEY";
pub(super) const ENCRYPTED_PRIVATE_KEY: &str = "ENCRYPTED PRIVATE KEY";
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";
pub(super) const PUBLIC_KEY: &str = "PUBLIC KEY";
pub(super) const RSA_PRIVATE_KEY: &str = "RSA PRIVATE KEY";

/// A block between its two lines, not decoded yet.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    lines: Vec<&'a [u8]>,
}

impl<'a> Block<'a> {
    /// Whether it says so itself: openssl's traditional form (`Proc-Type: 4,ENCRYPTED`), by whatever cipher.
    pub(super) fn is_encrypted(&self) -> bool {
        self.headers().any(|(name, value)| name == "Proc-Type" && value.contains("ENCRYPTED"))
    }

    fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines.iter().map_while(|line| {
            let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
            Some((name.trim(), value.trim()))
        })
    }

    /// The bytes in the block.
    pub(super) fn der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let lines = &self.lines[self.headers().count()..];
        // Room for all from the start: a vector that grows leaves copies behind.
        let length = lines.iter().map(|line| line.len()).sum();
        let mut text = Zeroizing::new(Vec::with_capacity(length));
        for line in lines {
            text.extend(line.iter().filter(|c| !c.is_ascii_whitespace()));
        }
        let mut der = Zeroizing::new(Vec::with_capacity(length));
        match STANDARD.decode_vec(&*text, &mut der) {
            Ok(()) if !der.is_empty() => Ok(der),
            _ => Err(KeyError::Malformed { what: "PEM block" }),
        }
    }
}

/// The blocks of a text, in order. What stands between them is skipped, as everyone does. A block without an end
/// is an error, and the next one is read all the same.
pub(super) fn blocks(text: &[u8]) -> impl Iterator<Item = Result<Block<'_>, KeyError>> {
    let mut lines = text.split(|c| *c == b'\n').map(<[u8]>::trim_ascii).peekable();
    std::iter::from_fn(move || {
        let label = lines.find_map(|line| mark(line, "BEGIN"))?;
        let mut block = Block { label, lines: Vec::new() };
        while let Some(line) = lines.next_if(|line| mark(line, "BEGIN").is_none()) {
            match mark(line, "END") {
                Some(end) if end == label => return Some(Ok(block)),
                Some(_) => return Some(Err(KeyError::Malformed { what: "PEM block" })),
                None => block.lines.push(line),
            }
        }
        Some(Err(KeyError::Cut))
    })
}

/// The label in `-----BEGIN LABEL-----`.
fn mark<'a>(line: &'a [u8], word: &str) -> Option<&'a str> {
    let line = std::str::from_utf8(line).ok()?;
    line.strip_prefix("-----")?.strip_suffix("-----")?.strip_prefix(word)?.strip_prefix(' ')
}

/// Writes one block, 64 characters a line.
pub(super) fn write(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40));
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: any index is a boundary.
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_and_other_blocks_are_told_apart() {
        let text = b"Bag Attributes\n-----BEGIN A-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: X,00\r\n\r\nAQ\r\nI=\r\n-----END A-----\n\
            -----BEGIN B-----\nno base64!\n-----END B-----\n-----BEGIN C-----\nAQID\n-----BEGIN D-----\nAQID\n-----END E-----";
        let found: Vec<_> = blocks(text).collect();
        let a = found[0].as_ref().unwrap();
        assert_eq!((a.label, a.is_encrypted()), ("A", true));
        assert!(!found[1].as_ref().unwrap().is_encrypted());
        assert_eq!(a.der().unwrap().as_slice(), [1, 2]);
        assert_eq!(found[1].as_ref().unwrap().der().unwrap_err(), KeyError::Malformed { what: "PEM block" });
        assert_eq!(found[2].as_ref().err(), Some(&KeyError::Cut));
        assert_eq!(found[3].as_ref().err(), Some(&KeyError::Malformed { what: "PEM block" }));
        assert_eq!(found.len(), 4);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(der in proptest::collection::vec(any::<u8>(), 1..200)) {
            let text = write(PRIVATE_KEY, &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let found: Vec<_> = blocks(text.as_bytes()).collect();
            prop_assert_eq!(found.len(), 1);
            let block = found[0].as_ref().unwrap();
            prop_assert_eq!(block.label, PRIVATE_KEY);
            prop_assert_eq!(&*block.der().unwrap(), &der);
        }
    }
}
