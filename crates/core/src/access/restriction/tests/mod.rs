mod kinds;
mod nodes;
mod pods;
mod token;

use serde_json::{Value, json};

use super::*;
use crate::access::Identity;
use crate::access::chain::AlwaysDeny;
use crate::view::Snapshot;
use crate::view::tests::put;

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn node(name: &str) -> Identity {
    Identity {
        name: format!("system:node:{name}"),
        groups: vec!["system:nodes".into()],
        ..Identity::default()
    }
}

/// A create of a resource in `n`, to be filled in.
fn asked<'a>(user: &'a Identity, (group, resource): (&'a str, &'a str), objects: &'a Snapshot) -> Write<'a> {
    Write {
        user,
        operation: Operation::Create,
        group,
        version: "v1",
        kind: "",
        resource,
        subresource: "",
        namespace: "n",
        name: "",
        old: None,
        dry_run: false,
        objects,
    }
}

/// The message when a write is refused; who is no node passes with it.
fn told(write: &Write<'_>, new: Option<&Object>, authorizer: &dyn Authorizer) -> Option<String> {
    let admin = Identity { name: "admin".into(), ..Identity::default() };
    let other = Write { user: &admin, ..*write };
    assert!(judge(&other, new, authorizer).is_ok(), "who is no node passes");
    judge(write, new, authorizer).err().map(|e| e.to_string())
}

/// Two nodes, and a pod on each.
fn world() -> Snapshot {
    let mut objects = Snapshot::default();
    for name in ["w", "x"] {
        put(&mut objects, "", "nodes", json!({"metadata": {"name": name, "uid": format!("{name}-uid")}}));
        let pod = json!({"metadata": {"name": format!("on-{name}"), "namespace": "n", "uid": "u"}, "spec": {"nodeName": name}});
        put(&mut objects, "", "pods", pod);
    }
    objects
}

/// A write by node `w`: `RESOURCE[/SUBRESOURCE][.GROUP]`, and its message when it is refused.
fn write(
    operation: Operation,
    what: &str,
    name: &str,
    new: Option<Value>,
    old: Option<Value>,
) -> Option<String> {
    write_in(&world(), operation, what, name, new, old)
}

fn write_in(
    objects: &Snapshot,
    operation: Operation,
    what: &str,
    name: &str,
    new: Option<Value>,
    old: Option<Value>,
) -> Option<String> {
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (new, old) = (new.map(object), old.map(object));
    let namespace = new
        .as_ref()
        .or(old.as_ref())
        .map_or("n", |o| if o.namespace().is_empty() { "n" } else { o.namespace() });
    let old = old.as_ref();
    let user = node("w");
    let write =
        Write { operation, subresource, namespace, name, old, ..asked(&user, (group, resource), objects) };
    told(&write, new.as_ref(), &AlwaysDeny)
}

#[test]
fn a_node_that_cannot_be_told_writes_nothing() {
    let map = object(json!({"metadata": {"name": "a"}}));
    let objects = world();
    let told = |user: &Identity, new: Option<&Object>| {
        told(&asked(user, ("", "configmaps"), &objects), new, &AlwaysDeny)
    };
    let cause = "could not determine node from user \"system:node:\"";
    assert_eq!(told(&node(""), Some(&map)), Some(format!("configmaps \"a\" is forbidden: {cause}")));
    assert_eq!(told(&node("w"), Some(&map)), None, "kinds without a rule are left to authorization");
    let made = object(json!({"metadata": {"generateName": "a-"}}));
    assert_eq!(told(&node(""), Some(&made)), Some(format!("configmaps \"a-\" is forbidden: {cause}")));
    assert_eq!(told(&node(""), None), Some(format!("configmaps \"Unknown\" is forbidden: {cause}")));
    let mut outside = node("");
    outside.groups.clear();
    assert_eq!(told(&outside, None), None);
}

#[test]
fn absent_and_empty_are_the_same() {
    let (a, b) = (json!({"a": [], "b": "", "c": {"d": null}, "e": 1}), json!({"e": 1}));
    assert!(same(Some(&a), Some(&b)) && same(None, Some(&json!([]))) && same(None, None));
    for (a, b) in
        [(json!({"e": 0}), json!({})), (json!(["a"]), json!(["b"])), (json!(["a"]), json!(["a", "b"]))]
    {
        assert!(!same(Some(&a), Some(&b)), "{a} {b}");
    }
}
