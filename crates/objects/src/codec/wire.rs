//! Whether JSON is what [`encode_of`](super::encode_of) would write of it: in one walk, without a tree.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;
use tokensmith_api::json::{shown, write, write_str};

use crate::cursor::{Cursor, Malformed, Text};
use crate::schema::{Field, Kind, Shape, TypeRef};

/// Whether an object of a kind would be encoded as these bytes, but for the newline at the end. What is rare may be called
/// different although it is not; never the other way round.
pub fn is_wire(kind: &Kind, json: &[u8]) -> bool {
    let walk = || {
        let mut from = Cursor::new(json)?;
        object(&mut from, kind.message())?;
        from.end().map_err(|_| Differs)
    };
    walk().is_ok()
}

/// It would be written differently, or may be.
struct Differs;

impl From<Malformed> for Differs {
    fn from(_: Malformed) -> Differs {
        Differs
    }
}

/// What a value is, as far as it decides whether it is shown at all.
enum Is {
    EmptyList,
    EmptyMap,
    EmptyText,
    False,
    Full,
    Null,
    Zero,
}

/// A whole object: with `kind` and `apiVersion`.
fn object(from: &mut Cursor<'_>, of: TypeRef<'_>) -> Result<(), Differs> {
    from.enter("{")?;
    for name in ["kind", "apiVersion"] {
        match from.member()?.and_then(Text::plain) {
            Some(key) if key == name => as_it_is(from)?,
            _ => return Err(Differs),
        };
    }
    message(from, &mut Fields::new(of, true)).map(drop)
}

/// A value of a shape.
fn value(from: &mut Cursor<'_>, owner: TypeRef<'_>, shape: &Shape) -> Result<Is, Differs> {
    match (shape, from.peek()) {
        // Only a tree tells.
        (Shape::Either(_), _) => Err(Differs),
        (Shape::List(of), b'[') => list(from, |from| value(from, owner, of)),
        (Shape::Map(of), b'{') => map(from, owner, of),
        (Shape::Message(id), b'{') => {
            from.enter("{")?;
            message(from, &mut Fields::new(owner.at(*id), false))
        }
        // Of another type than it should be; that is rare.
        (Shape::List(_) | Shape::Map(_) | Shape::Message(_), b) if b != b'n' => Err(Differs),
        _ => as_it_is(from),
    }
}

/// A value that is written as it is.
fn as_it_is(from: &mut Cursor<'_>) -> Result<Is, Differs> {
    match from.peek() {
        b'{' => {
            from.enter("{")?;
            let (mut seen, mut empty) = (HashSet::new(), true);
            while let Some(name) = from.member()? {
                empty = false;
                // A tree has a key once.
                if !seen.insert(text(name)?) {
                    return Err(Differs);
                }
                as_it_is(from)?;
            }
            Ok(if empty { Is::EmptyMap } else { Is::Full })
        }
        b'[' => list(from, as_it_is),
        b'"' => Ok(if text(from.string()?)?.is_empty() { Is::EmptyText } else { Is::Full }),
        b'n' => from.null().map(|_| Is::Null).map_err(Differs::from),
        b't' | b'f' => Ok(if from.bool()? { Is::Full } else { Is::False }),
        _ => number(from.number()?),
    }
}

fn list(
    from: &mut Cursor<'_>,
    mut item: impl FnMut(&mut Cursor<'_>) -> Result<Is, Differs>,
) -> Result<Is, Differs> {
    from.enter("[")?;
    let mut empty = true;
    while from.item()? {
        empty = false;
        item(from)?;
    }
    Ok(if empty { Is::EmptyList } else { Is::Full })
}

fn map(from: &mut Cursor<'_>, owner: TypeRef<'_>, of: &Shape) -> Result<Is, Differs> {
    from.enter("{")?;
    let mut before: Option<Cow<'_, str>> = None;
    while let Some(name) = from.member()? {
        let name = text(name)?;
        // Go writes maps with sorted keys.
        if before.is_some_and(|before| before >= name) {
            return Err(Differs);
        }
        before = Some(name);
        value(from, owner, of)?;
    }
    Ok(if before.is_none() { Is::EmptyMap } else { Is::Full })
}

/// What a text says, if that is written as it stands there.
fn text(text: Text<'_>) -> Result<Cow<'_, str>, Differs> {
    if let Some(plain) = text.plain()
        && shown(plain.as_bytes()) == plain.len()
    {
        return Ok(plain.into());
    }
    let says = text.read().ok_or(Differs)?;
    let mut written = Vec::new();
    write_str(&mut written, &says);
    if written == text.quoted().as_bytes() { Ok(says) } else { Err(Differs) }
}

fn number(text: &str) -> Result<Is, Differs> {
    let number: Value = serde_json::from_str(text).map_err(|_| Differs)?;
    // What is a whole number has one form; `-0` is none.
    if !number.is_i64() && !number.is_u64() {
        let mut written = Vec::new();
        write(&mut written, &number);
        if written != text.as_bytes() {
            return Err(Differs);
        }
    }
    Ok(if number.as_f64() == Some(0.0) { Is::Zero } else { Is::Full })
}

/// The members of a message: each field in its place, those that are always shown all there, those that are not shown not.
fn message(from: &mut Cursor<'_>, fields: &mut Fields<'_>) -> Result<Is, Differs> {
    let mut empty = true;
    while let Some(name) = from.member()? {
        empty = false;
        let name = name.plain().ok_or(Differs)?;
        let (owner, field) = fields.until(name).ok_or(Differs)?;
        // That of the object is told apart from its bytes.
        if name == "resourceVersion" {
            return Err(Differs);
        }
        let shown = match value(from, owner, &field.shape)? {
            Is::Full => true,
            Is::Null => field.always && shows_null(field),
            Is::EmptyList => !field.omits(&Value::Array(Vec::new())),
            Is::EmptyMap => !field.omits(&Value::Object(serde_json::Map::new())),
            Is::EmptyText => !field.omits(&Value::String(String::new())),
            Is::False => !field.omits(&Value::Bool(false)),
            Is::Zero => !field.omits(&0.into()),
        };
        if !shown {
            return Err(Differs);
        }
    }
    match fields.until("").is_some() || fields.missed {
        true => Err(Differs),
        false => Ok(if empty { Is::EmptyMap } else { Is::Full }),
    }
}

/// Whether Go shows `null` of a field that is always shown, where nothing is there.
fn shows_null(field: &Field) -> bool {
    field.pointer
        || matches!(
            field.shape,
            Shape::Bytes
                | Shape::List(_)
                | Shape::Map(_)
                | Shape::MicroTime
                | Shape::Raw
                | Shape::Strings
                | Shape::Time
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
