//! JSON with one text for each value, as Go's `encoding/json` writes a map: no spaces, keys in bytewise order at every
//! level, numbers as Go writes a `float64`.

use serde_json::{Number, Value};

use crate::json::write_str;

/// Appends a value.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(n) => out.extend_from_slice(number(n).as_bytes()),
        Value::String(text) => write_str(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(out, item);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (at, (key, item)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_str(out, key);
                out.push(b':');
                write(out, item);
            }
            out.push(b'}');
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
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
    }
}
