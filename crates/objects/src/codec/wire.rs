//! Whether JSON is what [`encode_of`](super::encode_of) would write of it: in one walk, without a tree.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tokensmith_api::json::{write, write_str};

use crate::schema::{Field, Kind, Shape, TypeRef};

/// Whether an object of a kind would be encoded as these bytes, but for the newline at the end. What is rare may be called
/// different although it is not; never the other way round.
pub fn is_wire(kind: &Kind, json: &[u8]) -> bool {
    let mut walk = Walk { json, at: 0, text: Vec::new() };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let same = Of { walk: &mut walk, what: What::Object(kind.message()) }.deserialize(&mut reader).is_ok();
    same && reader.end().is_ok() && walk.at == json.len()
}

/// How far the bytes have been found to be those that would be written.
struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    /// What a text or a number is written as; kept, for its room.
    text: Vec<u8>,
}

impl Walk<'_> {
    fn eat<E: Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        if !self.json[self.at..].starts_with(bytes) {
            return Err(differs());
        }
        self.at += bytes.len();
        Ok(())
    }

    fn eat_text<E: Error>(&mut self, text: &str) -> Result<(), E> {
        // Most texts stand there as they are, and nothing in them is written otherwise.
        if let Some((b'"', rest)) = self.json[self.at..].split_first()
            && let Some(rest) = rest.strip_prefix(text.as_bytes())
            && rest.first() == Some(&b'"')
            && !text.bytes().any(|c| matches!(c, b'<' | b'>' | b'&' | b'"' | b'\\' | 0xe2 | 0..0x20))
        {
            self.at += text.len() + 2;
            return Ok(());
        }
        self.eat_written(|out| write_str(out, text))
    }

    fn eat_key<E: Error>(&mut self, first: bool, key: &str) -> Result<(), E> {
        if !first {
            self.eat(b",")?;
        }
        self.eat_text(key)?;
        self.eat(b":")
    }

    fn eat_written<E: Error>(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), E> {
        self.text.clear();
        write(&mut self.text);
        let written = std::mem::take(&mut self.text);
        let eaten = self.eat(&written);
        self.text = written;
        eaten
    }
}

fn differs<E: Error>() -> E {
    E::custom("it would be written differently")
}

/// What a value is written as.
#[derive(Clone, Copy)]
enum What<'t> {
    /// As it is.
    Any,
    List(TypeRef<'t>, &'t Shape),
    Map(TypeRef<'t>, &'t Shape),
    Message(TypeRef<'t>),
    /// A whole object: with `kind` and `apiVersion`.
    Object(TypeRef<'t>),
}

impl<'t> What<'t> {
    /// `None` where only a tree tells.
    fn of(owner: TypeRef<'t>, shape: &'t Shape) -> Option<Self> {
        Some(match shape {
            Shape::Either(_) => return None,
            Shape::List(of) => What::List(owner, of),
            Shape::Map(of) => What::Map(owner, of),
            Shape::Message(id) => What::Message(owner.at(*id)),
            _ => What::Any,
        })
    }
}

/// A value that is to be walked.
struct Of<'w, 'a, 't> {
    walk: &'w mut Walk<'a>,
    what: What<'t>,
}

/// What a value was, as far as it decides whether it is shown at all.
enum Was {
    EmptyList,
    EmptyMap,
    EmptyText,
    False,
    Full,
    Null,
    Zero,
}

