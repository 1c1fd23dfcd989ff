//! Laws of apply and update, held against objects that nobody has chosen.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokensmith_fields::{Element, Filter, Set, Type, walk};

use crate::world::{TYPES, World};

fn kind() -> Type<'static> {
    Type::of(TYPES.get("example/v1.Object").unwrap())
}

fn text() -> impl Strategy<Value = Value> + Clone {
    prop_oneof!["1", "2"].prop_map(Value::from)
}

fn map() -> impl Strategy<Value = Value> {
    btree_map("[abc]", text(), 1..3).prop_map(|map| json!(map))
}

fn part() -> impl Strategy<Value = Value> {
    let fields = (of(text()), of(map())).prop_map(|(a, map)| whole([("a", a), ("map", map)]));
    fields.prop_map(|part| if part == json!({}) { json!({"b": "1"}) } else { part })
}

fn set() -> impl Strategy<Value = Value> {
    btree_set("[abcd]", 1..4).prop_map(|set| json!(set)).prop_shuffle_items()
}

fn items() -> impl Strategy<Value = Value> {
    let item = (of(text()), of(set()), of(map()), of(part()));
    let items = btree_map("[nmop]", item, 1..4).prop_map(|items| {
        let each = |(name, (value, tags, map, part))| {
            let fields = [("name", Some(Value::String(name))), ("value", value), ("tags", tags)];
            whole(fields.into_iter().chain([("map", map), ("part", part)]))
        };
        Value::Array(items.into_iter().map(each).collect())
    });
    items.prop_shuffle_items()
}

fn ports() -> impl Strategy<Value = Value> {
    let protocol = of(prop_oneof![Just("TCP"), Just("UDP")]);
    vec((1..3i64, protocol, of(text())), 1..4).prop_map(|ports| {
        let mut known = std::collections::BTreeSet::new();
        let each = |(port, protocol, note): (i64, Option<&'static str>, Option<Value>)| {
            let new = known.insert((port, protocol.unwrap_or("TCP")));
            let fields =
                [("port", Some(port.into())), ("protocol", protocol.map(Value::from)), ("note", note)];
            new.then(|| whole(fields))
        };
        Value::Array(ports.into_iter().filter_map(each).collect())
    })
}

prop_compose! {
    /// An object without anything that is empty or there twice.
    fn object()(
        name in of(text()), map in of(map()), part in of(part()), pair in of(map()),
        set in of(set()), items in of(items()), ports in of(ports()), list in of(set()),
    ) -> Value {
        let pair = pair.map(|_| json!({"a": "1"}));
        whole([("name", name), ("map", map), ("part", part), ("pair", pair), ("set", set), ("items", items),
            ("ports", ports), ("list", list)])
    }
}

fn whole<'a>(fields: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Value {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect())
}

/// A list in another order.
trait Shuffled: Strategy<Value = Value> + Sized {
    fn prop_shuffle_items(self) -> impl Strategy<Value = Value> {
        self.prop_perturb(|mut value, mut random| {
            if let Value::Array(items) = &mut value {
                let by = random.next_u32() as usize % items.len().max(1);
                items.rotate_left(by);
            }
            value
        })
    }
}

impl<S: Strategy<Value = Value>> Shuffled for S {}

/// Some steps that may have been taken.
fn world() -> impl Strategy<Value = World> {
    vec((0..3usize, any::<bool>(), object()), 0..4).prop_map(|steps| {
        let mut world = World::new();
        for (who, apply, object) in steps {
            let who = ["one", "two", "three"][who];
            match apply {
                true => world.apply(who, &object, true).unwrap(),
                false => world.update(who, &object),
            }
        }
        world
    })
}

