//! The reader: Go's error texts, duplicate keys reported instead of hidden, bounded in depth: a body of 100,000 brackets costs an
//! error, not a stack.

use serde_json::{Map, Number, Value};

use crate::Findings;

/// How deep values may nest. Go stops at 10,000; no Kubernetes object comes near either, and this depth is
/// safe to read, walk and drop on any thread's stack.
pub const MAX_DEPTH: usize = 512;

/// A syntax error in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(pub String);

/// A value and what was odd about it.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// The value; of a repeated key, the last one.
    pub value: Value,
    /// The paths of repeated keys, e.g. `spec.foo`, in document order; as many as [`Findings`] keep.
    pub duplicates: Vec<String>,
}

/// Reads exactly one JSON value.
///
/// Invalid UTF-8 inside strings and lone surrogates become U+FFFD, as in Go.
pub fn parse(bytes: &[u8]) -> Result<Parsed, SyntaxError> {
    let mut reader = Reader { bytes, at: 0, depth: 0, repeated: false, told: None };
    let value = reader.whole()?;
    if !reader.repeated {
        return Ok(Parsed { value, duplicates: Vec::new() });
    }
    // Seldom: where a value stands costs as much as reading it.
    let mut again = Reader { bytes, at: 0, depth: 0, repeated: false, told: Some(Told::default()) };
    let value = again.whole()?;
    Ok(Parsed { value, duplicates: again.told.unwrap_or_default().duplicates.into_texts() })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// A key is repeated somewhere,
    repeated: bool,
    /// and who wants to know where is told.
    told: Option<Told>,
}

#[derive(Default)]
struct Told {
    /// Where the value stands that is being read.
    path: String,
    duplicates: Findings,
}

impl Told {
    /// Enters a member; gives what [`Told::passed`] wants.
    fn member(&mut self, key: &str) -> usize {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        before
    }

    /// Enters a list's item.
    fn item(&mut self, at: usize) -> usize {
        let before = self.path.len();
        self.path.push_str(&format!("[{at}]"));
        before
    }

    /// Leaves what was entered.
    fn passed(&mut self, before: usize, repeated: bool) {
        if repeated {
            self.duplicates.push(|| self.path.clone());
        }
        self.path.truncate(before);
    }
}

fn invalid(c: u8, context: &str) -> SyntaxError {
    let shown = match c {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        c if c < 0x20 || c == 0x7f => format!("'\\x{c:02x}'"),
        c if (0x80..0xa0).contains(&c) => format!("'\\u{c:04x}'"),
        c => format!("'{}'", c as char),
    };
    SyntaxError(format!("invalid character {shown} {context}"))
}

