use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::schema::{Facts, Schema, types};
use crate::selector::FieldSelector;
use crate::strategy::{finalized, prepare_create, prepare_finalize, prepare_update};
use crate::table::{Include, table};
use crate::{defaults, validate};

/// The facts of a built-in kind, which a program says of a kind of its own.
fn lookalike(kind: &Kind) -> Kind {
    let facts = Facts { group: "example.com".into(), ..(**kind).clone() };
    Kind::new(facts, types().clone()).unwrap()
}

fn stored() -> impl Iterator<Item = &'static Arc<Kind>> {
    Schema::builtin().kinds().filter(|kind| kind.stored)
}

/// Who may bring kinds would otherwise choose by a name what is validated, defaulted and shown.
#[test]
fn a_kind_of_another_group_has_nothing_of_a_built_in_one_of_its_name() {
    for kind in stored() {
        let own = lookalike(kind);
        let sent = Object::from_value(json!({
            "metadata": {"name": "a.b", "namespace": "n"}, "spec": {"x": 1}, "data": {"/": "?"}, "type": "",
            "secrets": [{"name": "s", "uid": "u"}], "stringData": {"a": "b"}, "roleRef": {}, "subjects": [{"kind": "User"}],
        }));
        let mut object = sent.unwrap();
        if !own.namespaced {
            object.remove(&["metadata", "namespace"]);
        }
        let before = object.clone();
        defaults::apply(&own, &mut object);
        assert_eq!(object, before, "{}", own.kind);
        prepare_create(&own, &mut object);
        object.remove(&["metadata", "generation"]);
        assert_eq!(object, before, "{}", own.kind);
        let limits = Limits::default();
        assert!(validate::create(&own, &object, &limits).is_empty(), "{}", own.kind);
        let mut changed = object.clone();
        changed.set(&["roleRef", "name"], "other");
        assert!(validate::update(&own, &changed, &object, &limits).is_empty(), "{}", own.kind);
        let rows =
            table("meta.k8s.io/v1", &own, [&object], Include::None, OffsetDateTime::UNIX_EPOCH, json!({}));
        let cells = rows["rows"][0]["cells"].as_array().unwrap();
        let shown: Vec<_> = cells
            .iter()
            .filter(|cell| {
                !["", "a.b", "<unknown>", "0001-01-01T00:00:00Z"].contains(&cell.as_str().unwrap())
            })
            .collect();
        assert!(shown.is_empty(), "{}: {shown:?}", own.kind);
        let rules = own.rules();
        assert_eq!(
            (rules.grace(&object, Some(9)), rules.grants(), rules.holds_others()),
            (None, false, false)
        );
    }
}

/// A kind of which only the row is known.
fn widget(more: Value) -> Kind {
    let mut facts = json!({
        "group": "example.com", "version": "v1", "kind": "Widget", "plural": "widgets", "singular": "widget",
        "namespaced": true, "stored": true, "verbs": ["get"], "type": "core/v1.PodTemplate",
        "subresources": [{"name": "status", "kind": "Widget", "verbs": ["update"]}],
    });
    facts.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Kind::new(serde_json::from_value(facts).unwrap(), types().clone()).unwrap()
}

#[test]
fn a_row_says_whether_changes_are_counted() {
    let object = |spec: i32, label: &str, status: &str| {
        let object =
            json!({"metadata": {"labels": {"l": label}}, "spec": spec, "status": status, "generation": 7});
        Object::from_value(object).unwrap()
    };
    let generation = |object: &Object| object.at(&["metadata", "generation"]).cloned();
    for (counts, want) in [(true, [1, 1, 1, 2, 3].map(|n| Some(json!(n)))), (false, [(); 5].map(|()| None))] {
        let kind = widget(json!({"generation": counts}));
        let mut stored = object(1, "a", "up");
        prepare_create(&kind, &mut stored);
        assert_eq!(stored.get("status"), None, "that is /status's");
        let mut seen = vec![generation(&stored)];
        for (spec, label, status) in [(1, "b", ""), (1, "b", "down"), (2, "b", "down")] {
            let mut next = object(spec, label, status);
            next.set(&["metadata", "generation"], 40);
            prepare_update(&kind, &mut next, &stored);
            seen.push(generation(&next));
            stored = next;
        }
        let mut fewer = stored.clone();
        fewer.remove(&["generation"]);
        prepare_update(&kind, &mut fewer, &stored);
        seen.push(generation(&fewer));
        assert_eq!(seen, want);
    }
}

