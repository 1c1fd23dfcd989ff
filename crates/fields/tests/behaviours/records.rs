//! What stands around the algebra: entries that cannot be read, too many of them, objects that were not recorded, kubectl's own
//! apply, and scales.

use serde_json::{Value, json};
use tokensmith_fields::{ApplyError, Manager, Managers, Operation, Recorder, Scale};
use tokensmith_objects::Object;

use crate::world::{NOW, One, VERSION, World};

const MANAGED: &[&str] = &["metadata", "managedFields"];

fn recorder<'a>(subresource: &'a str, now: &'a str) -> Recorder<'a> {
    Recorder { versions: &One, version: VERSION, kind: "Object", subresource, now }
}

fn object(rest: Value) -> Object {
    let mut object = json!({"apiVersion": VERSION, "kind": "Object", "metadata": {"uid": "u"}});
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    Object::from_value(object).unwrap()
}

fn entry(manager: &str, fields: Value) -> Value {
    json!({"manager": manager, "operation": "Update", "apiVersion": VERSION, "time": NOW, "fieldsType": "FieldsV1", "fieldsV1": fields})
}

fn live(managed: Value, rest: Value) -> Object {
    let mut live = object(rest);
    live.set(MANAGED, managed);
    live
}

#[test]
fn garbage_in_a_request_leaves_what_there_was() {
    let mut live = live(json!([entry("one", json!({"f:name": {}}))]), json!({"name": "n"}));
    let all = [
        json!([{"manager": "x", "operation": "Apply"}]),
        json!([{"manager": "x", "operation": "Neither", "apiVersion": "v1", "fieldsType": "FieldsV1"}]),
        json!([{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "V2"}]),
        json!([entry("x", json!({"name": {}}))]),
        json!([entry("x", json!([]))]),
        json!("text"),
    ];
    for garbage in all {
        let mut new = object(json!({"name": "m"}));
        new.set(MANAGED, garbage.clone());
        recorder("", NOW).update(&mut live, &mut new, "two");
        assert_eq!(new.at(MANAGED), Some(&json!([entry("two", json!({"f:name": {}}))])), "{garbage}");
    }
}

#[test]
fn who_sends_no_entries_or_an_empty_one_has_all_forgotten() {
    for given in [json!([]), json!([{}]), json!([{"manager": "", "fieldsV1": null}])] {
        let mut live = live(json!([entry("one", json!({"f:name": {}}))]), json!({"name": "n"}));
        let mut new = object(json!({"name": "m"}));
        new.set(MANAGED, given);
        recorder("", NOW).update(&mut live, &mut new, "two");
        assert_eq!(new.at(MANAGED), None);
    }
    // A part of an object is not asked.
    let mut live = live(json!([entry("one", json!({"f:name": {}}))]), json!({"name": "n"}));
    let mut new = object(json!({"name": "n"}));
    new.set(MANAGED, json!([]));
    recorder("status", NOW).update(&mut live, &mut new, "two");
    assert_eq!(new.at(MANAGED), live.at(MANAGED));
}

#[test]
fn entries_that_are_sent_are_taken() {
    let mut live = live(json!([entry("one", json!({"f:name": {}}))]), json!({"name": "n"}));
    let mut new = live.clone();
    new.set(MANAGED, json!([entry("other", json!({"f:name": {}}))]));
    recorder("", "2002-01-01T00:00:00Z").update(&mut live, &mut new, "two");
    assert_eq!(new.at(MANAGED), Some(&json!([entry("other", json!({"f:name": {}}))])));
}

