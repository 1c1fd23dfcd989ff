use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokensmith_api::Media;
use tokensmith_api::proto::put_bytes;

use super::*;
use crate::codec::{Expected, FieldValidation, decode_value, encode_of, protobuf};
use crate::schema::{Shape, TypeRef, type_of, types};

/// Chances: one seed gives one object.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn one(&mut self, of: &[Value]) -> Value {
        of[self.below(of.len())].clone()
    }

    fn text(&mut self) -> String {
        let long = "lorem \"ipsum\" \\ ".repeat(self.below(20));
        let all = ["", "a", "web", "kubernetes.io/<&>\u{2028}", "é🦀\u{1}\n\t", &long];
        all[self.below(all.len())].to_owned()
    }

    fn any(&mut self, depth: usize) -> Value {
        match self.below(if depth > 2 { 5 } else { 7 }) {
            0 => Value::Null,
            1 => true.into(),
            2 => self.text().into(),
            3 => self.one(&[json!(0), json!(-7), json!(u64::MAX), json!(1.5)]),
            4 => json!([]),
            5 => (0..self.below(3)).map(|_| self.any(depth + 1)).collect(),
            _ => self.object(depth),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        (0..self.below(3)).map(|_| (format!("f:{}", self.text()), self.any(depth + 1))).collect()
    }

    /// Fields of a type, `share` of a hundred; fewer the deeper it is.
    pub(super) fn message(&mut self, of: TypeRef<'_>, depth: usize, share: usize) -> Map<String, Value> {
        let mut map = Map::new();
        for field in of.fields() {
            if let (Shape::Message(inner), true) = (&field.shape, field.inline) {
                map.extend(self.message(of.at(*inner), depth, share));
            } else if (depth == 0 || self.below(100) < share) && depth < 8 {
                map.insert(field.name.to_string(), self.value(of, &field.shape, depth, share));
            }
        }
        // Any order is an order.
        if self.below(4) == 0 { map.into_iter().rev().collect() } else { map }
    }

    fn value(&mut self, owner: TypeRef<'_>, shape: &Shape, depth: usize, share: usize) -> Value {
        match shape {
            Shape::Bool => self.one(&[json!(true), json!(false)]),
            Shape::Bytes => BASE64_STANDARD.encode(vec![200; [0, 1, 2, 3, 300][self.below(5)]]).into(),
            Shape::Duration => self.one(&[json!("0s"), json!("1h30m"), json!("-1.5s"), json!("300ms")]),
            Shape::Either(id) => {
                let arms = owner.at(*id).fields();
                let arm = &arms[self.below(arms.len())];
                self.value(owner.at(*id), &arm.shape, depth + 1, share / 2)
            }
            Shape::Fields => self.object(0),
            Shape::Float64 => {
                self.one(&[json!(0), json!(-0.0), json!(2.0), json!(-1.5), json!(1e300), json!(1e-7)])
            }
            Shape::Int32 => self.one(&[json!(0), json!(1), json!(-1), json!(i32::MAX), json!(i32::MIN)]),
            Shape::Int64 => self.one(&[json!(0), json!(1), json!(-1), json!(i64::MAX), json!(i64::MIN)]),
            Shape::IntOrString => self.one(&[json!(0), json!(8080), json!(-1), json!("http"), json!("")]),
            Shape::List(of) => {
                (0..self.below(4)).map(|_| self.item(owner, of, depth + 1, share / 2)).collect()
            }
            Shape::Map(of) => {
                let entry = |this: &mut Self| (this.text(), this.item(owner, of, depth + 1, share / 2));
                (0..self.below(5)).map(|_| entry(self)).collect()
            }
            Shape::Message(id) => Value::Object(self.message(owner.at(*id), depth + 1, share * 3 / 4)),
            Shape::MicroTime => {
                self.one(&[json!("2026-01-01T10:00:07.123456Z"), json!("1969-12-31T23:59:59.5Z")])
            }
            Shape::Quantity => {
                self.one(&[json!("0"), json!("500m"), json!("1.5Gi"), json!("12e6"), json!(2)])
            }
            Shape::Raw => self.any(0),
            Shape::String => self.text().into(),
            Shape::Strings => (0..self.below(4)).map(|_| self.text()).collect(),
            Shape::Time => self.one(&[
                json!("2026-01-01T10:00:07Z"),
                json!("2026-01-01T10:00:07.9+02:00"),
                json!("0001-01-01T00:00:00Z"),
                json!("9999-12-31T23:59:59Z"),
            ]),
        }
    }

    fn item(&mut self, owner: TypeRef<'_>, of: &Shape, depth: usize, share: usize) -> Value {
        if self.below(8) == 0 { Value::Null } else { self.value(owner, of, depth, share) }
    }
}

