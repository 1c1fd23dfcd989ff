//! Objects of every kind for tests: made from the types, differently for each seed.

use serde_json::{Map, Value};

use crate::schema::{Field, Kind, Shape, TypeRef, api_version};

/// An object of a kind, as a decoded one is: values that Go would leave out are not in it.
pub(crate) fn object(kind: &Kind, seed: u64) -> Value {
    let mut some = Some(seed.wrapping_add(1));
    let mut map = Map::new();
    map.insert("kind".into(), kind.kind.as_str().into());
    map.insert("apiVersion".into(), api_version(&kind.group, &kind.version).into());
    some.message(kind.message(), &mut map, 0);
    Value::Object(map)
}

/// A generator of numbers that need not be good, only different.
type Numbers = Option<u64>;

trait Make {
    fn next(&mut self, below: u64) -> u64;
    fn message(&mut self, of: TypeRef<'_>, map: &mut Map<String, Value>, depth: usize);
    fn value(&mut self, owner: TypeRef<'_>, shape: &Shape, depth: usize) -> Value;
    fn text(&mut self) -> String;
}

impl Make for Numbers {
    fn next(&mut self, below: u64) -> u64 {
        let mut x = self.unwrap_or(1);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *self = Some(x);
        x % below
    }

    fn text(&mut self) -> String {
        ["a", "", "web", "<&>", "\"quoted\\", "ü\u{2028}\n", "10"][self.next(7) as usize].into()
    }

    fn message(&mut self, of: TypeRef<'_>, map: &mut Map<String, Value>, depth: usize) {
        for field in of.fields() {
            if let (Shape::Message(inner), true) = (&field.shape, field.inline) {
                if field.number > 0 {
                    self.message(of.at(*inner), map, depth);
                }
                continue;
            }
            if self.next(if depth > 3 { 12 } else { 3 }) == 0 && !field.name.is_empty() {
                let value = self.value(of, &field.shape, depth + 1);
                let hidden = |field: &Field| field.omits(&value);
                if !hidden(field) {
                    map.insert(field.name.to_string(), value);
                }
            }
        }
    }

    fn value(&mut self, owner: TypeRef<'_>, shape: &Shape, depth: usize) -> Value {
        match shape {
            Shape::Bool => (self.next(2) == 0).into(),
            Shape::Bytes => ["", "YQ==", "AAEC"][self.next(3) as usize].into(),
            Shape::Duration => ["0s", "1m0s", "1h2m3.5s"][self.next(3) as usize].into(),
            Shape::Either(id) => {
                let of = owner.at(*id);
                let at = self.next(of.fields().len() as u64) as usize;
                self.value(of, &of.fields()[at].shape, depth + 1)
            }
            Shape::Fields => serde_json::json!({"f:a": {}, "f:b": {"f:c": {}}}),
            Shape::Float64 => {
                [Value::from(0), Value::from(1.5), Value::from(-7)][self.next(3) as usize].clone()
            }
            Shape::Int32 | Shape::Int64 => (self.next(5) as i64 - 2).into(),
            Shape::IntOrString => {
                if self.next(2) == 0 {
                    "http".into()
                } else {
                    (self.next(3) as i64).into()
                }
            }
            Shape::List(of) => (0..self.next(3)).map(|_| self.value(owner, of, depth + 1)).collect(),
            Shape::Map(of) => {
                let keys = ["a", "b", "c"];
                let some = (0..self.next(4) as usize).map(|at| keys[at.min(2)].to_owned());
                Value::Object(
                    some.collect::<Vec<_>>()
                        .into_iter()
                        .map(|key| (key, self.value(owner, of, depth + 1)))
                        .collect(),
                )
            }
            Shape::Message(id) => {
                let mut map = Map::new();
                self.message(owner.at(*id), &mut map, depth + 1);
                Value::Object(map)
            }
            Shape::MicroTime => "2020-01-02T03:04:05.000006Z".into(),
            Shape::Quantity => ["0", "100m", "1Gi", "2"][self.next(4) as usize].into(),
            Shape::Raw => [Value::from("raw"), serde_json::json!({"b": [1, null], "a": {}}), true.into()]
                [self.next(3) as usize]
                .clone(),
            Shape::String => self.text().into(),
            Shape::Strings => (0..self.next(3)).map(|_| Value::from(self.text())).collect(),
            Shape::Time => "2020-01-02T03:04:05Z".into(),
        }
    }
}