#[test]
fn what_nobody_is_known_to_have_written_is_taken_at_the_first_apply() {
    let mut before = object(json!({"name": "n", "count": 1}));
    let mut new = object(json!({"name": "m", "count": 1}));
    recorder("", NOW).update(&mut before, &mut new, "one");
    assert_eq!(new.at(MANAGED), None, "it goes on as it began");
    let apply = |config| recorder("", NOW).apply(&mut new.clone(), &object(config), "two", false);
    let Err(ApplyError::Conflicts(conflicts)) = apply(json!({"name": "o"})) else { panic!() };
    assert_eq!(
        conflicts.to_string(),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using example/v1: .name"#
    );
    let applied = apply(json!({"count": 1})).unwrap();
    let names: Vec<_> =
        applied.managers.as_ref().unwrap().as_array().unwrap().iter().map(|one| &one["manager"]).collect();
    assert_eq!(names, ["two", "before-first-apply"]);
}

#[test]
fn the_oldest_updates_are_joined() {
    let mut world = World::new();
    let mut sent = serde_json::Map::new();
    for at in 0..15 {
        sent.insert(format!("k{at:02}"), json!("1"));
        world.update(&format!("m{at:02}"), &json!({"map": sent}));
    }
    let managers = world.managers();
    assert_eq!(managers.len(), 10);
    let ancient = &managers["u:ancient-changes"];
    assert_eq!(
        ancient.paths(),
        [".map", ".map.k00", ".map.k01", ".map.k02", ".map.k03", ".map.k04", ".map.k05"]
    );
    // Those that apply are not counted.
    for at in 0..15 {
        world.apply(&format!("a{at:02}"), &json!({"count": 1}), false).unwrap();
    }
    assert_eq!(world.managers().len(), 25);
}

#[test]
fn times_move_with_what_is_managed() {
    let mut new = object(json!({"name": "n"}));
    new.remove(&["metadata", "uid"]);
    let mut empty = World::new().live;
    recorder("", NOW).update(&mut empty, &mut new, "one");
    let mut again = new.clone();
    recorder("", "2002-01-01T00:00:00Z").update(&mut new, &mut again, "one");
    assert_eq!(again.at(MANAGED).unwrap()[0]["time"], NOW, "nothing has changed");
    again.set(&["count"], 1);
    recorder("", "2002-01-01T00:00:00Z").update(&mut new, &mut again, "one");
    assert_eq!(again.at(MANAGED).unwrap()[0]["time"], "2002-01-01T00:00:00Z");
    // An apply that changes nothing says no time.
    let mut config = object(json!({"count": 1}));
    config.remove(&["metadata", "uid"]);
    let applied = recorder("", NOW).apply(&mut again.clone(), &config, "two", false).unwrap();
    assert_eq!(applied.managers.unwrap()[0]["time"], Value::Null);
}

#[test]
fn what_says_which_object_it_is_is_nobodys() {
    let mut new = object(json!({}));
    new.set(
        &["metadata"],
        json!({"name": "n", "namespace": "s", "uid": "u", "generation": 1, "labels": {"a": "b"}}),
    );
    let mut empty = World::new().live;
    recorder("", NOW).update(&mut empty, &mut new, "");
    let entry = &new.at(MANAGED).unwrap()[0];
    assert_eq!(entry["fieldsV1"], json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}));
    assert_eq!(entry["manager"], "unknown");
}

#[test]
fn entries_have_upstreams_order() {
    let of = |operation, name: &str, sub: &str| Manager::of(operation, name, "v1", sub);
    let owned = |time: &str| tokensmith_fields::Owned {
        fields: tokensmith_fields::Set::of_names([&["a"][..]]),
        version: "v1".into(),
        time: (!time.is_empty()).then(|| time.into()),
    };
    let mut managers = Managers::default();
    for (manager, time) in [
        (of(Operation::Update, "a", ""), "2001-01-01T00:00:02Z"),
        (of(Operation::Update, "b", ""), "2001-01-01T00:00:01Z"),
        (of(Operation::Update, "a", "status"), "2001-01-01T00:00:01Z"),
        (of(Operation::Update, "z", ""), ""),
        (of(Operation::Apply, "y", ""), "2001-01-01T00:00:09Z"),
    ] {
        managers.0.insert(manager, owned(time));
    }
    let written = managers.written().unwrap();
    let order: Vec<_> =
        written.as_array().unwrap().iter().map(|one| one["manager"].as_str().unwrap()).collect();
    assert_eq!(order, ["y", "z", "a", "b", "a"]);
    assert_eq!(Managers::read(Some(&written)).unwrap(), managers);
}

