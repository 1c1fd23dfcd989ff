//! The one writer: compact, escaped and with numbers as Go's `encoding/json` has them. Whoever knows more of an object than its
//! tree (the order of its fields, claims that come between) writes it with [`Members`] and [`list`].

use serde_json::{Map, Number, Value};

use super::read::{below, each, first};

/// An object that is being written, member by member.
pub struct Members<'a> {
    out: &'a mut Vec<u8>,
    any: bool,
}

impl<'a> Members<'a> {
    /// Begins it.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Members { out, any: false }
    }

    /// Begins a member; its value is to be appended to what this gives.
    pub fn member(&mut self, name: &str) -> &mut Vec<u8> {
        self.separate();
        write_str(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Adds a member that has been written already: `"NAME":VALUE`.
    pub fn written(&mut self, member: &[u8]) {
        self.separate();
        self.out.extend_from_slice(member);
    }

    /// Ends it.
    pub fn end(self) {
        self.out.push(b'}');
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.any, true) {
            self.out.push(b',');
        }
    }
}

/// Writes a list, each item in its own way.
pub fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(out, item);
    }
    out.push(b']');
}

/// Writes a value, keys in the maps' order.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    value_in(out, value, false);
}

/// Writes a value with one text for each: keys in bytewise order at every level, as Go writes a map.
pub fn write_sorted(out: &mut Vec<u8>, value: &Value) {
    value_in(out, value, true);
}

/// A map's entries in bytewise order.
pub fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

/// A value in compact form.
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value);
    out
}

/// Appends an integer.
pub fn write_int(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn value_in(out: &mut Vec<u8>, value: &Value, sort: bool) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(set) => out.extend_from_slice(if *set { b"true" } else { b"false" }),
        Value::Number(n) => out.extend_from_slice(number(n).as_bytes()),
        Value::String(text) => write_str(out, text),
        Value::Array(items) => list(out, items, |out, item| value_in(out, item, sort)),
        Value::Object(map) => {
            let mut object = Members::begin(out);
            let each = |(name, value): (&String, &Value)| value_in(object.member(name), value, sort);
            match sort {
                true => sorted(map).into_iter().for_each(each),
                false => map.iter().for_each(each),
            }
            object.end();
        }
    }
}

/// Integers of 64 bits stay what they are, where Go's `float64` would round them; `1.0` is `1`, `0.0000001` is `1e-7`.
fn number(n: &Number) -> String {
    match n.as_f64() {
        Some(float) if n.is_f64() => match float.abs() {
            size if size != 0.0 && size < 1e-6 => format!("{float:e}"),
            // Go sets the sign of an exponent; Rust does so below zero only.
            size if size >= 1e21 => format!("{float:e}").replacen('e', "e+", 1),
            _ => float.to_string(),
        },
        _ => n.to_string(),
    }
}

/// Writes a string with quotes, escaped as Go's `encoding/json` does: also `<`, `>`, `&`, U+2028 and U+2029,
/// which would otherwise end a script element in a page that embeds the JSON.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut bytes = text.as_bytes();
    loop {
        let (plain, rest) = bytes.split_at(shown(bytes));
        out.extend_from_slice(plain);
        let Some((&c, behind)) = rest.split_first() else { break };
        bytes = behind;
        let escape: &[u8] = match c {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            b'<' => b"\\u003c",
            b'>' => b"\\u003e",
            b'&' => b"\\u0026",
            0xe2 => match rest.get(..3) {
                Some([_, 0x80, last @ (0xa8 | 0xa9)]) => {
                    bytes = &rest[3..];
                    if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" }
                }
                _ => &rest[..1],
            },
            c => {
                out.extend_from_slice(format!("\\u{c:04x}").as_bytes());
                continue;
            }
        };
        out.extend_from_slice(escape);
    }
    out.push(b'"');
}