/// Without the order of lists that have none, and without what is empty.
fn plain(value: &Value) -> Value {
    let empty = |value: &Value| *value == json!({}) || *value == json!([]);
    match value {
        Value::Object(map) => {
            let left: Map<_, _> = map.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
            Value::Object(left.into_iter().filter(|(_, value)| !empty(value)).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(plain).collect();
            items.sort_by_cached_key(|item| {
                let mut sorted = Vec::new();
                tokensmith_api::json::write_sorted(&mut sorted, item);
                sorted
            });
            Value::Array(items)
        }
        other => other.clone(),
    }
}

fn has(value: &Value, path: &[Element]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let found = match first {
        Element::Field(name) => value.get(&**name),
        Element::Key(keys) => value.as_array().into_iter().flatten().find(|item| {
            keys.iter().all(|(name, value)| item.get(&**name).unwrap_or(&json!("TCP")) == value)
        }),
        Element::Value(wanted) => value.as_array().into_iter().flatten().find(|item| *item == wanted),
        Element::Index(_) => None,
    };
    found.is_some_and(|found| has(found, rest))
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(mut world in world(), object in object()) {
        world.apply("one", &object, true).unwrap();
        let once = world.clone();
        world.apply("one", &object, true).unwrap();
        prop_assert_eq!(&world, &once);
        // And without force: nobody else has any of it.
        world.apply("one", &object, false).unwrap();
        prop_assert_eq!(world, once);
    }

    #[test]
    fn what_is_applied_is_there(mut world in world(), object in object()) {
        prop_assume!(object != json!({}));
        world.apply("one", &object, true).unwrap();
        let fields = walk::fields(kind(), &object).unwrap();
        let whole = world.object();
        prop_assert_eq!(plain(&walk::merge(kind(), &whole, &object).unwrap()), plain(&whole));
        let mut missing = Vec::new();
        fields.leaves().each(|path| if !has(&whole, path) { missing.push(path.to_vec()) });
        prop_assert!(missing.is_empty(), "{:?}", missing);
        prop_assert_eq!(world.managers().remove("a:one").unwrap_or_default(), fields);
    }

    #[test]
    fn managers_of_different_fields_commute(world in world(), one in object(), two in object()) {
        // Fields of the first one's, and those of the second one's that it has not.
        let mut other = two.clone();
        other.as_object_mut().unwrap().retain(|name, _| one.get(name).is_none());
        let (mut first, mut second) = (world.clone(), world);
        first.apply("first", &one, true).unwrap();
        first.apply("second", &other, true).unwrap();
        second.apply("second", &other, true).unwrap();
        second.apply("first", &one, true).unwrap();
        prop_assert_eq!(first.object(), second.object());
        prop_assert_eq!(first.managers(), second.managers());
    }

    #[test]
    fn what_is_left_out_again_was_never_there(world in world(), some in object(), more in object()) {
        let (mut with, mut without) = (world.clone(), world);
        let all = walk::merge(kind(), &some, &more).unwrap();
        // What is taken from others by force does not come back; what nobody else has does.
        if without.apply("new", &some, false).is_ok() && with.apply("new", &all, false).is_ok() {
            with.apply("new", &some, false).unwrap();
            // `more` may have changed a value that `some` has set; it is set again.
            prop_assert_eq!(plain(&with.object()), plain(&without.object()));
            prop_assert_eq!(with.managers(), without.managers());
        }
    }

    #[test]
    fn managed_fields_are_fields_of_the_object(world in world()) {
        let object = world.object();
        for (who, fields) in world.managers() {
            let mut missing = Vec::new();
            fields.leaves().each(|path| {
                // An updater keeps a map or a list that it has made and that appliers have emptied since.
                let holds = ["map", "part", "set", "items", "ports", "tags"].map(Element::from);
                let made = who.starts_with("u:") && path.last().is_some_and(|last| holds.contains(last));
                if !has(&object, path) && !made {
                    missing.push(path.to_vec());
                }
            });
            prop_assert!(missing.is_empty(), "{} has {:?} of {}", who, missing, object);
        }
    }

    #[test]
    fn an_update_takes_exactly_what_it_changed(mut world in world(), object in object()) {
        let (before, was) = (world.managers(), world.object());
        world.update("writer", &object);
        let compared = walk::compare(kind(), &was, &object).unwrap();
        let mut after = world.managers();
        prop_assert_eq!(after.remove("u:writer").unwrap_or_default(), compared.changed());
        for (who, had) in before {
            let left = had.difference(&compared.changed()).difference(&compared.removed);
            prop_assert_eq!(after.remove(&who).unwrap_or_default(), left);
        }
        prop_assert!(after.is_empty());
    }

    #[test]
    fn a_comparison_tells_what_to_remove_and_to_merge(one in object(), other in object()) {
        let found = walk::compare(kind(), &one, &other).unwrap();
        let left = walk::remove(kind(), &one, &found.removed);
        prop_assert_eq!(plain(&walk::merge(kind(), &left, &other).unwrap()), plain(&other));
        prop_assert!(found.removed.intersection(&found.changed()).is_empty());
        prop_assert!(found.modified.intersection(&found.added).is_empty());
        let same = walk::compare(kind(), &one, &one).unwrap();
        prop_assert!(same.removed.is_empty() && same.changed().is_empty());
    }

    #[test]
    fn sets_are_an_algebra(one in object(), two in object(), three in object()) {
        let [a, b, c] = [&one, &two, &three].map(|object| walk::fields(kind(), object).unwrap());
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.intersection(&b).union(&a.difference(&b)), a.clone());
        prop_assert_eq!(a.difference(&b).intersection(&b), Set::new());
        prop_assert_eq!(a.difference(&b).difference(&c), a.difference(&b.union(&c)));
        prop_assert_eq!(a.intersection(&b.union(&c)), a.intersection(&b).union(&a.intersection(&c)));
        prop_assert_eq!(a.union(&b).len() + a.intersection(&b).len(), a.len() + b.len());
        prop_assert_eq!(a.recursive_difference(&b).difference(&b), a.recursive_difference(&b));
        prop_assert_eq!(Set::from_json(&a.to_json()).unwrap(), a.clone());
        prop_assert_eq!(Filter::Except(a.clone()).apply(a.clone()), Set::new());
        prop_assert_eq!(a.leaves().leaves(), a.leaves());
    }
}