#[test]
fn kubectl_takes_over_what_it_has_applied_itself() {
    let last = json!({"apiVersion": VERSION, "kind": "Object", "name": "n", "count": 1}).to_string();
    let annotations =
        json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": last}, "uid": "u"});
    let fields = json!({"f:name": {}, "f:count": {}, "f:flag": {}});
    let mut before = live(
        json!([entry("kubectl-client-side-apply", fields)]),
        json!({"name": "n", "count": 1, "flag": true}),
    );
    let managed = before.at(MANAGED).cloned().unwrap();
    before.set(&["metadata"], annotations);
    before.set(MANAGED, managed);
    let config = object(json!({"name": "m", "count": 2}));
    let mut config = config;
    config.remove(&["metadata", "uid"]);
    // Another name takes over nothing.
    assert!(matches!(
        recorder("", NOW).apply(&mut before.clone(), &config, "other", false),
        Err(ApplyError::Conflicts(_))
    ));
    let applied =
        recorder("", NOW).apply(&mut before.clone(), &config, "kubectl", false).unwrap().into_object();
    assert_eq!(applied.str_at(&["name"]), "m");
    let note = applied.annotation("kubectl.kubernetes.io/last-applied-configuration").unwrap();
    assert_eq!(
        note,
        "{\"apiVersion\":\"example/v1\",\"count\":2,\"kind\":\"Object\",\"metadata\":{},\"name\":\"m\"}\n"
    );
    // What it had not applied is a conflict.
    config.set(&["flag"], false);
    let Err(ApplyError::Conflicts(left)) =
        recorder("", NOW).apply(&mut before.clone(), &config, "kubectl", false)
    else {
        panic!()
    };
    assert_eq!(left.told().0.into_iter().map(|one| one.field).collect::<Vec<_>>(), [".flag"]);
}

#[test]
fn an_apply_is_of_the_kind_and_names_no_managers() {
    let live = object(json!({}));
    let apply = |config: Value| {
        recorder("", NOW).apply(&mut live.clone(), &Object::from_value(config).unwrap(), "m", false)
    };
    let text = |config| apply(config).unwrap_err().to_string();
    assert_eq!(text(json!({"kind": "Object"})), "invalid object type: /, Kind=Object");
    assert_eq!(text(json!({"kind": "Other", "apiVersion": "v1"})), "invalid object type: /v1, Kind=Other");
    assert_eq!(text(json!({"kind": "Other", "apiVersion": "a/b/c"})), "invalid object type: /, Kind=");
    let managed = json!({"kind": "Object", "apiVersion": VERSION, "metadata": {"managedFields": []}});
    assert_eq!(text(managed), "metadata.managedFields must be nil");
    assert!(
        apply(json!({"kind": "Object", "apiVersion": VERSION, "metadata": {"managedFields": null}})).is_ok()
    );
}