/// How many bytes of a text come before one that may have to be escaped.
pub fn shown(bytes: &[u8]) -> usize {
    // `<` and `>` differ in one bit, and so do `"` and `&`. U+2028 and U+2029 begin with 0xe2.
    let special = |word: u64| {
        below((word | each(2)) ^ each(b'>'), 1)
            | below((word | each(4)) ^ each(b'&'), 1)
            | below(word ^ each(b'\\'), 1)
            | below(word ^ each(0xe2), 1)
            | below(word, 0x20)
    };
    first(bytes, special, |c| matches!(c, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2 | 0..0x20))
}

/// Compact JSON, indented by two spaces as Go's `json.Indent` does.
pub fn indent(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    for (at, &c) in compact.iter().enumerate() {
        if quoted {
            out.push(c);
            quoted = escaped || c != b'"';
            escaped = !escaped && c == b'\\';
            continue;
        }
        match c {
            b'{' | b'[' => {
                out.push(c);
                if !matches!(compact.get(at + 1), Some(b'}' | b']')) {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                if !matches!(compact.get(at.wrapping_sub(1)), Some(b'{' | b'[')) {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(c);
            }
            b',' => {
                out.push(c);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            c => {
                quoted = c == b'"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::parse;

    #[test]
    fn writes_what_go_writes() {
        let value = json!({"a": "<&>\u{2028}\"\\\u{1}", "b": []});
        assert_eq!(to_vec(&value), br#"{"a":"\u003c\u0026\u003e\u2028\"\\\u0001","b":[]}"#);
        assert_eq!(
            indent(br#"{"a":[1,"{,"],"b":{}}"#),
            b"{\n  \"a\": [\n    1,\n    \"{,\"\n  ],\n  \"b\": {}\n}"
        );
    }

    fn text(value: &Value) -> String {
        let mut out = Vec::new();
        write_sorted(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_are_sorted_by_their_bytes() {
        let value = json!({"b": {"z": 1, "Z": [{"2": null, "10": true}]}, "a": "<", "é": false, "~": {}});
        assert_eq!(text(&value), r#"{"a":"\u003c","b":{"Z":[{"10":true,"2":null}],"z":1},"~":{},"é":false}"#);
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (value, want) in [
            (json!(0), "0"),
            (json!(i64::MIN), "-9223372036854775808"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(1.0), "1"),
            (json!(-0.0), "-0"),
            (json!(1.5), "1.5"),
            (json!(0.000001), "0.000001"),
            (json!(0.0000001), "1e-7"),
            (json!(-1.25e-9), "-1.25e-9"),
            (json!(1e20), "100000000000000000000"),
            (json!(1e21), "1e+21"),
            (json!(1.5e300), "1.5e+300"),
        ] {
            assert_eq!(text(&value), want);
        }
    }

    proptest! {
        #[test]
        fn floats_are_read_back(bits in any::<u64>()) {
            let float = f64::from_bits(bits);
            prop_assume!(float.is_finite());
            // Not by serde_json's own reader, which may be off by the last bits.
            prop_assert_eq!(text(&json!(float)).parse::<f64>().unwrap(), float);
        }

        /// As Go does it, byte by byte.
        #[test]
        fn strings_are_escaped_wherever_they_stand(text in "[a-z<>&\"\\\\\u{0}-\u{1f}\u{2027}-\u{202a}é€🦀]{0,40}") {
            let mut want = String::new();
            for c in text.chars() {
                match c {
                    '"' | '\\' => want.extend(['\\', c]),
                    '\n' => want.push_str("\\n"),
                    '\r' => want.push_str("\\r"),
                    '\t' => want.push_str("\\t"),
                    '\u{8}' => want.push_str("\\b"),
                    '\u{c}' => want.push_str("\\f"),
                    '<' | '>' | '&' | '\0'..' ' | '\u{2028}' | '\u{2029}' => want.push_str(&format!("\\u{:04x}", c as u32)),
                    c => want.push(c),
                }
            }
            let mut out = Vec::new();
            write_str(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("\"{want}\""));
        }

        #[test]
        fn reads_back_what_it_writes(text in "\\PC*") {
            let value = json!({ "k": text });
            prop_assert_eq!(parse(&to_vec(&value)).unwrap().value, value);
        }
    }
}
