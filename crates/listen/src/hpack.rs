//! Blocks of headers as HTTP/2 sends them (RFC 7541), looked at without being kept: the one value that is put right keeps its
//! length, so that the tables of both sides stay in step and no other byte has to change.

use std::ops::Range;

use http::uri::Authority;

/// The name's place in the static table (RFC 7541, appendix A).
const AUTHORITY: u64 = 1;
const NAME: &[u8] = b":authority";

/// A block in which each `:authority` is one that the library takes: what no authority has is `-` in its place. `None` if
/// there is nothing to put right, and of what cannot be read, which is the library's to refuse.
pub(crate) fn mend(block: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader { block, at: 0, length_at: 0, huffman: false };
    let (mut mended, mut copied) = (Vec::new(), 0);
    while reader.at < block.len() {
        let Some(found) = reader.field()? else { continue };
        let value = value(&block[found.clone()], reader.huffman)?;
        if value.is_empty() || Authority::try_from(&*value).is_ok() {
            continue;
        }
        mended.extend_from_slice(&block[copied..reader.length_at]);
        string(&mut mended, &value);
        copied = found.end;
    }
    if copied == 0 {
        return None;
    }
    mended.extend_from_slice(&block[copied..]);
    Some(mended)
}

/// Appends a value as it is, but for what no authority has.
fn string(to: &mut Vec<u8>, value: &[u8]) {
    let (mut length, most) = (value.len(), 0x7f);
    if length < most {
        to.push(length as u8);
    } else {
        to.push(most as u8);
        length = length.saturating_sub(most);
        while length >= 0x80 {
            to.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        to.push(length as u8);
    }
    to.extend(value.iter().map(|byte| match byte {
        b'.' | b'_' | b'-' => *byte,
        _ if byte.is_ascii_alphanumeric() => *byte,
        _ => b'-',
    }));
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
    /// Where the length of the string begins that was read last, and whether it is in Huffman's code.
    length_at: usize,
    huffman: bool,
}

impl Reader<'_> {
    /// Reads a field; gives where its value stands if it is an `:authority` that is written out.
    fn field(&mut self) -> Option<Option<Range<usize>>> {
        let first = *self.block.get(self.at)?;
        let bits = match first {
            // From a table: nothing is written out.
            0x80.. => 7,
            0x40.. => 6,
            // The size of the table.
            0x20.. => 5,
            _ => 4,
        };
        let index = self.integer(bits)?;
        if bits == 7 || bits == 5 {
            return Some(None);
        }
        let mut ours = index == AUTHORITY;
        if index == 0 {
            let name = self.string()?;
            ours = value(&self.block[name], self.huffman).is_some_and(|name| *name == *NAME);
        }
        let value = self.string()?;
        Some(ours.then_some(value))
    }

    fn string(&mut self) -> Option<Range<usize>> {
        self.length_at = self.at;
        self.huffman = self.block.get(self.at)? & 0x80 != 0;
        let length = usize::try_from(self.integer(7)?).ok()?;
        let start = self.at;
        self.at = start.checked_add(length).filter(|end| *end <= self.block.len())?;
        Some(start..self.at)
    }

    /// RFC 7541, 5.1.
    fn integer(&mut self, bits: u32) -> Option<u64> {
        let most = (1u64 << bits) - 1;
        let mut number = u64::from(self.next()?) & most;
        if number < most {
            return Some(number);
        }
        // More than four further bytes are more than any block has.
        for shift in [0, 7, 14, 21] {
            let byte = self.next()?;
            number = number.saturating_add(u64::from(byte & 0x7f) << shift);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.block.get(self.at)?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }
}

/// A string's bytes; `None` if it is no code.
fn value(string: &[u8], huffman: bool) -> Option<std::borrow::Cow<'_, [u8]>> {
    if huffman { decode(string).map(Into::into) } else { Some(string.into()) }
}

/// How many bits each byte's code has (RFC 7541, appendix B). The codes follow from that: they count up, by length and then by
/// byte.
#[rustfmt::skip]
const BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];
const LONGEST: usize = 30;

/// The codes of a length: the first, how many there are, and where their bytes stand in `SORTED`.
const CODES: [(u32, u32, usize); LONGEST + 1] = codes().0;
const SORTED: [u8; 256] = codes().1;

const fn codes() -> ([(u32, u32, usize); LONGEST + 1], [u8; 256]) {
    let (mut codes, mut sorted) = ([(0, 0, 0); LONGEST + 1], [0; 256]);
    let (mut bits, mut code, mut at) = (1, 0, 0);
    while bits <= LONGEST {
        code <<= 1;
        codes[bits] = (code, 0, at);
        let mut byte = 0;
        while byte < 256 {
            if BITS[byte] as usize == bits {
                sorted[at] = byte as u8;
                codes[bits].1 += 1;
                code += 1;
                at += 1;
            }
            byte += 1;
        }
        bits += 1;
    }
    (codes, sorted)
}