#[test]
fn a_scale_shows_who_has_the_replicas() {
    let scale = Scale { version: "apps/v1", replicas: &[("apps/v1", &["spec", "replicas"])] };
    let entry = |manager: &str, operation: &str, version: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": version, "time": NOW, "fieldsType": "FieldsV1", "fieldsV1": fields});
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let parent = json!([
        entry("a", "Apply", "apps/v1", json!({"f:spec": {"f:replicas": {}, "f:selector": {}}})),
        entry("b", "Update", "apps/v1", json!({"f:status": {}})),
        entry("c", "Update", "apps/v0", replicas.clone()),
    ]);
    let part = scale.to_part(Some(&parent)).unwrap().unwrap();
    assert_eq!(part, json!([entry("a", "Apply", "autoscaling/v1", replicas.clone())]));
    // Nobody else: it stays as it was, but for what is of no version that there is.
    let back = scale.to_parent(Some(&parent), Some(&part)).unwrap().unwrap();
    assert_eq!(back, json!([parent[0], parent[1]]));
    // Somebody has taken them.
    let mut taken = entry("hpa", "Update", "autoscaling/v1", replicas.clone());
    taken["subresource"] = "scale".into();
    let back = scale.to_parent(Some(&parent), Some(&json!([taken]))).unwrap().unwrap();
    let mut there = entry("hpa", "Update", "apps/v1", replicas);
    there["subresource"] = "scale".into();
    there.as_object_mut().unwrap().shift_remove("time");
    let left = entry("a", "Apply", "apps/v1", json!({"f:spec": {"f:selector": {}}}));
    assert_eq!(back, json!([left, there, parent[1]]));
}

/// Elements have many spellings, and each may bring as little as the first has much: one copy of all for each would take minutes.
#[test]
fn what_is_said_twice_is_joined_once() {
    let below: serde_json::Map<_, _> = (0..50_000).map(|at| (format!("f:k{at}"), json!({}))).collect();
    let mut fields = serde_json::Map::from_iter([("v:1".to_owned(), below.into())]);
    for at in 1..50_000_u32 {
        let spelt: String = (0..16).map(|bit| if at >> bit & 1 == 1 { ' ' } else { '\t' }).collect();
        fields.insert(format!("v:{spelt}1"), json!({}));
    }
    let fields = Value::Object(fields);
    let managers = Managers::read(Some(&json!([entry("one", fields)]))).unwrap();
    let (_, owned) = managers.0.iter().next().unwrap();
    assert_eq!(owned.fields.len(), 50_001);
}

#[test]
fn thousands_of_managers_are_joined_at_once() {
    let many: Value =
        (0..50_000).map(|at| (format!("f:k{at}"), json!({}))).collect::<serde_json::Map<_, _>>().into();
    let mut all = vec![entry("0", json!({"f:map": many}))];
    all.extend((1..5_000).map(|at| entry(&format!("m{at}"), json!({"f:name": {}}))));
    let mut new = object(json!({"name": "m"}));
    new.set(MANAGED, all);
    let mut live = live(json!([]), json!({"name": "m"}));
    recorder("", NOW).update(&mut live, &mut new, "writer");
    let left = new.at(MANAGED).and_then(Value::as_array).unwrap();
    assert!(left.len() <= 10, "{} managers", left.len());
}

/// A conflict has all names that lead to it, and they may be as long as the request.
#[test]
fn many_conflicts_with_long_names_are_told_as_far_as_there_is_room() {
    let long = "x".repeat(200_000);
    let named = |at: usize| format!("k{at}");
    let has = |value: &str| {
        let map: serde_json::Map<_, _> = (0..20_000).map(|at| (named(at), json!(value))).collect();
        json!({"items": [{"name": long, "map": map}]})
    };
    let names: serde_json::Map<_, _> =
        (0..20_000).map(|at| (format!("f:{}", named(at)), json!({}))).collect();
    let key = format!("k:{}", json!({"name": long}));
    let managed = json!([entry("one", json!({"f:items": {key: {"f:map": names}}}))]);
    let before = live(managed, has("1"));
    let config = object(has("2"));
    match recorder("", NOW).apply(&mut before.clone(), &config, "two", false) {
        Err(ApplyError::Conflicts(conflicts)) => {
            let (told, more) = conflicts.told();
            assert!(told.len() < 20 && told.len() + more == 20_000, "{} told, {more} more", told.len());
            assert!(conflicts.to_string().len() < 3 << 20);
        }
        other => panic!("{:?}", other.err().map(|e| e.to_string().chars().take(300).collect::<String>())),
    }
}