/// A kind of each type that has metadata, whether it is served or not.
fn kinds() -> Vec<Kind> {
    let meta = type_of("apis/meta/v1.ObjectMeta").unwrap().name();
    let objects = types().all().filter(|of| {
        let of_field = |field| of.message(field).map(|of| of.name());
        of.fields().iter().any(|f| f.inline && f.number == 0)
            && of.field("metadata").and_then(of_field) == Some(meta)
    });
    objects.map(|of| kind(of.name(), types().clone())).collect()
}

fn kind(of: &str, types: std::sync::Arc<crate::schema::Types>) -> Kind {
    let name = of.rsplit('.').next().unwrap();
    let facts = json!({
        "group": "example.com", "version": "v1", "kind": name, "plural": name, "singular": name,
        "namespaced": true, "stored": true, "verbs": [], "type": of,
    });
    Kind::new(serde_json::from_value(facts).unwrap(), types).unwrap()
}

/// JSON as it is stored.
pub(super) fn stored(kind: &Kind, mut tree: Map<String, Value>) -> Vec<u8> {
    tree.retain(|name, _| !matches!(name.as_str(), "kind" | "apiVersion"));
    let expected = Expected::kind(kind);
    let mut object = decode_value(tree.into(), &expected, FieldValidation::Ignore).unwrap().object;
    object.remove(&["metadata", "resourceVersion"]);
    let mut json = encode_of(kind, &object.0, Media::Json, false);
    json.pop();
    json
}

/// What the tree behind it is encoded as.
fn by_tree(kind: &Kind, json: &[u8], version: u64) -> Vec<u8> {
    let mut object = crate::Object::from_value(tokensmith_api::json::parse(json).unwrap().value).unwrap();
    object.remove(&["metadata", "resourceVersion"]);
    if version > 0 {
        object.set(&["metadata", "resourceVersion"], version.to_string());
    }
    protobuf::encode(object.api_version(), object.kind(), kind.message(), &object.0)
}

fn of(kind: &Kind, json: &[u8], version: u64) -> Result<Vec<u8>, Odd> {
    let mut out = b"before".to_vec();
    let done = transcoded(json, version, &mut out, |to| framed(to, kind));
    assert_eq!(&out[..6], b"before");
    assert!(done.is_ok() || out.len() == 6, "nothing is left of what fails");
    done.map(|()| out.split_off(6))
}

pub(super) fn served(group: &str, plural: &str) -> &'static Kind {
    crate::schema::kind(group, plural).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn every_type_has_the_message_of_its_tree(seed: u64, version: u64) {
        let mut dice = Dice(seed);
        for kind in kinds() {
            let share = [10, 40, 80][dice.below(3)];
            let json = stored(&kind, dice.message(kind.message(), 0, share));
            let shown = String::from_utf8_lossy(&json);
            let want = by_tree(&kind, &json, version);
            prop_assert_eq!(of(&kind, &json, version), Ok(want.clone()), "{}", shown);
            let mut item = Vec::new();
            transcoded(&json, version, &mut item, |to| super::item(to, &kind)).unwrap();
            let mut bare = Vec::new();
            put_bytes(&mut bare, 2, tokensmith_api::proto::unframe(&want).unwrap().raw);
            prop_assert_eq!(item, bare, "{}", shown);
        }
    }
}

proptest! {
    /// An error or the message of the tree, and never a panic.
    #[test]
    fn damaged_json_has_no_message_of_its_own(seed: u64, pod: bool, damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..3)) {
        let kind = served("", if pod { "pods" } else { "secrets" });
        let mut tree = Dice(seed).message(kind.message(), 0, 30);
        // Of any value the text is taken over, whatever it says.
        tree["metadata"].as_object_mut().unwrap().shift_remove("managedFields");
        let mut json = stored(kind, tree);
        for (at, byte, how) in damage {
            let at = at.index(json.len());
            match how {
                0 => json[at] = byte,
                1 => json.truncate(at + 1),
                _ => json.insert(at, br#""{}[],:\01tfnu"#[usize::from(byte) % 14]),
            }
        }
        if let Ok(message) = of(kind, &json, 7) {
            let shown = String::from_utf8_lossy(&json);
            prop_assert_eq!(tokensmith_api::json::parse(&json).map(|read| read.duplicates), Ok(vec![]), "{}", shown);
            prop_assert_eq!(message, by_tree(kind, &json, 7), "{}", shown);
        }
    }
}

fn outcome(kind: &Kind, json: &str) -> Result<Vec<u8>, Odd> {
    let got = of(kind, json.as_bytes(), 7);
    let mut out = Vec::new();
    let done = protobuf_of(kind, json.as_bytes(), 7, &mut out);
    match tokensmith_api::json::parse(json.as_bytes()) {
        Ok(read) if read.value.is_object() => {
            let want = by_tree(kind, json.as_bytes(), 7);
            assert!(got.as_ref().is_ok_and(|got| *got == want) || got.is_err(), "{json}");
            assert_eq!((done, out), (Ok(()), want), "by the tree, if need be: {json}");
        }
        _ => assert!(got.is_err() && done.is_err() && out.is_empty(), "{json}"),
    }
    got
}