/// What a string in Huffman's code says; `None` if it says nothing.
fn decode(string: &[u8]) -> Option<Vec<u8>> {
    // Five bits are the shortest code.
    let mut decoded = Vec::with_capacity(string.len().saturating_mul(8) / 5);
    let (mut code, mut bits) = (0u32, 0usize);
    for byte in string {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            bits = bits.saturating_add(1);
            let (first, count, at) = *CODES.get(bits)?;
            if let Some(nth) = code.checked_sub(first).filter(|nth| *nth < count) {
                decoded.push(SORTED[at.saturating_add(nth as usize)]);
                (code, bits) = (0, 0);
            }
        }
    }
    // The rest is ones, and no whole byte of them.
    (bits < 8 && code == (1 << bits) - 1).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn huffmans_code_is_read() {
        // RFC 7541, C.4.1 and C.6.1.
        for (code, says) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("6402", "302"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("", ""),
        ] {
            assert_eq!(decode(&hex(code)).unwrap(), says.as_bytes());
        }
        // A whole byte of ones at the end, no ones at the end, the code of the end.
        for bad in ["ff", "6402ff", "00", "fffffffc"] {
            assert_eq!(decode(&hex(bad)), None, "{bad}");
        }
    }

    /// What grpc 1.85 of Python sends to `unix:/tmp/sc/dump.sock` (the core library of C++, Ruby and PHP, too).
    const PYTHON: &str = "40053a706174681e2f76312e45787465726e616c4a57545369676e65722f4d65746164617461400a3a617574686f72\
        69747914746d70253246736325324664756d702e736f636b8386400c636f6e74656e742d74797065106170706c69636174696f6e2f67727063";

    #[test]
    fn an_escaped_path_becomes_a_name_of_its_length() {
        let block = hex(PYTHON);
        let mended = mend(&block).unwrap();
        let at = block.windows(20).position(|w| w == b"tmp%2Fsc%2Fdump.sock").unwrap();
        let mut expected = block;
        expected[at..at + 20].copy_from_slice(b"tmp-2Fsc-2Fdump.sock");
        assert_eq!(mended, expected);
        assert_eq!(mend(&mended), None, "nothing is left to be put right");
    }

    fn field(first: &[u8], value: &[u8]) -> Vec<u8> {
        let mut block = first.to_vec();
        block.push(value.len() as u8);
        block.extend_from_slice(value);
        block
    }

    #[test]
    fn what_the_library_takes_is_left_alone() {
        for good in ["localhost", "localhost:50051", "[::1]:8080", "tokensmith.sock", "user@host"] {
            for first in [&[0x41][..], &[0x01], &[0x11]] {
                assert_eq!(mend(&field(first, good.as_bytes())), None, "{good}");
            }
        }
        // Another header's value, an entry of a table, the table's size, nothing at all.
        for other in
            [field(&[0x44], b"/a%2Fb"), vec![0x81], vec![0x3f, 0xe1, 0x1f], Vec::new(), vec![0x41, 0]]
        {
            assert_eq!(mend(&other), None, "{other:?}");
        }
    }

    #[test]
    fn every_form_is_put_right() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"/run/signer.sock", b"-run-signer.sock"),
            (b"unix:%2Frun%2Fs", b"unix--2Frun-2Fs"),
            (b"run%2F%C3%A9[x].sock", b"run-2F-C3-A9-x-.sock"),
            (b"a:b:c", b"a-b-c"),
            ("/tmp/\u{e9} x".as_bytes(), b"-tmp----x"),
            (b"\0", b"-"),
        ];
        let named = |prefix: u8| [&[prefix, 10][..], NAME].concat();
        for (value, becomes) in cases {
            for first in [&[0x41][..], &[0x01], &[0x11], &named(0x40), &named(0), &named(0x10)] {
                let (before, after) = (field(&[0x44], b"/v1"), field(&[0x40, 1, b'a'], b"b"));
                let block = |value| [&before[..], &field(first, value), &after].concat();
                assert_eq!(mend(&block(value)), Some(block(becomes)), "{first:?}");
            }
        }
        // In Huffman's code: `:authority`, and `/run/a`.
        let (name, value) = (hex("88b83b5339ec327d7f"), hex("8562cb6a607f"));
        let (block, written) = (|value: &[u8]| [&[0x40][..], &name, value].concat(), field(&[], b"-run-a"));
        assert_eq!(mend(&block(&value)), Some(block(&written)));
        assert_eq!(mend(&[&[0x41][..], &value].concat()), Some(field(&[0x41], b"-run-a")));
        // Longer than the first byte of a length can say.
        let long = [b"/".repeat(127), b"a".repeat(200)].concat();
        let mut block = vec![0x41, 0x7f, 0xc8, 0x01];
        block.extend_from_slice(&long);
        let mended = mend(&block).unwrap();
        assert_eq!(mended[..4], block[..4]);
        assert_eq!(mended[4..131], b"-".repeat(127));
        assert_eq!(mended[131..], block[131..]);
    }

    #[test]
    fn garbage_is_the_librarys() {
        for block in [
            &[0x41][..],
            &[0x41, 5, b'/'],
            &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x40, 3, b'a'],
            &[0x41, 0x81, 0xff, 0x41, 1, b'/'],
        ] {
            assert_eq!(mend(block), None, "{block:?}");
        }
    }
}
