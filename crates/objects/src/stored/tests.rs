use serde_json::json;

use super::*;
use crate::schema;

fn pod() -> Object {
    Object::from_value(json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"app": "web", "a\"b": "c"}, "annotations": {"x/y": "z"},
            "creationTimestamp": "2020-01-01T00:00:00Z", "deletionTimestamp": "2020-01-01T00:01:00Z", "finalizers": ["a", "b"]},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}], "nodeName": "n", "serviceAccountName": "default"},
        "status": {"phase": "Running"},
    }))
    .unwrap()
}

fn kind() -> &'static Arc<Kind> {
    schema::kind("", "pods").unwrap()
}

fn answer(object: &Object) -> String {
    String::from_utf8(encode_of(kind(), &object.0, Media::Json, false)).unwrap().trim_end().to_owned()
}

#[test]
fn what_is_looked_at_often_needs_no_tree() {
    let stored = Stored::of(kind(), &pod(), 7);
    let facts = (stored.name(), stored.namespace(), stored.uid(), stored.node(), stored.account());
    assert_eq!(facts, ("web", "shop", "u", "n", "default"));
    assert_eq!(stored.deletion_timestamp(), pod().deletion_timestamp());
    assert_eq!(stored.label("a\"b").as_deref(), Some("c"));
    assert_eq!((stored.annotation("x/y").as_deref(), stored.label("x")), (Some("z"), None));
    assert_eq!(stored.finalizers(), ["a", "b"]);
    assert_eq!((&*stored.text(&["status", "phase"]), &*stored.text(&["spec", "x"])), ("Running", ""));
    assert_eq!(stored.resource_version(), "7");
    assert_eq!(stored.object().at(&["metadata", "resourceVersion"]), Some(&json!("7")));
}

/// A buffer that grows by doubling is up to twice as large as what is in it.
#[test]
fn what_is_stored_takes_no_more_than_its_bytes() {
    for len in [0, 1, 300, 1_100, 5_000] {
        let mut object = pod();
        object.set(&["metadata", "annotations", "x/y"], "z".repeat(len));
        let json = Stored::bytes_of(kind(), &object);
        let bytes = json.try_into_mut().unwrap();
        assert_eq!(bytes.capacity(), bytes.len(), "{len}");
    }
}

#[test]
fn answers_are_spliced_as_they_would_be_encoded() {
    let mut shown = pod();
    shown.set(&["metadata", "resourceVersion"], "7");
    for stored in [Stored::of(kind(), &shown, 7), Stored::from(&shown)] {
        let text = stored.wire(kind());
        let mut out = Vec::new();
        text.whole(7, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), answer(&shown));
        let (mut out, mut bare) = (Vec::new(), shown.clone());
        text.item(7, &mut out);
        bare.remove(&["kind"]);
        bare.remove(&["apiVersion"]);
        let tail = answer(&shown).split_once("\"v1\",").unwrap().1.to_owned();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{{{tail}"));
        let mut out = Vec::new();
        text.metadata(7, &mut out);
        let metadata: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(Some(&metadata), shown.get("metadata"));
    }
}

#[test]
fn a_view_never_takes_the_place_of_the_kept_form() {
    let of = |version| {
        crate::schema::Schema::builtin().resource("autoscaling", version, "horizontalpodautoscalers").unwrap()
    };
    let (view, storage) = (of("v1"), of("v2"));
    let mut object = Object::new("autoscaling/v2", "HorizontalPodAutoscaler");
    object.set(&["metadata", "name"], "a");
    let stored = Stored::read(Stored::bytes_of(storage, &object), 7).unwrap();
    assert!(!stored.wire(view).json().starts_with(stored.json()) && stored.wire.get().is_none());
    assert_eq!(stored.wire(storage).json(), stored.json());
    assert!(stored.wire.get().is_some_and(|(id, other)| *id == storage.id() && other.is_none()));
    assert!(!stored.wire(view).json().starts_with(stored.json()));
}

#[test]
fn what_has_no_revision_shows_none() {
    let stored = Stored::of(kind(), &pod(), 0);
    let mut out = Vec::new();
    stored.wire(kind()).whole(0, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), answer(&pod()));
    assert_eq!(stored.resource_version(), "");
}

#[test]
fn the_version_goes_where_go_has_it_whatever_is_there() {
    for (metadata, shown) in [
        (json!({}), r#""metadata":{"resourceVersion":"7"}"#),
        (json!({"name": "a"}), r#""metadata":{"name":"a","resourceVersion":"7"}"#),
        (json!({"labels": {"a": "b"}}), r#""metadata":{"resourceVersion":"7","labels":{"a":"b"}}"#),
        (json!({"generateName": "a"}), r#""metadata":{"generateName":"a","resourceVersion":"7"}"#),
    ] {
        let mut object = pod();
        object.set(&["metadata"], metadata);
        let stored = Stored::of(kind(), &object, 7);
        let mut out = Vec::new();
        stored.wire(kind()).whole(7, &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(shown), "{out}");
        object.set(&["metadata", "resourceVersion"], "7");
        assert_eq!(out, answer(&object));
    }
}

#[test]
fn what_is_no_object_is_not_read() {
    for bad in ["", "[]", "null", "{", "{} {}", "\"{}\""] {
        assert!(Stored::read(Bytes::copy_from_slice(bad.as_bytes()), 1).is_none(), "{bad}");
    }
}

#[test]
fn its_debug_shows_no_data() {
    let mut secret = pod();
    secret.set(&["data"], json!({"token": "hidden"}));
    assert_eq!(format!("{:?}", Stored::from(&secret)), "Pod shop/web at 0");
}

#[test]
fn what_is_no_utf8_is_replaced_and_what_is_no_json_is_none() {
    let read = |json: &'static [u8]| Stored::read(Bytes::from_static(json), 7);
    let stored = read(b"{\"metadata\":{\"name\":\"a\",\"annotations\":{\"x\":\"\xff\"}}}").unwrap();
    assert_eq!((stored.name(), stored.annotation("x")), ("a", Some("\u{fffd}".into())));
    assert!(read(b"\xff{}").is_none() && read(b"[]").is_none() && read(b"{\"a\":01}").is_none());
}
