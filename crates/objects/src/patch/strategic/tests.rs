//! `cases.json`: what upstream's documents and sources say of each directive and of what has none, a case for each. And what
//! holds of all patches.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::codec::{Expected, FieldValidation, decode_value};
use crate::patch::{Patch, PatchError};
use crate::schema::{Kind, Schema, group_version};
use crate::{Object, Stored};

#[derive(Deserialize)]
struct Case {
    name: String,
    /// `apiVersion` and kind.
    kind: String,
    object: Value,
    patch: Value,
    /// What comes out, without what is empty.
    #[serde(default)]
    want: Option<Value>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    shown: Option<String>,
}

fn kind(text: &str) -> &'static Kind {
    let (api_version, kind) = text.split_once(' ').unwrap();
    let (group, version) = group_version(api_version);
    Schema::builtin().kind(group, version, kind).unwrap()
}

fn change(kind: &Kind, object: &Value, patch: &Value) -> Result<(Object, Vec<String>), PatchError> {
    let object = decode_value(object.clone(), &Expected::kind(kind), FieldValidation::Strict).unwrap().object;
    let object = Stored::as_shown(kind, object);
    let patch =
        Patch::read("application/strategic-merge-patch+json", patch.to_string().as_bytes(), true).unwrap()?;
    let done = patch.change(object, &Expected::kind(kind), FieldValidation::Warn)?;
    Ok((Stored::as_shown(kind, done.object), done.warnings))
}

