//! What a token says: any JSON object, read so that nobody could read another one.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tokensmith_core::keys::Algorithm;
use tokensmith_core::tokens::Times;

use super::Untrusted;

/// A token that holds: what its issuer has signed.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedClaims {
    /// `iss`, one of the trusted.
    pub issuer: String,
    /// What its header says.
    pub header: SignedHeader,
    /// `exp`, Unix seconds; a fraction of a second is not counted.
    pub expires: i64,
    /// `nbf`, Unix seconds, rounded up.
    pub not_before: Option<i64>,
    /// `iat`, Unix seconds, rounded up.
    pub issued: Option<i64>,
    /// All of them, the registered ones as well, as they stand in the token.
    pub claims: Map<String, Value>,
}

/// The header of a token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeader {
    /// The key's algorithm.
    pub alg: Algorithm,
    /// The name that the issuer gives the key.
    pub kid: String,
    /// The kind of token (RFC 8725 §3.11), as it stands there.
    pub typ: Option<String>,
}

impl SignedClaims {
    /// A claim that is a text.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// `aud`: one text, or a list of them (RFC 7519 §4.1.3); `None` where it is something else. Nobody's is empty.
    pub fn audiences(&self) -> Option<Vec<&str>> {
        audiences(&self.claims)
    }
}

/// The same of claims that nobody has checked yet.
pub fn audiences(claims: &Map<String, Value>) -> Option<Vec<&str>> {
    match claims.get("aud") {
        None => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one]),
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect(),
        Some(_) => None,
    }
}

/// Reads a payload. A name that is there twice is refused (RFC 7519 §4 leaves that open): readers would differ.
pub(super) fn read(payload: &[u8]) -> Result<Map<String, Value>, Untrusted> {
    let read: Unique = serde_json::from_slice(payload)
        .map_err(|_| Untrusted::Malformed("its claims are no JSON object, or have a name twice"))?;
    match read.0 {
        Value::Object(claims) => Ok(claims),
        _ => Err(Untrusted::Malformed("its claims are no JSON object")),
    }
}

/// When it counts. What is there and no time is refused, not ignored.
pub(super) fn times(claims: &Map<String, Value>) -> Result<Times, Untrusted> {
    let rounded = |name: &str, round: fn(f64) -> f64, wrong: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(value) => seconds(value, round).map(Some).ok_or(Untrusted::Malformed(wrong)),
    };
    let times = Times {
        expires_at: rounded("exp", f64::floor, "its exp is no time")?,
        not_before: rounded("nbf", f64::ceil, "its nbf is no time")?,
        issued_at: rounded("iat", f64::ceil, "its iat is no time")?,
    };
    if times.expires_at.is_none() { Err(Untrusted::NoExpiry) } else { Ok(times) }
}

/// A NumericDate (RFC 7519 §2): a number, with a fraction if it likes, that whole seconds can hold.
fn seconds(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    let number = value.as_number()?;
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    // Below 2^53 whole numbers are exact; no clock comes there.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let whole = round(number.as_f64()?);
    (whole.abs() < EXACT).then_some(whole as i64)
}

/// A value none of whose objects has a name twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Seed.deserialize(deserializer).map(Unique)
    }
}

#[derive(Clone, Copy)]
struct Seed;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