#[test]
fn json_of_another_form_is_left_to_the_tree() {
    use Odd::{Malformed, Order, Type};
    let pods = served("", "pods");
    let pod = |rest: &str| outcome(pods, &format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{rest}"#));
    assert!(pod("{}}").is_ok());
    for json in [
        "",
        "{}",
        "null",
        r#"{"kind":"Pod"}"#,
        r#"{"kind":"Pod","apiVersion":"v1"}"#,
        r#"{"kind":"Pod","apiVersion":"v1","metadata":null}"#,
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{}}"#,
        r#"{"kind":"Secret","apiVersion":"v1","metadata":{}}"#,
        r#"{"kind": "Pod","apiVersion":"v1","metadata":{}}"#,
    ] {
        assert_eq!(outcome(pods, json), Err(Odd::Kind), "{json}");
    }
    for rest in [
        "{}",
        "{}}\n",
        "{}} ",
        "{} }",
        "{},}",
        "{,}}",
        r#"{"name":"a",}}"#,
        r#"{"name":"a" }}"#,
        r#"{"name": "a"}}"#,
        r#"{"name":1}}"#,
        r#"{"name":"a"#,
        r#"{"name":"a\"#,
        "{\"name\":\"a\tb\"}}",
        r#"{"name":"\q"}}"#,
        r#"{"name":"\ud800"}}"#,
        r#"{"labels":[]}}"#,
        r#"{"finalizers":{}}}"#,
        r#"{"finalizers":["a""b"]}}"#,
        r#"{},"spec":{"hostPID":1}}"#,
        r#"{},"spec":{"priority":"1"}}"#,
        r#"{},"spec":{"priority":1-2}}"#,
        r#"{},"spec":{"priority":01}}"#,
        r#"{},"new":-}"#,
        r#"{},"new":"\q"}"#,
    ] {
        assert!(matches!(pod(rest), Err(Malformed(_))), "{rest}");
    }
    for rest in [
        r#"{"namespace":"b","name":"a"}}"#,
        r#"{"name":"a","name":"a"}}"#,
        r#"{"labels":{"b":"","a":""}}}"#,
        r#"{"labels":{"a":"","a":""}}}"#,
        r#"{},"status":{},"spec":{}}"#,
        r#"{},"kind":"Pod"}"#,
        r#"{"\u006eame":"a"}}"#,
    ] {
        assert!(matches!(pod(rest), Err(Order(_))), "{rest}");
    }
    for rest in [
        r#"{"creationTimestamp":"soon"}}"#,
        r#"{},"spec":{"priority":1.5}}"#,
        r#"{},"spec":{"priority":9223372036854775808}}"#,
    ] {
        assert!(matches!(pod(rest), Err(Type(_))), "{rest}");
    }
    let secret = r#"{"kind":"Secret","apiVersion":"v1","metadata":{},"data":{"a":"!"}}"#;
    assert!(matches!(outcome(served("", "secrets"), secret), Err(Type(_))));
    let deep = format!("{{}},\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(pod(&deep), Err(Malformed(_))));
}

#[test]
fn what_the_type_does_not_know_is_not_in_the_message() {
    let pods = served("", "pods");
    let json = |odd: &str, last: &str| {
        format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"a"{odd}}},"spec":{{"containers":null{odd}}}{last}}}"#
        )
    };
    let without = outcome(pods, &json("", "")).unwrap();
    let odd = r#","new":{"a":[1,{"b":null}],"c":"\"","d":true},"newer":-1.5e-7"#;
    assert_eq!(outcome(pods, &json(odd, "")), Ok(without.clone()));
    assert_eq!(outcome(pods, &json(odd, odd)), Ok(without));
}

#[test]
fn the_version_is_the_one_that_is_given() {
    let accounts = served("", "serviceaccounts");
    let json = |meta: &str| {
        format!(r#"{{"kind":"ServiceAccount","apiVersion":"v1","metadata":{{{meta}}}}}"#).into_bytes()
    };
    let raw = |meta: &str, version| {
        let message = of(accounts, &json(meta), version).unwrap();
        tokensmith_api::proto::unframe(&message).unwrap().raw.to_vec()
    };
    assert_eq!(raw("", 7), b"\x0a\x03\x32\x017");
    assert_eq!(raw("", 0), b"\x0a\x00");
    assert_eq!(raw(r#""resourceVersion":"3""#, 7), b"\x0a\x03\x32\x017");
    assert_eq!(raw(r#""uid":"u","generation":1"#, 12), b"\x0a\x09\x2a\x01u\x32\x0212\x38\x01");
    // Only the object's own.
    let deployments = kind("apps/v1.Deployment", types().clone());
    let json = br#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"a"},"spec":{"selector":null,"template":{"metadata":{"name":"b"}}}}"#;
    let message = of(&deployments, json, 7).unwrap();
    assert_eq!(message.windows(3).filter(|bytes| bytes == b"\x32\x017").count(), 1);
}