impl<'a> DeserializeSeed<'a> for Of<'_, '_, '_> {
    type Value = Was;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Was, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Of<'_, '_, '_> {
    type Value = Was;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Was, A::Error> {
        let Of { walk, what } = self;
        walk.eat(b"{")?;
        let mut first = true;
        match what {
            What::List(..) => return Err(differs()),
            What::Any => {
                let mut seen = HashSet::new();
                while let Some(Text(key)) = map.next_key()? {
                    walk.eat_key(std::mem::take(&mut first), &key)?;
                    map.next_value_seed(Of { walk: &mut *walk, what })?;
                    // A tree has a key once.
                    if !seen.insert(key) {
                        return Err(differs());
                    }
                }
            }
            What::Map(owner, shape) => {
                let what = What::of(owner, shape).ok_or_else(differs)?;
                let mut before: Option<Cow<'a, str>> = None;
                while let Some(Text(key)) = map.next_key()? {
                    // Go writes maps with sorted keys.
                    if before.is_some_and(|before| before >= key) {
                        return Err(differs());
                    }
                    walk.eat_key(std::mem::take(&mut first), &key)?;
                    map.next_value_seed(Of { walk: &mut *walk, what })?;
                    before = Some(key);
                }
            }
            What::Message(of) => {
                let mut fields = Fields::new(of, false);
                message(walk, &mut map, &mut fields, &mut first)?;
            }
            What::Object(of) => {
                for name in ["kind", "apiVersion"] {
                    match map.next_key()? {
                        Some(Text(key)) if key == name => {}
                        _ => return Err(differs()),
                    }
                    walk.eat_key(std::mem::take(&mut first), name)?;
                    map.next_value_seed(Of { walk: &mut *walk, what: What::Any })?;
                }
                let mut fields = Fields::new(of, true);
                message(walk, &mut map, &mut fields, &mut first)?;
            }
        }
        walk.eat(b"}")?;
        Ok(if first { Was::EmptyMap } else { Was::Full })
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Was, A::Error> {
        let Of { walk, what } = self;
        let what = match what {
            What::Any => What::Any,
            What::List(owner, shape) => What::of(owner, shape).ok_or_else(differs)?,
            _ => return Err(differs()),
        };
        walk.eat(b"[")?;
        let mut first = true;
        while list.next_element_seed(Item { walk: &mut *walk, what, first })?.is_some() {
            first = false;
        }
        walk.eat(b"]")?;
        Ok(if first { Was::EmptyList } else { Was::Full })
    }

    fn visit_bool<E: Error>(self, set: bool) -> Result<Was, E> {
        self.scalar(|walk| walk.eat(if set { b"true" } else { b"false" }))?;
        Ok(if set { Was::Full } else { Was::False })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Was, E> {
        self.number(number.into(), number == 0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Was, E> {
        self.number(number.into(), number == 0)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Was, E> {
        self.number(number.into(), number == 0.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Was, E> {
        self.scalar(|walk| walk.eat_text(text))?;
        Ok(if text.is_empty() { Was::EmptyText } else { Was::Full })
    }

    fn visit_unit<E: Error>(self) -> Result<Was, E> {
        self.walk.eat(b"null")?;
        Ok(Was::Null)
    }
}

impl Of<'_, '_, '_> {
    fn scalar<E: Error>(self, eat: impl FnOnce(&mut Walk<'_>) -> Result<(), E>) -> Result<(), E> {
        // A message that is none is written as it is; that is rare.
        if matches!(self.what, What::Any) { eat(self.walk) } else { Err(differs()) }
    }

    fn number<E: Error>(self, number: Value, zero: bool) -> Result<Was, E> {
        self.scalar(|walk| walk.eat_written(|out| write(out, &number)))?;
        Ok(if zero { Was::Zero } else { Was::Full })
    }
}

/// An element of a list.
struct Item<'w, 'a, 't> {
    walk: &'w mut Walk<'a>,
    what: What<'t>,
    first: bool,
}

impl<'a> DeserializeSeed<'a> for Item<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        if !self.first {
            self.walk.eat(b",")?;
        }
        Of { walk: self.walk, what: self.what }.deserialize(reader).map(drop)
    }
}

/// The members of a message: each field in its place, those that are always shown all there, those that are not shown not.
fn message<'a, A: MapAccess<'a>>(
    walk: &mut Walk<'_>,
    map: &mut A,
    fields: &mut Fields<'_>,
    first: &mut bool,
) -> Result<(), A::Error> {
    while let Some(Text(key)) = map.next_key()? {
        let (owner, field) = fields.until(&key).ok_or_else(differs)?;
        // That of the object is told apart from its bytes.
        if key == "resourceVersion" {
            return Err(differs());
        }
        walk.eat_key(std::mem::take(first), &key)?;
        let Some(what) = What::of(owner, &field.shape) else {
            map.next_value::<IgnoredAny>()?;
            return Err(differs());
        };
        let was = map.next_value_seed(Of { walk: &mut *walk, what })?;
        let shown = match was {
            Was::Full => true,
            Was::Null => field.always && shows_null(field),
            Was::EmptyList => !field.omits(&Value::Array(Vec::new())),
            Was::EmptyMap => !field.omits(&Value::Object(serde_json::Map::new())),
            Was::EmptyText => !field.omits(&Value::String(String::new())),
            Was::False => !field.omits(&Value::Bool(false)),
            Was::Zero => !field.omits(&0.into()),
        };
        if !shown {
            return Err(differs());
        }
    }
    if fields.until("").is_some() || fields.missed { Err(differs()) } else { Ok(()) }
}

/// Whether Go shows `null` of a field that is always shown, where nothing is there.
fn shows_null(field: &Field) -> bool {
    field.pointer
        || matches!(
            field.shape,
            Shape::Bytes | Shape::List(_) | Shape::Map(_) | Shape::MicroTime | Shape::Strings | Shape::Time
        )
}

/// What is left of a type's fields; and whether it is an object's own type, or an embedded one.
type Place<'t> = (TypeRef<'t>, std::slice::Iter<'t, Field>, bool);

/// A type's fields in Go's order, those of embedded types in their place.
struct Fields<'t> {
    here: Place<'t>,
    /// Those of the types that embed it.
    around: Vec<Place<'t>>,
    /// One that is always shown was passed.
    missed: bool,
}

impl<'t> Fields<'t> {
    fn new(of: TypeRef<'t>, top: bool) -> Self {
        Fields { here: (of, of.fields().iter(), top), around: Vec::new(), missed: false }
    }

    /// The next field of this name.
    fn until(&mut self, name: &str) -> Option<(TypeRef<'t>, &'t Field)> {
        loop {
            let (owner, fields, top) = &mut self.here;
            let (owner, top) = (*owner, *top);
            let Some(field) = fields.next() else {
                self.here = self.around.pop()?;
                continue;
            };
            if let (Shape::Message(inner), true) = (&field.shape, field.inline) {
                if field.number > 0 || !top {
                    let inner = owner.at(*inner);
                    let around = std::mem::replace(&mut self.here, (inner, inner.fields().iter(), true));
                    self.around.push(around);
                }
                continue;
            }
            if *field.name == *name {
                return (!self.missed).then_some((owner, field));
            }
            self.missed |= field.always;
        }
    }
}

/// A string, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};
    use tokensmith_api::Media;

    use super::*;
    use crate::codec::{encode_of, samples};
    use crate::schema;

    fn written(kind: &Kind, value: &Value) -> Vec<u8> {
        let empty = Map::new();
        let mut json = encode_of(kind, value.as_object().unwrap_or(&empty), Media::Json, false);
        json.pop();
        json
    }

    fn same(kind: &Kind, json: &[u8]) -> bool {
        serde_json::from_slice(json)
            .is_ok_and(|value: Value| value.is_object() && written(kind, &value) == json)
    }

    #[test]
    fn what_was_encoded_is_known() {
        for kind in schema::Schema::builtin().kinds().filter(|kind| kind.stored) {
            for seed in 0..40 {
                let json = written(kind, &samples::object(kind, seed));
                assert!(same(kind, &json));
                let text = String::from_utf8_lossy(&json);
                assert!(is_wire(kind, &json) || text.contains("\"resourceVersion\""), "{seed}: {text}");
            }
        }
    }

    #[test]
    fn what_would_be_written_differently_is_told() {
        let kind = schema::kind("", "pods").unwrap();
        let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "n", "labels": {"a": "<", "b": ""}, "creationTimestamp": "2020-01-01T00:00:00Z"}, "spec": {"containers": [{"name": "c", "resources": {}}], "hostNetwork": true}, "status": {}});
        let good = String::from_utf8(written(kind, &pod)).unwrap();
        assert!(is_wire(kind, good.as_bytes()), "{good}");
        for (from, to) in [
            ("\"name\":\"a\",\"namespace\":\"n\"", "\"namespace\":\"n\",\"name\":\"a\""),
            ("\"name\":\"a\",", "\"name\":\"a\", "),
            ("\"name\":\"a\",", "\"name\":\"a\",\"name\":\"a\","),
            ("\"name\":\"a\",", "\"name\":\"a\",\"x\":1,"),
            ("\"name\":\"a\",", "\"name\":\"\","),
            ("\"name\":\"a\",", "\"name\":\"\\u0061\","),
            ("\\u003c", "<"),
            ("{\"a\":\"\\u003c\",\"b\":\"\"}", "{\"b\":\"\",\"a\":\"\\u003c\"}"),
            ("\"hostNetwork\":true", "\"hostNetwork\":false"),
            (",\"resources\":{}", ""),
            (",\"status\":{}", ""),
            ("\"kind\":\"Pod\",\"apiVersion\":\"v1\"", "\"apiVersion\":\"v1\",\"kind\":\"Pod\""),
            ("\"status\":{}}", "\"status\":{}} "),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            assert!(!is_wire(kind, bad.as_bytes()) && !same(kind, bad.as_bytes()), "{bad}");
        }
    }

    proptest! {
        /// Never the other way round: whatever is called the same would be written so.
        #[test]
        fn what_is_called_the_same_is(seed in 0_u64..1_000, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0_usize..3) {
            for (group, plural) in [("", "pods"), ("", "configmaps"), ("rbac.authorization.k8s.io", "clusterroles")] {
                let kind = schema::kind(group, plural).unwrap();
                let mut json = written(kind, &samples::object(kind, seed));
                let at = at.index(json.len());
                let end = (at + cut).min(json.len());
                json.splice(at..end, [byte]);
                prop_assert!(!is_wire(kind, &json) || same(kind, &json), "{}", String::from_utf8_lossy(&json));
            }
        }
    }
}
