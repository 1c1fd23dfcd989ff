use serde_json::json;

use super::*;

fn set(json: serde_json::Value) -> Set {
    Set::from_json(&json).unwrap()
}

#[test]
fn a_field_with_others_below_is_a_member_by_a_dot() {
    let both = json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}, "f:metadata": {"f:labels": {"f:x": {}}}});
    let read = set(both.clone());
    assert_eq!(read.to_json(), both);
    assert_eq!(read.paths(), [".data", ".data.a", ".data.b", ".metadata.labels.x"]);
    assert_eq!(read.len(), 4);
    assert_eq!(read.leaves().paths(), [".data.a", ".data.b", ".metadata.labels.x"]);
}

#[test]
fn what_is_written_in_another_order_or_twice_is_read_as_one() {
    let read = set(json!({"v:1": {}, "f:b": {"f:x": {}}, "f:a": {}, "x:later": {"f:a": {}}, "v:1.0": {}}));
    assert_eq!(read.to_json().to_string(), r#"{"f:a":{},"f:b":{"f:x":{}},"v:1":{}}"#);
    assert_eq!(set(json!(null)), Set::new());
    assert_eq!(set(json!({".": {}})), Set::new());
    assert_eq!(set(json!({"f:a": null})).paths(), [".a"]);
}

#[test]
fn what_is_not_written_so_is_refused() {
    for bad in
        [json!([]), json!("f:a"), json!({"a": {}}), json!({"f:a": 1}), json!({"k:{": {}}), json!({"i:x": {}})]
    {
        assert!(Set::from_json(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_difference_takes_members_and_the_recursive_one_what_is_below_them() {
    let all = set(json!({"f:a": {".": {}, "f:b": {".": {}, "f:c": {}}}, "f:d": {}}));
    let some = set(json!({"f:a": {"f:b": {}}}));
    assert_eq!(all.difference(&some).paths(), [".a", ".d", ".a.b.c"]);
    assert_eq!(all.recursive_difference(&some).paths(), [".a", ".d"]);
    assert_eq!(all.intersection(&some).paths(), [".a.b"]);
    assert_eq!(some.difference(&all), Set::new());
}

#[test]
fn a_filter_leaves_what_counts() {
    let all = set(
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:resources": {"f:limits": {}}}}}, "f:status": {"f:phase": {}}}),
    );
    let except = Filter::Except(Set::of_names([&["status"][..]]));
    assert_eq!(except.apply(all.clone()).leaves().len(), 2);
    let only = Filter::Only(vec![["spec", "containers", "*", "resources"].map(String::from).into()]);
    assert_eq!(
        only.apply(all).paths(),
        [r#".spec.containers[name="a"]"#, r#".spec.containers[name="a"].resources.limits"#]
    );
}

/// Twice as many fields cost about twice as much: a set of a hundred thousand is no work.
#[test]
fn large_sets_are_walked_once() {
    let of = |from: usize| {
        let fields = (from..from + 100_000).map(|at| (format!("f:{at:06}"), json!({})));
        set(serde_json::Value::Object(fields.rev().collect()))
    };
    let (one, other) = (of(0), of(50_000));
    assert_eq!(one.union(&other).len(), 150_000);
    assert_eq!(one.intersection(&other).len(), 50_000);
    assert_eq!(one.difference(&other).len(), 50_000);
}