fn without_empty(value: Value) -> Value {
    let is_empty = |v: &Value| *v == Value::Null || *v == json!({}) || *v == json!([]);
    match value {
        Value::Object(map) => {
            let inner = map.into_iter().map(|(key, value)| (key, without_empty(value)));
            Value::Object(inner.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        other => other,
    }
}

#[test]
fn cases() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).unwrap();
    assert!(cases.len() > 60);
    let mut bad = Vec::new();
    for case in cases {
        let found = match change(kind(&case.kind), &case.object, &case.patch) {
            Ok((Object(mut object), warnings)) => {
                object.retain(|name, _| name != "kind" && name != "apiVersion");
                (None, String::new(), None, Some(without_empty(Value::Object(object))), warnings)
            }
            Err(e) => {
                let (code, shown) = match &e {
                    PatchError::Decode { shown, .. } => (422, Some(shown.clone())),
                    PatchError::Directive(_) | PatchError::Malformed(_) => (400, None),
                    PatchError::Merge(_) => (500, None),
                    PatchError::Repeated | PatchError::TooMany(_) => (413, None),
                    PatchError::Unfit => (422, None),
                };
                (Some(code), e.to_string(), shown, None, Vec::new())
            }
        };
        let want = (case.code, case.error, case.shown, case.want, case.warnings);
        if found != want {
            bad.push(format!("{}:\n  {found:?}\n  {want:?}", case.name));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn what_is_no_object_is_no_patch() {
    let read = |body: &str, closely| {
        let read = Patch::read("application/strategic-merge-patch+json", body.as_bytes(), closely).unwrap();
        read.map_or_else(|e| e.to_string(), |patch| patch.odd().join(", "))
    };
    for closely in [true, false] {
        let text = "json: cannot unmarshal array into Go value of type map[string]interface {}";
        assert_eq!(read("[]", closely), text);
        assert_eq!(read("{", closely), "unexpected end of JSON input");
        assert_eq!(read(r#"{"a":1,"b":{"c":1,"c":2}}"#, closely), r#"duplicate field "b.c""#);
    }
}

/// Containers by name, each with ports by number.
fn containers() -> impl Strategy<Value = Value> {
    let ports = prop::collection::btree_map(1..6_u16, "[a-c]", 0..4);
    let port = |(at, name)| json!({"containerPort": at, "name": name});
    let container = move |(name, ports): (String, std::collections::BTreeMap<u16, String>)| json!({"name": name, "ports": ports.into_iter().map(port).collect::<Vec<_>>()});
    prop::collection::btree_map("[a-f]", ports, 0..5)
        .prop_map(move |all| all.into_iter().map(container).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_map(Value::Array)
}

fn pod(containers: &Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"containers": containers}})
}

fn patched(there: &Value, patch: &Value) -> Value {
    let (object, warnings) = change(kind("v1 Pod"), there, patch).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    object.at(&["spec", "containers"]).cloned().unwrap_or_default()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

proptest! {
    /// What is merged twice is merged once: the result has all that the patch says.
    #[test]
    fn a_patch_that_was_merged_changes_nothing(there in containers(), patch in containers()) {
        let patch = json!({"spec": {"containers": patch}});
        let once = patched(&pod(&there), &patch);
        prop_assert_eq!(patched(&pod(&once), &patch), once);
    }

    /// Nobody is lost and nobody is there twice; those whom the patch names come in its order, the others in theirs.
    #[test]
    fn items_keep_their_orders(there in containers(), patch in containers()) {
        let merged = patched(&pod(&there), &json!({"spec": {"containers": patch}}));
        let (merged, there, patch) = (names(&merged), names(&there), names(&patch));
        let of = |wanted: bool| merged.iter().copied().filter(|n| patch.contains(n) == wanted).collect::<Vec<_>>();
        prop_assert_eq!(of(true), patch.clone());
        prop_assert_eq!(of(false), there.iter().copied().filter(|n| !patch.contains(n)).collect::<Vec<_>>());
    }

    /// With the order of all items, the result has it.
    #[test]
    fn an_order_of_all_is_kept(there in containers(), patch in containers(), seed in any::<u64>()) {
        let mut all = names(&there);
        all.extend(names(&patch).into_iter().filter(|name| !names(&there).contains(name)));
        // Any order that the patch does not contradict: the patch's own, with the others somewhere between.
        let (mut order, mut rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|n| names(&patch).contains(n));
        order.sort_by_key(|name| names(&patch).iter().position(|n| n == name));
        while let Some(name) = rest.pop() {
            order.insert(usize::try_from(seed % (order.len() as u64 + 1)).unwrap(), name);
        }
        let items: Vec<_> = order.iter().map(|name| json!({"name": name})).collect();
        let patch = json!({"spec": {"$setElementOrder/containers": items, "containers": patch}});
        prop_assume!(!order.is_empty() && !names(&there).is_empty());
        let merged = patched(&pod(&there), &patch);
        prop_assert_eq!(names(&merged), order);
    }

    /// Deleting what a patch names, and then merging it, is replacing those items.
    #[test]
    fn deleted_and_merged_is_new(there in containers(), patch in containers()) {
        let deletions: Vec<_> = names(&patch).iter().map(|n| json!({"name": n, "$patch": "delete"})).collect();
        let left = patched(&pod(&there), &json!({"spec": {"containers": deletions}}));
        prop_assert!(names(&left).iter().all(|name| !names(&patch).contains(name)));
        let merged = patched(&pod(&left), &json!({"spec": {"containers": patch}}));
        for item in patch.as_array().unwrap() {
            let found = merged.as_array().unwrap().iter().find(|other| other["name"] == item["name"]);
            prop_assert_eq!(without_empty(found.unwrap().clone()), without_empty(item.clone()));
        }
    }

    /// Where no list is merged by key it is a merge patch.
    #[test]
    fn without_lists_it_is_a_merge_patch(there in maps(), patch in maps()) {
        let (object, _) = change(kind("v1 ConfigMap"), &json!({"data": there}), &json!({"data": patch})).unwrap();
        let merge = Patch::read("application/merge-patch+json", json!({"data": patch}).to_string().as_bytes(), true);
        let object_there = Object::from_value(json!({"data": there})).unwrap();
        let expected = Expected::kind(kind("v1 ConfigMap"));
        let other = merge.unwrap().unwrap().change(object_there, &expected, FieldValidation::Warn).unwrap().object;
        prop_assert_eq!(object.at(&["data"]), other.at(&["data"]));
    }
}

fn maps() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![Just(Value::Null), "[a-c]".prop_map(Value::from)];
    prop::collection::btree_map("[a-e]", value, 0..5).prop_map(|map| map.into_iter().collect())
}

/// Each would be a matter of hours if items were looked for one by one.
#[test]
fn long_lists_are_merged_by_hash() {
    let many = 8_000;
    let list = |suffix: &str| -> Vec<Value> {
        (0..many).map(|at| json!({"name": format!("c{at}"), "image": format!("i{suffix}")})).collect()
    };
    let there = pod(&Value::Array(list("1")));
    let (mut backwards, deletions): (Vec<_>, Vec<_>) = (0..many)
        .map(|at| (json!({"name": format!("c{at}")}), json!({"name": format!("c{at}"), "$patch": "delete"})))
        .unzip();
    backwards.reverse();
    let both = [&deletions[..], &list("4")[..]].concat();
    for (patch, left) in [
        (json!({"containers": list("2")}), many),
        (json!({"containers": deletions}), 0),
        (json!({"$setElementOrder/containers": backwards}), many),
        (json!({"$setElementOrder/containers": [], "containers": list("3")}), many),
        (json!({"containers": both}), many),
    ] {
        let merged = patched(&there, &json!({"spec": patch}));
        assert_eq!(merged.as_array().map_or(0, Vec::len), left);
    }
    let texts: Vec<_> = (0..many).map(|at| format!("example.com/{at}")).collect();
    let there = json!({"metadata": {"finalizers": texts}});
    let backwards: Vec<_> = texts.iter().rev().collect();
    for patch in [json!({"finalizers": backwards}), json!({"$deleteFromPrimitiveList/finalizers": backwards})]
    {
        change(kind("v1 ConfigMap"), &there, &json!({"metadata": patch})).unwrap();
    }
}

/// One long key is not looked at once for each of many items.
#[test]
fn a_long_key_costs_what_it_weighs() {
    let long = "k".repeat(1 << 20);
    let mut there: Vec<_> = (0..8_000).map(|at| json!({"name": format!("c{at}")})).collect();
    there.push(json!({"name": long}));
    let mut patch: Vec<_> =
        (0..8_000).map(|at| json!({"name": format!("c{at}"), "$patch": "delete"})).collect();
    patch.push(json!({"name": long, "image": "new"}));
    let mut order: Vec<_> = (0..8_000).map(|at| json!({"name": format!("d{at}")})).collect();
    order.push(json!({"name": long}));
    let patch = json!({"spec": {"$setElementOrder/containers": order, "containers": patch}});
    let merged = patched(&pod(&Value::Array(there)), &patch);
    assert_eq!(merged.as_array().map(Vec::len), Some(1));
}

/// Upstream merges a large item as often as it is named, which takes it hours.
#[test]
fn a_large_item_is_not_merged_again_and_again() {
    let env: Vec<_> = (0..8_000).map(|at| json!({"name": format!("E{at}"), "value": "x"})).collect();
    let mut items = vec![json!({"name": "a", "env": env})];
    items.extend((0..8_000).map(|at| json!({"name": "a", "env": [{"name": format!("F{at}")}]})));
    let there = pod(&json!([{"name": "b"}]));
    let refused = change(kind("v1 Pod"), &there, &json!({"spec": {"containers": items}}));
    assert!(matches!(refused, Err(PatchError::Repeated)));
    // Small ones are, and a large one a few times.
    let small = vec![json!({"name": "a", "image": "x"}); 8_000];
    assert_eq!(patched(&there, &json!({"spec": {"containers": small}})).as_array().map(Vec::len), Some(2));
    let few = &items[..10];
    assert_eq!(
        patched(&there, &json!({"spec": {"containers": few}}))[0]["env"].as_array().map(Vec::len),
        Some(8_009)
    );
}
