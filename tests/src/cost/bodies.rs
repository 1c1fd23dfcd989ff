//! Bodies for a type of the schema, whatever the endpoint does with them.

use std::sync::LazyLock;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Map, Value, json};
use tokensmith_api::{Media, yaml};
use tokensmith_objects::Object;
use tokensmith_objects::codec;

use super::places::{Items, Place};
use super::{Body, PROTOBUF, YAML};

/// Bodies that are bad whatever their type, of about this size. `base` is a good one: a JSON object.
pub fn of_any(base: &Value, size: usize) -> Vec<Body> {
    let text = base.to_string();
    let head = text.strip_suffix('}').unwrap_or(&text);
    let comma = if head.len() > 1 { "," } else { "" };
    let begun = format!("{head}{comma}");
    let with = |name: &str, more: String| Body::json(name, format!("{begun}{more}}}"));
    let repeat = |of: &dyn Fn(usize) -> String| {
        let mut out = String::with_capacity(size + 64);
        for at in 0.. {
            if out.len() >= size {
                break;
            }
            if at > 0 {
                out.push(',');
            }
            out.push_str(&of(at));
        }
        out
    };
    let half = "k".repeat(size / 2);
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(400), close.repeat(400));
    vec![
        with("unknown fields", repeat(&|at| format!("\"f{at}\":1"))),
        with(
            "unknown fields below a long key",
            format!("\"{half}\":{{{}}}", repeat(&|at| format!("\"{}\":1", at % 9))),
        ),
        with("a field that is repeated", repeat(&|_| "\"metadata\":{}".into())),
        with("fields that are repeated twice", repeat(&|at| format!("\"f{}\":1", at / 2))),
        with(
            "unknown fields in metadata",
            format!("\"metadata\":{{{}}}", repeat(&|at| format!("\"f{at}\":1"))),
        ),
        with("deep lists", format!("\"x\":[{}]", repeat(&|_| nested("[", "]")))),
        with("deep objects", format!("\"x\":[{}]", repeat(&|_| nested("{\"a\":", "}")))),
        with("empty objects", format!("\"x\":[{}]", repeat(&|_| "{}".into()))),
        with("numbers", format!("\"x\":[{}]", repeat(&|at| format!("-{at}.5e{}", at % 300)))),
        with("one long number", format!("\"x\":{}", "7".repeat(size))),
        with("one long text", format!("\"x\":\"{}\"", "a".repeat(size))),
        with("one long name", format!("\"metadata\":{{\"name\":\"{}\"}}", "a".repeat(size))),
        with(
            "a name of control characters",
            format!("\"metadata\":{{\"name\":\"{}\"}}", "\\u0001".repeat(size / 6)),
        ),
        with("a long kind", format!("\"kind\":\"{}\"", "a".repeat(size))),
        with("escapes", format!("\"x\":\"{}\"", "\\ud83d\\ude00\\\"".repeat(size / 14))),
        Body::json("a text without end", format!("{begun}\"x\":\"{}", "a".repeat(size))),
        Body::json("brackets without end", vec![b'['; size]),
        Body::json("spaces", format!("{}{begun}\"x\":1}}", " ".repeat(size))),
        Body::json("a list of numbers", format!("[{}]", repeat(&|_| "1".into()))),
    ]
}

/// Many items in one place.
pub fn of_place(base: &Value, place: &Place, items: Items, size: usize) -> Body {
    let name = format!("{}, {items:?}", place.name()).to_lowercase();
    Body::json(name, place.filled(base.clone(), items, size).to_string())
}

/// The same as YAML and, if the kind is one, as protobuf.
pub fn in_other_words(base: &Value, place: &Place, size: usize) -> Vec<Body> {
    let value = place.filled(base.clone(), Items::Distinct, size);
    let named = |how: &str| format!("{}, {how}", place.name());
    let mut all =
        vec![Body { name: named("as YAML"), media: YAML, bytes: Bytes::from(yaml::to_string(&value)) }];
    if let Some(object) = Object::from_value(value) {
        let bytes = Bytes::from(codec::encode(&object, Media::Protobuf, false));
        all.push(Body { name: named("as protobuf"), media: PROTOBUF, bytes });
    }
    all
}

