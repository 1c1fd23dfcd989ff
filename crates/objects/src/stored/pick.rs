//! A part of an object as a tree: what stands at some paths, and nothing of the rest.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::find::Key;

/// The values at paths of names; lists on the way are walked through, element by element. What is on the way and neither an
/// object nor a list is null. No path may begin with another one; of a key that is repeated the last one counts.
///
/// # Errors
/// The text is no JSON.
pub(super) fn pick(json: &[u8], paths: &[&[&str]]) -> Result<Value, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let here = paths.iter().enumerate().fold(0, |all, (at, _)| all | 1_u32 << at);
    let picked = Level { paths, depth: 0, here }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(picked)
}

/// A value on the way, and which paths lead through it: a bit for each.
#[derive(Clone, Copy)]
struct Level<'p> {
    paths: &'p [&'p [&'p str]],
    depth: usize,
    here: u32,
}

impl<'a> DeserializeSeed<'a> for Level<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Value, A::Error> {
        let Level { paths, depth, here } = self;
        let mut picked = Map::new();
        while let Some(through) = map.next_key_seed(Key { paths, depth, here })? {
            if through == 0 {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let path = paths[through.trailing_zeros() as usize];
            let value = match path.len() == depth + 1 {
                true => map.next_value()?,
                false => map.next_value_seed(Level { paths, depth: depth + 1, here: through })?,
            };
            picked.insert(path[depth].to_owned(), value);
        }
        Ok(Value::Object(picked))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, _: &str) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}