fn end() -> SyntaxError {
    SyntaxError("unexpected end of JSON input".into())
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, SyntaxError> {
        let c = self.peek().ok_or_else(end)?;
        self.at += 1;
        Ok(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn whole(&mut self) -> Result<Value, SyntaxError> {
        self.space();
        let value = self.value()?;
        self.space();
        match self.peek() {
            None => Ok(value),
            Some(c) => Err(invalid(c, "after top-level value")),
        }
    }

    fn value(&mut self) -> Result<Value, SyntaxError> {
        match self.peek().ok_or_else(end)? {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string().map(Value::String),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            c => Err(invalid(c, "looking for beginning of value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, SyntaxError>) -> Result<Value, SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SyntaxError("exceeded max depth".into()));
        }
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, SyntaxError> {
        let mut map = Map::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            self.space();
            match self.peek().ok_or_else(end)? {
                b'"' => {}
                c => return Err(invalid(c, "looking for beginning of object key string")),
            }
            let key = self.string()?;
            self.space();
            match self.next()? {
                b':' => {}
                c => return Err(invalid(c, "after object key")),
            }
            self.space();
            let before = self.told.as_mut().map(|told| told.member(&key));
            let value = self.value()?;
            let repeated = map.insert(key, value).is_some();
            self.repeated |= repeated;
            if let Some((told, before)) = self.told.as_mut().zip(before) {
                told.passed(before, repeated);
            }
            self.space();
            match self.next()? {
                b',' => {}
                b'}' => return Ok(Value::Object(map)),
                c => return Err(invalid(c, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.space();
            let before = self.told.as_mut().map(|told| told.item(items.len()));
            items.push(self.value()?);
            if let Some((told, before)) = self.told.as_mut().zip(before) {
                told.passed(before, false);
            }
            self.space();
            match self.next()? {
                b',' => {}
                b']' => return Ok(Value::Array(items)),
                c => return Err(invalid(c, "after array element")),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, SyntaxError> {
        for expected in word.bytes() {
            let c = self.next()?;
            if c != expected {
                return Err(invalid(c, &format!("in literal {word} (expecting '{}')", expected as char)));
            }
        }
        Ok(value)
    }

    fn digits(&mut self, context: &str) -> Result<(), SyntaxError> {
        match self.next()? {
            b'0'..=b'9' => {}
            c => return Err(invalid(c, context)),
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or("0");
        if let Ok(n) = text.parse::<i64>() {
            return Ok(n.into());
        }
        if let Ok(n) = text.parse::<u64>() {
            return Ok(n.into());
        }
        // An exponent past what a float can hold reads as a string: no field of a number type takes it.
        let float = text.parse::<f64>().ok().and_then(Number::from_f64);
        Ok(float.map_or_else(|| Value::String(text.into()), Value::Number))
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        self.at += 1;
        // Most are taken as they are, in as much room as they need.
        let rest = &self.bytes[self.at..];
        let (text, behind) = rest.split_at(plain(rest));
        if let (Some(b'"'), Ok(text)) = (behind.first(), std::str::from_utf8(text)) {
            self.at += text.len() + 1;
            return Ok(text.to_owned());
        }
        let mut out: Vec<u8> = Vec::new();
        loop {
            let rest = &self.bytes[self.at..];
            let plain = plain(rest);
            out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.next()? {
                b'"' => break,
                b'\\' => self.escape(&mut out)?,
                c => return Err(invalid(c, "in string literal")),
            }
        }
        Ok(match String::from_utf8(out) {
            Ok(text) => text,
            Err(e) => replace_invalid(e.as_bytes()),
        })
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), SyntaxError> {
        let simple = match self.next()? {
            c @ (b'"' | b'\\' | b'/') => c,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let c = self.unicode()?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            c => return Err(invalid(c, "in string escape code")),
        };
        out.push(simple);
        Ok(())
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let high = self.hex()?;
        if !(0xd800..0xe000).contains(&high) {
            return Ok(char::from_u32(high).unwrap_or('\u{fffd}'));
        }
        if high < 0xdc00 && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
            self.at = back;
        }
        Ok('\u{fffd}')
    }

    fn hex(&mut self) -> Result<u32, SyntaxError> {
        let mut code = 0;
        for _ in 0..4 {
            let c = self.next()?;
            let digit = (c as char).to_digit(16);
            code = code * 16 + digit.ok_or_else(|| invalid(c, "in \\u hexadecimal character escape"))?;
        }
        Ok(code)
    }
}

/// How many bytes come before a quote, a backslash, or what must not stand in a string. Eight at a time: most JSON is strings.
#[inline]
pub fn plain(bytes: &[u8]) -> usize {
    let special = |word: u64| below(word ^ each(b'"'), 1) | below(word ^ each(b'\\'), 1) | below(word, 0x20);
    first(bytes, special, |c| matches!(c, b'"' | b'\\' | 0..0x20))
}

/// Where the first byte is for which `word` (of eight bytes, by [`below`]) and `byte` say so.
#[inline]
pub(super) fn first(bytes: &[u8], word: impl Fn(u64) -> u64, byte: impl Fn(&u8) -> bool) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, eight) in words.iter().enumerate() {
        let found = word(u64::from_le_bytes(*eight));
        if found != 0 {
            return at * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8 + rest.iter().position(byte).unwrap_or(rest.len())
}

/// The highest bit of each byte that is below `n`, which is at most 0x80. Right up to the first such byte, and that one
/// counts.
pub(super) fn below(word: u64, n: u64) -> u64 {
    word.wrapping_sub(each(1) * n) & !word & each(0x80)
}

/// The same byte eight times.
pub(super) const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Go replaces each byte that is part of no valid sequence by one U+FFFD.
fn replace_invalid(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn error(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().0
    }

    #[test]
    fn errors_read_as_gos() {
        for (text, want) in [
            ("", "unexpected end of JSON input"),
            ("{\"spec\":", "unexpected end of JSON input"),
            ("not", "invalid character 'o' in literal null (expecting 'u')"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{x", "invalid character 'x' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{}{}", "invalid character '{' after top-level value"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("-x", "invalid character 'x' in numeric literal"),
        ] {
            assert_eq!(error(text), want, "{text:?}");
        }
        assert_eq!(error(&"[".repeat(100_000)), "exceeded max depth");
    }

    #[test]
    fn duplicates_are_named_with_their_path() {
        let parsed = parse(br#"{"spec":{"a":1,"a":2},"l":[{"x":1,"x":2}]}"#).unwrap();
        assert_eq!(parsed.duplicates, ["spec.a", "l[0].x"]);
        assert_eq!(parsed.value["spec"]["a"], 2);
    }

    #[test]
    fn odd_text_is_replaced_as_go_does() {
        assert_eq!(parse(b"\"x\xff\xfey\"").unwrap().value, json!("x\u{fffd}\u{fffd}y"));
        assert_eq!(parse(br#""\ud83d\ude00 \ud83d!""#).unwrap().value, json!("\u{1f600} \u{fffd}!"));
    }

    proptest! {
        #[test]
        fn what_is_plain_is_found_as_byte_by_byte(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'a')], 0..40)) {
            let want = bytes.iter().position(|c| matches!(c, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len());
            prop_assert_eq!(plain(&bytes), want);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
