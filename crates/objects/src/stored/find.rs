//! Values at some paths of a JSON text, in one pass and without a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::de::Read;
use serde_json::value::RawValue;

/// What stands at each of the paths, as it is written; of a key that is repeated the last one, as a tree has it. No path may
/// begin with another one.
///
/// # Errors
/// The text is no JSON.
pub(super) fn find<'a, const N: usize>(
    json: &'a [u8],
    paths: &[&[&str]; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    // All of it at once is looked at faster than each string.
    match std::str::from_utf8(json) {
        Ok(text) => found_by(serde_json::Deserializer::from_str(text), paths),
        Err(_) => found_by(serde_json::Deserializer::from_slice(json), paths),
    }
}

fn found_by<'a, R: Read<'a>, const N: usize>(
    mut reader: serde_json::Deserializer<R>,
    paths: &[&[&str]; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut found = [None; N];
    let all = u32::MAX >> (32 - N as u32);
    Level { paths, found: &mut found, depth: 0, here: all, first: false }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// What stands at a path for the first time: nothing behind it is read.
pub(super) fn first<'a>(json: &'a [u8], path: &[&str]) -> Option<&'a RawValue> {
    let mut found = [None];
    let mut reader = serde_json::Deserializer::from_slice(json);
    // Leaving early is an error to the reader.
    let _ =
        Level { paths: &[path], found: &mut found, depth: 0, here: 1, first: true }.deserialize(&mut reader);
    found[0]
}

/// Calls with each member of an object whose value is a string.
pub(super) fn texts(json: &[u8], each: &mut dyn FnMut(&str, &str)) {
    struct Texts<'e>(&'e mut dyn FnMut(&str, &str));

    impl<'a> Visitor<'a> for Texts<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some((Text(key), value)) = map.next_entry::<Text<'a>, &RawValue>()? {
                if let Ok(Text(value)) = serde_json::from_str(value.get()) {
                    (self.0)(&key, &value);
                }
            }
            Ok(())
        }
    }

    // The bytes are a value that was found in JSON: what cannot be read of it is no string.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(Texts(each));
}

/// A string, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object on the way, and which paths lead through it: a bit for each.
struct Level<'p, 'a> {
    paths: &'p [&'p [&'p str]],
    found: &'p mut [Option<&'a RawValue>],
    depth: usize,
    here: u32,
    /// Whether to stop at what is found first.
    first: bool,
}

impl<'a> DeserializeSeed<'a> for Level<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Level<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Level { paths, found, depth, here, first } = self;
        while let Some(through) = map.next_key_seed(Key { paths, depth, here })? {
            if through == 0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let at = through.trailing_zeros() as usize;
            if paths[at].len() == depth + 1 {
                found[at] = Some(map.next_value()?);
                if first {
                    return Err(A::Error::custom("it is found"));
                }
            } else {
                // What an earlier one of the same key has left counts no more.
                (0..paths.len()).filter(|at| through & (1 << at) != 0).for_each(|at| found[at] = None);
                map.next_value_seed(Level {
                    paths,
                    found: &mut *found,
                    depth: depth + 1,
                    here: through,
                    first,
                })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A key: which of the paths lead on through it.
struct Key<'p> {
    paths: &'p [&'p [&'p str]],
    depth: usize,
    here: u32,
}

impl<'a> DeserializeSeed<'a> for Key<'_> {
    type Value = u32;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<u32, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<u32, E> {
        let (mut through, mut left) = (0, self.here);
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            if self.paths[at as usize][self.depth] == key {
                through |= 1 << at;
            }
        }
        Ok(through)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PATHS: [&[&str]; 4] = [&["a"], &["b", "a"], &["b", "c", "a"], &["c"]];

    fn texts(json: &str) -> [Option<String>; 4] {
        find(json.as_bytes(), &PATHS).unwrap().map(|raw| raw.map(|raw| raw.get().to_owned()))
    }

    #[test]
    fn values_are_found_as_they_are_written() {
        let found = texts(r#" {"x": [{"a": 1}], "b":{"a" : "\u0061","c":{"a":{ }}}, "\u0063": null}"#);
        assert_eq!(found, [None, Some(r#""\u0061""#.into()), Some("{ }".into()), Some("null".into())]);
        assert_eq!(texts("[1]"), [None, None, None, None]);
        let early = first(br#"{"x":{"a":0},"b":{"a":1},"b":{"a":2"#, &["b", "a"]);
        assert_eq!(early.map(RawValue::get), Some("1"), "what follows is not read");
        assert!(first(b"{}", &["b"]).is_none());
        assert!(find(br#"{"a":1"#, &PATHS).is_err() && find(br#"{"a":1}x"#, &PATHS).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<i64>().prop_map(Value::from),
            "[a\"ü\\\\]{0,3}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[abcd]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_same_is_found_as_in_a_tree(value in value()) {
            let text = value.to_string();
            let wanted = PATHS.map(|path| path.iter().try_fold(&value, |v, key| v.get(key)).map(Value::to_string));
            prop_assert_eq!(texts(&text), wanted);
        }

        /// As a tree has it, where a key is repeated.
        #[test]
        fn the_last_of_repeated_keys_counts(keys in prop::collection::vec(("[abc]", value()), 0..6)) {
            let members: Vec<_> = keys.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let text = format!("{{{}}}", members.join(","));
            let tree: Value = serde_json::from_str(&text).unwrap();
            let wanted = PATHS.map(|path| path.iter().try_fold(&tree, |v, key| v.get(key)).map(Value::to_string));
            prop_assert_eq!(texts(&text), wanted);
        }
    }
}