/// YAML that is bad in ways which JSON does not know.
pub fn of_yaml(size: usize) -> Vec<Body> {
    let yaml = |name: &str, text: String| Body { name: name.into(), media: YAML, bytes: text.into() };
    let lines = |of: &dyn Fn(usize) -> String| {
        let mut out = String::with_capacity(size + 64);
        for at in 0.. {
            if out.len() >= size {
                break;
            }
            out.push_str(&of(at));
            out.push('\n');
        }
        out
    };
    let nested = format!("{}{}", "&a [".repeat(100), "]".repeat(100));
    vec![
        yaml(
            "aliases of a long text",
            format!("a: &a {}\n{}", "x".repeat(size / 2), lines(&|at| format!("b{at}: *a"))),
        ),
        yaml(
            "aliases of a long list",
            format!("a: &a [{}]\n{}", "1,".repeat(size / 4), lines(&|at| format!("b{at}: *a"))),
        ),
        yaml("anchors", lines(&|at| format!("f{at}: &a{at} x"))),
        yaml("anchors within anchors", lines(&|at| format!("f{at}: {nested}"))),
        yaml("keys", lines(&|at| format!("f{at}: 1"))),
        yaml("keys that are repeated", lines(&|at| format!("f{}: 1", at / 2))),
        yaml("merge keys", format!("a: &a {{x: 1}}\n{}", lines(&|at| format!("b{at}: {{<<: *a}}")))),
        yaml("deep lists", lines(&|at| format!("f{at}: {}{}", "[".repeat(200), "]".repeat(200)))),
        yaml("a block", format!("a: |\n{}", lines(&|_| "  text".into()))),
        yaml("a text in quotes over many lines", format!("a: \"{}\"", lines(&|_| "  text \\".into()))),
        yaml("comments", lines(&|_| "# x".into())),
        yaml("documents", lines(&|_| "---".into())),
        yaml("a bracket that is not closed", format!("a: [\n{}", lines(&|_| "x,".into()))),
        yaml("octal numbers", lines(&|at| format!("f{at}: 0{at:o}"))),
    ]
}

/// Protobuf that no client sends, around a message of this kind.
pub fn of_protobuf(api_version: &str, kind: &str, size: usize) -> Vec<Body> {
    let framed = |name: &str, raw: Vec<u8>| Body {
        name: name.into(),
        media: PROTOBUF,
        bytes: tokensmith_api::proto::frame(api_version, kind, &raw).into(),
    };
    // Field 1, the metadata, holds the like in every kind.
    let nested = |mut raw: Vec<u8>, depth: usize| {
        for _ in 0..depth {
            let mut out = Vec::with_capacity(raw.len() + 8);
            tokensmith_api::proto::put_bytes(&mut out, 1, &raw);
            raw = out;
        }
        raw
    };
    vec![
        framed("metadata, again and again", [0x0a, 0x00].repeat(size / 2)),
        framed("unknown fields", [0xf8, 0x07, 0x01].repeat(size / 3)),
        framed("messages in messages", nested(vec![0x0a; size], 600)),
        framed(
            "long varints",
            [0xf8, 0x07, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01].repeat(size / 12),
        ),
        framed("bytes", vec![0xff; size]),
    ]
}

/// What an object of a kind is called here: the names of some say what they are of.
pub fn name(kind: &str) -> &'static str {
    match kind {
        "APIService" => "v1.defaulta.example",
        "CustomResourceDefinition" => "widgets.default.example",
        "IPAddress" => "10.7.0.4",
        _ => "cost",
    }
}

/// A good object of each kind, so that what is added is what is judged.
pub fn base(api_version: &str, kind: &str) -> Value {
    let named = json!({"name": name(kind)});
    match kind {
        "Pod" => json!({"metadata": named, "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        }}),
        "ClusterTrustBundle" => json!({"metadata": named, "spec": {"trustBundle": ANCHOR.as_str()}}),
        "ClusterRole" => {
            json!({"metadata": named, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})
        }
        "Role" => {
            json!({"metadata": named, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})
        }
        "ClusterRoleBinding" | "RoleBinding" => json!({
            "metadata": named,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}],
        }),
        "TokenReview" => json!({"spec": {"token": "x.y.z"}}),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            json!({"spec": {"user": "u", "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}})
        }
        "SelfSubjectAccessReview" => {
            json!({"spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}}})
        }
        "SelfSubjectRulesReview" => json!({"spec": {"namespace": "default"}}),
        "SelfSubjectReview" | "TokenRequest" => json!({}),
        kind => {
            let mut object = SAMPLES.get(&format!("{api_version} {kind}")).cloned().unwrap_or(json!({}));
            object["metadata"] = named;
            object
        }
    }
}

/// The least that objects of most kinds must have, as the server's own tests have it.
static SAMPLES: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let text = include_str!("../../../crates/server/tests/server/samples.json");
    serde_json::from_str(text).expect("the server's tests read it, too")
});

/// What a bundle holds.
static ANCHOR: LazyLock<String> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("the provider makes keys");
    params.self_signed(&key).expect("the parameters are complete").pem()
});
