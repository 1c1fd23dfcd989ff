//! Every number, time and quantity that the schema table knows, at the ends of its range, as JSON and as protobuf.

use serde_json::{Map, Value, json};
use tokensmith_api::proto::{frame, put_bytes, put_fixed64, put_varint};
use tokensmith_objects::schema::{Kind, Schema, Shape, TypeRef, type_of};

use super::all_goes_on;
use crate::world::{ADMIN, World};

/// A step from a message to a field in it: its name, its number, and what stands between.
#[derive(Clone)]
struct Step {
    name: String,
    number: u32,
    /// The field's shape, without its list or map.
    within: Within,
    inline: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Within {
    List,
    Map,
    Nothing,
}

/// A field with a number in it, and the way to it.
struct Leaf {
    way: Vec<Step>,
    shape: Shape,
}

/// Deeper there is only more of the same.
const DEPTH: usize = 7;

fn leaves(of: TypeRef<'_>, way: &[Step], found: &mut Vec<Leaf>) {
    if way.len() == DEPTH {
        return;
    }
    for field in of.fields() {
        let (shape, within) = match &field.shape {
            Shape::List(item) => (&**item, Within::List),
            Shape::Map(item) => (&**item, Within::Map),
            shape => (shape, Within::Nothing),
        };
        let step = Step { name: field.name.to_string(), number: field.number, within, inline: field.inline };
        let way: Vec<Step> = way.iter().cloned().chain([step]).collect();
        match shape {
            Shape::Message(id) | Shape::Either(id) => leaves(of.at(*id), &way, found),
            Shape::Bool | Shape::Bytes | Shape::Fields | Shape::Raw | Shape::String | Shape::Strings => {}
            shape => found.push(Leaf { way, shape: shape.clone() }),
        }
    }
}

/// Texts of JSON values.
fn values(shape: &Shape) -> &'static [&'static str] {
    match shape {
        Shape::Time | Shape::MicroTime => &[
            r#""9999-12-31T23:59:59.999999999Z""#,
            r#""9999-12-31T23:59:59-23:59""#,
            r#""0000-01-01T00:00:00+23:59""#,
            r#""0000-01-01T00:00:00Z""#,
        ],
        Shape::Quantity => {
            &[r#""10e2147483647""#, r#""1e-2147483648""#, "1e308", r#""-9223372036854775808Ei""#, "5E-324"]
        }
        Shape::Duration => &[r#""2562047h47m16.854775807s""#, r#""-2562047h47m16.854775808s""#, r#""9e99h""#],
        _ => &[
            "2147483648",
            "-2147483649",
            "9223372036854775807",
            "-9223372036854775808",
            "1e308",
            "2147483647",
            "-1",
        ],
    }
}

/// What the fields hold on the protobuf wire.
fn put(out: &mut Vec<u8>, number: u32, shape: &Shape, turn: usize) {
    let wild = [u64::MAX, 1 << 63, i64::MAX as u64, 253_402_300_799, u64::from(u32::MAX)][turn % 5];
    match shape {
        Shape::Time | Shape::MicroTime => {
            let nanos = [i32::MAX as u64, i32::MIN as i64 as u64, 999_999_999][turn % 3];
            let mut time = Vec::new();
            put_varint(&mut time, 1, wild);
            put_varint(&mut time, 2, nanos);
            put_bytes(out, number, &time);
        }
        Shape::Quantity => {
            let mut quantity = Vec::new();
            put_bytes(&mut quantity, 1, values(shape)[turn % 5].trim_matches('"').as_bytes());
            put_bytes(out, number, &quantity);
        }
        Shape::IntOrString => {
            let mut either = Vec::new();
            put_varint(&mut either, 1, 0);
            put_varint(&mut either, 2, wild);
            put_bytes(out, number, &either);
        }
        Shape::Duration => {
            let mut duration = Vec::new();
            put_varint(&mut duration, 1, wild);
            put_bytes(out, number, &duration);
        }
        Shape::Float64 => put_fixed64(out, number, wild),
        _ => put_varint(out, number, wild),
    }
}

fn protobuf(way: &[Step], shape: &Shape, turn: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((step, rest)) = way.split_first() else { return out };
    let mut inner = Vec::new();
    match (rest.is_empty(), step.within) {
        (true, Within::Map) => put(&mut inner, 2, shape, turn),
        (true, _) => {
            put(&mut out, step.number, shape, turn);
            return out;
        }
        (false, Within::Map) => put_bytes(&mut inner, 2, &protobuf(rest, shape, turn)),
        (false, _) => inner = protobuf(rest, shape, turn),
    }
    if step.within == Within::Map {
        put_bytes(&mut inner, 1, b"k");
    }
    put_bytes(&mut out, step.number, &inner);
    out
}

/// Puts a value where the way leads, and leaves what is there beside it.
fn set(at: &mut Value, way: &[Step], value: &Value) {
    let Some((step, rest)) = way.split_first() else {
        *at = value.clone();
        return;
    };
    if step.inline {
        return set(at, rest, value);
    }
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    let mut at = &mut at[step.name.as_str()];
    match step.within {
        Within::List => {
            if !at.is_array() {
                *at = json!([null]);
            }
            at = &mut at[0];
        }
        Within::Map => {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at["k"];
        }
        Within::Nothing => {}
    }
    set(at, rest, value);
}

/// An object that is taken as it is.
fn base(kind: &Kind) -> Value {
    let mut base = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"generateName": "x-"},
    });
    match kind.kind.as_str() {
        "Pod" => base["spec"] = json!({"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}),
        "TokenReview" => base["spec"] = json!({"token": "x"}),
        "ClusterRoleBinding" | "RoleBinding" => {
            base["roleRef"] =
                json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"});
        }
        _ => {}
    }
    base
}

fn path(kind: &Kind) -> String {
    let root = if kind.group.is_empty() { "/api".into() } else { format!("/apis/{}", kind.group) };
    let namespace = if kind.namespaced { "/namespaces/default" } else { "" };
    format!("{root}/{}{namespace}/{}", kind.version, kind.plural)
}

#[tokio::test]
async fn no_number_in_a_body_panics() {
    let world = World::new().await;
    let (mut asked, mut taken) = (0, 0);
    let mut places: Vec<(String, TypeRef<'static>, Value)> = Vec::new();
    for kind in Schema::builtin().served().filter(|k| k.verbs.iter().any(|verb| verb == "create")) {
        places.push((path(kind), kind.message(), base(kind)));
    }
    let request = type_of("authentication/v1.TokenRequest").unwrap();
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token".to_owned();
    places.push((token, request, json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"})));
    for (path, of, base) in places {
        let mut found = Vec::new();
        leaves(of, &[], &mut found);
        for (turn, leaf) in found.iter().enumerate() {
            let texts = values(&leaf.shape);
            let named: Vec<&str> = leaf.way.iter().map(|step| step.name.as_str()).collect();
            // The same few fields come by in many kinds and containers: each meets other ends of its range.
            for text in [texts[turn % texts.len()], texts[(turn + texts.len() / 2) % texts.len()]] {
                let mut body = base.clone();
                set(&mut body, &leaf.way, &json!("a mark of the test's"));
                let body = body.to_string().replace(r#""a mark of the test's""#, text);
                let media = [("content-type", "application/json")];
                let answer = world.send("POST", &path, Some(ADMIN), &media, body.into_bytes()).await;
                assert!(answer.status.as_u16() < 500, "{path} {named:?} {text}: {}", answer.json());
                asked += 1;
                if answer.status == 201 {
                    taken += 1;
                    let made = answer.json();
                    if let Some(name) =
                        made["metadata"]["name"].as_str().filter(|name| name.starts_with("x-"))
                    {
                        let gone = world.delete(&format!("{path}/{name}")).await;
                        assert!(gone.status.as_u16() < 500, "{path} {named:?} {text}: {}", gone.json());
                    }
                }
            }
            let (version, kind) = (base["apiVersion"].as_str().unwrap(), base["kind"].as_str().unwrap());
            let body = frame(version, kind, &protobuf(&leaf.way, &leaf.shape, turn));
            let media =
                [("content-type", "application/vnd.kubernetes.protobuf"), ("accept", "application/json")];
            let answer = world.send("POST", &path, Some(ADMIN), &media, body).await;
            assert!(answer.status.as_u16() < 500, "{path} {named:?} protobuf: {}", answer.json());
            asked += 1;
        }
    }
    assert!(asked > 500 && taken > 100, "{asked} asked, {taken} taken");
    all_goes_on(&world, "after-bodies").await;
}
