//! One step from a field to one below it (`fieldpath/element.go`, `serialize-pe.go`).

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;
use tokensmith_api::json;

use crate::value::{order, text};

/// One step of a path.
#[derive(Clone, Debug)]
pub enum Element {
    /// A member of a map by its name.
    Field(Box<str>),
    /// An item of a list by its keys, sorted by name.
    Key(Box<[(Box<str>, Value)]>),
    /// An item of a set by its value.
    Value(Value),
    /// An item of a list by its place.
    Index(i64),
}

impl Element {
    /// A member of a map.
    pub fn field(name: &str) -> Element {
        Element::Field(name.into())
    }

    /// An item by its keys, in any order.
    pub fn key(mut keys: Vec<(Box<str>, Value)>) -> Element {
        keys.sort_by(|one, other| one.0.cmp(&other.0));
        Element::Key(keys.into())
    }

    /// As FieldsV1 writes it: `f:NAME`, `k:{…}`, `v:…`, `i:…`.
    pub fn written(&self) -> String {
        let value = |value: &Value| String::from_utf8(json::to_vec(value)).unwrap_or_default();
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(keys) => {
                let keys = keys.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
                format!("k:{}", value(&Value::Object(keys)))
            }
            Element::Value(of) => format!("v:{}", value(of)),
            Element::Index(at) => format!("i:{at}"),
        }
    }

    /// Reads it; `Ok(None)` is what a later version may know.
    ///
    /// # Errors
    /// It is not written so.
    pub fn read(text: &str) -> Result<Option<Element>, String> {
        if text.len() < 2 {
            return Err("key must be 2 characters long:".into());
        }
        let Some((sort, rest)) = text.split_once(':').filter(|(sort, _)| sort.len() == 1) else {
            return Err(format!("missing colon: {text}"));
        };
        let value =
            |text: &str| json::parse(text.as_bytes()).map(|read| read.value).map_err(|e| e.to_string());
        Ok(Some(match sort {
            "f" => Element::field(rest),
            "v" => Element::Value(value(rest)?),
            "k" => match value(rest)? {
                Value::Object(keys) => {
                    Element::key(keys.into_iter().map(|(name, value)| (name.into(), value)).collect())
                }
                Value::Null => Element::key(Vec::new()),
                _ => return Err("expect { or n".into()),
            },
            "i" => {
                let at = rest.parse().map_err(|_| format!("{rest:?} is no index"))?;
                Element::Index(at)
            }
            _ => return Ok(None),
        }))
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(keys) => {
                let keys: Vec<_> =
                    keys.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
                write!(f, "[{}]", keys.join(","))
            }
            Element::Value(value) => write!(f, "[={}]", text(value)),
            Element::Index(at) => write!(f, "[{at}]"),
        }
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        use Element::{Field, Index, Key, Value};
        match (self, other) {
            (Field(one), Field(other)) => one.cmp(other),
            (Key(one), Key(other)) => {
                let pairs = one.iter().zip(other);
                let mut found =
                    pairs.map(|(one, other)| one.0.cmp(&other.0).then_with(|| order(&one.1, &other.1)));
                found.find(|found| found.is_ne()).unwrap_or_else(|| one.len().cmp(&other.len()))
            }
            (Value(one), Value(other)) => order(one, other),
            (Index(one), Index(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Element {
    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Value(_) => 2,
            Element::Index(_) => 3,
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element {}

impl From<&str> for Element {
    fn from(name: &str) -> Self {
        Element::field(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_written_and_read() {
        for written in [
            "f:name",
            "f:",
            "f:a:b",
            r#"k:{"containerPort":80,"protocol":"TCP"}"#,
            r#"v:"a""#,
            "v:1",
            "v:1.5",
            "v:true",
            "v:null",
            r#"v:"\u003ca\u003e""#,
            "i:0",
            "i:-1",
        ] {
            assert_eq!(Element::read(written).unwrap().unwrap().written(), written);
        }
        // Keys have one order, whoever has written them.
        let keys = Element::read(r#"k:{"b":1,"a":2}"#).unwrap().unwrap();
        assert_eq!(keys.written(), r#"k:{"a":2,"b":1}"#);
        assert_eq!(keys.to_string(), "[a=2,b=1]");
        assert_eq!(Element::read("x:later").unwrap(), None);
        for bad in ["", "f", "name", "ff:a", "k:{", "k:[]", "v:", "v:1 2", "i:a"] {
            assert!(Element::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn elements_have_one_order() {
        let sorted = [
            "f:",
            "f:a",
            "f:aa",
            "f:b",
            r#"k:{"a":1}"#,
            r#"k:{"a":1,"b":1}"#,
            r#"k:{"a":2}"#,
            r#"k:{"b":0}"#,
            "v:1",
            "v:2.5",
            "v:10",
            r#"v:"1""#,
            "v:false",
            "i:1",
            "i:2",
        ];
        let read: Vec<_> = sorted.iter().map(|text| Element::read(text).unwrap().unwrap()).collect();
        for (at, one) in read.iter().enumerate() {
            for (to, other) in read.iter().enumerate() {
                assert_eq!(one.cmp(other), at.cmp(&to), "{one} {other}");
            }
        }
    }
}
