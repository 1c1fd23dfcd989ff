//! What structured-merge-diff does, case by case, and the laws that hold whatever is written.
//!
//! `cases/*.yaml` are steps and what each of them leaves; what the library itself makes of the same steps has been held against
//! them. The types are in `types.json`.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod laws;
mod records;
mod world;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use world::{Stopped, World};

const FILES: [(&str, &str); 5] = [
    ("items", include_str!("cases/items.yaml")),
    ("leaves", include_str!("cases/leaves.yaml")),
    ("lists", include_str!("cases/lists.yaml")),
    ("maps", include_str!("cases/maps.yaml")),
    ("structs", include_str!("cases/structs.yaml")),
];

#[test]
fn every_case_is_as_it_says() {
    let (mut count, mut wrong) = (0, Vec::new());
    for (file, text) in FILES {
        let cases = tokensmith_api::yaml::parse(text.as_bytes()).unwrap().value;
        for case in cases.as_array().unwrap() {
            count += 1;
            if let Err(what) = play(case) {
                wrong.push(format!("{file}: {}: {what}", case["what"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 80, "{count}");
}

fn play(case: &Value) -> Result<(), String> {
    let mut world = World::new();
    for (at, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let by = step["by"].as_str().unwrap();
        let (verb, object) =
            ["apply", "force", "update"].iter().find_map(|verb| Some((*verb, step.get(verb)?))).unwrap();
        let before = world.clone();
        let done = match verb {
            "update" => {
                world.update(by, object);
                Ok(())
            }
            verb => world.apply(by, object, verb == "force"),
        };
        let fits = match &done {
            Ok(()) => same(&world.object(), &step["object"]) && managers(&world) == step["managers"],
            Err(_) if world != before => false,
            Err(Stopped::Conflicts(found)) => json!(found) == step["conflicts"],
            Err(Stopped::Error(text)) => text.ends_with(step["refused"].as_str().unwrap_or("\0")),
        };
        if !fits {
            return Err(format!("step {at}: {} {} {done:?}", world.object(), managers(&world)));
        }
    }
    Ok(())
}

fn managers(world: &World) -> Value {
    let all: BTreeMap<_, _> = world.managers().into_iter().map(|(who, set)| (who, set.paths())).collect();
    json!(all)
}

/// The same, however its numbers are written.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| same(one, other)))
        }
        _ => one == other,
    }
}
