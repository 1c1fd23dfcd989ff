//! Patches that make much of one place.

use serde_json::{Map, Value, json};

use super::places::{Items, Place};
use super::{Body, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};

/// As many operations as one patch may have.
const MOST: usize = 9_900;

/// Merge patches that set all of a place, and take all of it away.
pub fn merge(place: &Place, size: usize) -> Vec<Body> {
    let patch = |how: &str, value: Value| Body {
        name: format!("{}, {how}", place.name()),
        media: MERGE_PATCH,
        bytes: value.to_string().into(),
    };
    let set = place.filled(json!({}), Items::Distinct, size);
    let mut all = vec![patch("set", set)];
    if !place.is_list() {
        let mut nulls = place.filled(json!({}), Items::Distinct, size);
        if let Some(Value::Object(map)) = nulls.pointer_mut(&place.pointer()) {
            map.values_mut().for_each(|value| *value = Value::Null);
        }
        all.push(patch("taken away", nulls));
    }
    all
}

/// Strategic merge patches of a list that is merged: each item named twice, deleted and named, and put in an order.
pub fn strategic(place: &Place, size: usize) -> Vec<Body> {
    let Some(key) = place.merged() else { return Vec::new() };
    let at = place.pointer();
    let Some((holder, list)) = at.rsplit_once('/') else { return Vec::new() };
    let Value::Array(items) = place.content(Items::Distinct, size / 2) else { return Vec::new() };
    let name = |item: &Value| if key.is_empty() { item.clone() } else { json!({ key: item[key] }) };
    let names: Vec<_> = items.iter().map(name).collect();
    let patch = |how: &str, fields: Value| {
        let mut value = place.filled(json!({}), Items::Distinct, 1);
        if let Some(holder) = value.pointer_mut(holder) {
            *holder = fields;
        }
        let name = format!("{}, {how}", place.name());
        Body { name, media: STRATEGIC_PATCH, bytes: value.to_string().into() }
    };
    let (order, deletions) = (format!("$setElementOrder/{list}"), format!("$deleteFromPrimitiveList/{list}"));
    let twice = [items.clone(), items.clone()].concat();
    let deleted = match key {
        "" => json!({ deletions: names, list: items }),
        _ => {
            let delete = |name: &Value| {
                let mut deletion = name.clone();
                deletion["$patch"] = "delete".into();
                deletion
            };
            json!({ list: names.iter().map(delete).chain(items.iter().cloned()).collect::<Vec<_>>() })
        }
    };
    let backwards: Vec<_> = names.iter().rev().collect();
    vec![
        patch("merged twice", json!({ list: twice })),
        patch("one item merged again and again", json!({ list: vec![items[0].clone(); items.len()] })),
        patch("deleted and merged", deleted),
        patch("merged in an order", json!({ &order: names, list: items })),
        patch("merged in no order", json!({ &order: [], list: items })),
        patch("put in another order", json!({ &order: backwards })),
    ]
}

/// JSON patches with many operations on a place that has been filled by the first of them.
pub fn json(place: &Place, size: usize) -> Vec<Body> {
    let at = place.pointer();
    // Half of it is what is worked on, half the operations.
    let begun = || json!({"op": "add", "path": at, "value": place.content(Items::Distinct, size / 2)});
    let patch = |how: &str, of: &dyn Fn(usize) -> Value| {
        let (mut all, mut weight) = (vec![begun()], 0);
        for n in 0..MOST {
            if weight >= size / 2 {
                break;
            }
            let operation = of(n);
            weight += operation.to_string().len() + 1;
            all.push(operation);
        }
        let name = format!("{}, {how}", place.name());
        Body { name, media: JSON_PATCH, bytes: Value::Array(all).to_string().into() }
    };
    let item = |n: usize| place.item(Items::Distinct, n + 1_000_000);
    if place.is_list() {
        return vec![
            patch(
                "added at the front",
                &|n| json!({"op": "add", "path": format!("{at}/0"), "value": item(n)}),
            ),
            patch("taken from the front", &|n| match n % 2 {
                0 => json!({"op": "add", "path": format!("{at}/-"), "value": item(n)}),
                _ => json!({"op": "remove", "path": format!("{at}/0")}),
            }),
            patch("moved to and fro", &|n| match n % 2 {
                0 => json!({"op": "move", "from": format!("{at}/0"), "path": format!("{at}/-")}),
                _ => json!({"op": "move", "from": format!("{at}/1"), "path": format!("{at}/0")}),
            }),
            patch("moved as a whole", &|n| match n % 2 {
                0 => json!({"op": "move", "from": at, "path": "/elsewhere"}),
                _ => json!({"op": "move", "from": "/elsewhere", "path": at}),
            }),
            patch(
                "tested against a text",
                &|_| json!({"op": "test", "path": format!("{at}/0"), "value": item(0)}),
            ),
        ];
    }
    let key = |n: usize| format!("{at}/k{n}");
    vec![
        patch("taken away one by one", &|n| json!({"op": "remove", "path": key(n % 100)})),
        patch(
            "renamed",
            &|n| json!({"op": "move", "from": key(0), "path": key(if n % 2 == 0 { 0 } else { 1 })}),
        ),
        patch("copied", &|n| json!({"op": "copy", "from": key(0), "path": key(n + 1_000_000)})),
        patch("moved as a whole", &|n| match n % 2 {
            0 => json!({"op": "move", "from": at, "path": "/elsewhere"}),
            _ => json!({"op": "move", "from": "/elsewhere", "path": at}),
        }),
    ]
}

/// Patches of paths that lead nowhere.
pub fn of_any(size: usize) -> Vec<Body> {
    let mut nested = Map::new();
    nested.insert("a".into(), json!({}));
    let path = "/a".repeat(200);
    let mut operations = Vec::new();
    for at in 0..MOST.min(size / 60) {
        operations.push(json!({"op": "add", "path": format!("/metadata/annotations~1{at}"), "value": 1}));
    }
    let long = json!([{"op": "add", "path": format!("/{}", "x/".repeat(size / 2)), "value": 1}]);
    let deep: Vec<_> = (0..(size / 450).min(MOST)).map(|_| json!({"op": "test", "path": path})).collect();
    let patch = |name: &str, value: Value| Body {
        name: name.into(),
        media: JSON_PATCH,
        bytes: value.to_string().into(),
    };
    vec![
        patch("unknown fields added", Value::Array(operations)),
        patch("one long path", long),
        patch("deep paths", Value::Array(deep)),
        patch("empty operations", Value::Array(vec![json!({}); (size / 3).min(MOST)])),
    ]
}