#[test]
fn what_a_row_does_not_say_is_as_for_most_kinds() {
    let kind = widget(json!({}));
    assert_eq!(
        (kind.generation, kind.put_creates, kind.returns_deleted, kind.version_required),
        (false, false, false, false)
    );
    assert_eq!(kind.selectable, ["metadata.name", "metadata.namespace"]);
    let pods = crate::schema::kind("", "pods").unwrap();
    assert!(pods.generation && pods.returns_deleted && !pods.put_creates);
}

#[test]
fn a_row_says_what_objects_are_selected_by() {
    let fields = [
        "template.spec.hostNetwork",
        "template.spec.hostPID",
        "template.spec.priority",
        "template.spec.nodeName",
        "name",
    ];
    let kind = widget(json!({ "selectable": fields }));
    let spec = json!({"hostNetwork": true, "nodeName": "n", "priority": 3});
    let object = json!({"metadata": {"name": "a"}, "name": "own", "template": {"spec": spec}});
    let (object, bare) = (Object::from_value(object).unwrap(), Object::default());
    for (text, of_object, of_bare) in [
        ("template.spec.hostNetwork=true", true, false),
        ("template.spec.hostPID=false", true, true),
        ("template.spec.priority=3", true, false),
        ("template.spec.priority=", false, true),
        ("template.spec.nodeName!=n", false, true),
        ("name=own", true, false),
    ] {
        let selector = FieldSelector::parse(&kind, text).unwrap();
        assert_eq!((selector.matches(&object), selector.matches(&bare)), (of_object, of_bare), "{text}");
    }
    assert!(FieldSelector::parse(&kind, "metadata.name=a").is_err(), "the row says all");
    let namespaces = crate::schema::kind("", "namespaces").unwrap();
    let selector = FieldSelector::parse(namespaces, "name=a,name!=b,metadata.name=a").unwrap();
    assert!(selector.matches(&object), "a namespace's name");
}

#[test]
fn what_finalize_changes_holds_an_object_of_a_kind_that_has_it() {
    let object =
        |finalizers: Value| Object::from_value(json!({"spec": {"finalizers": finalizers, "x": 1}})).unwrap();
    let (held, free) = (object(json!(["a"])), object(json!([])));
    let plain = widget(json!({}));
    assert!(finalized(&plain, &held));
    let kind = widget(json!({"subresources": [{"name": "finalize", "kind": "Widget", "verbs": ["update"]}]}));
    assert!(!finalized(&kind, &held) && finalized(&kind, &free));
    let mut sent = free.clone();
    sent.set(&["spec", "x"], 2);
    let mut replaced = sent.clone();
    prepare_update(&kind, &mut replaced, &held);
    assert_eq!(replaced.get("spec"), Some(&json!({"finalizers": ["a"], "x": 2})));
    prepare_finalize(&mut sent, &held);
    assert_eq!(sent, free);
}

#[test]
fn a_program_brings_rules_of_its_own() {
    #[derive(Debug)]
    struct Small;
    impl Rules for Small {
        fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
            if object.at(&["size"]).and_then(Value::as_i64) > Some(9) {
                errors.push(|| crate::FieldError::forbidden("size", "too large"));
            }
        }
    }
    let kind = widget(json!({})).with_rules(Arc::new(Small));
    let object = |size: i32| {
        Object::from_value(json!({"metadata": {"name": "a", "namespace": "n"}, "size": size})).unwrap()
    };
    let limits = Limits::default();
    assert!(validate::create(&kind, &object(9), &limits).is_empty());
    let found = validate::update(&kind, &object(10), &object(9), &limits);
    assert_eq!(testing::texts(found), ["size: Forbidden: too large"]);
}
