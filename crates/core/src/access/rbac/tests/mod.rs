use serde_json::{Value, json};
use tokensmith_objects::Object;

use super::*;
use crate::view::object_key;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A snapshot of the given objects: (plural, object).
pub(super) fn snapshot(objects: &[(&str, Value)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (at, (plural, value)) in objects.iter().enumerate() {
        let object = Object::from_value(value.clone()).unwrap();
        let key = object_key(GROUP, plural, object.namespace(), object.name());
        snapshot.apply(&key, Some(object.into()), at as u64 + 1);
    }
    snapshot
}

fn user(name: &str, groups: &[&str]) -> Identity {
    Identity {
        name: name.into(),
        groups: groups.iter().map(|g| (*g).into()).collect(),
        ..Identity::default()
    }
}

fn asks(verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        verb: verb.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        resource_request: true,
        ..Attributes::default()
    }
}

fn world() -> Snapshot {
    snapshot(&[
        (
            "roles",
            json!({"metadata": {"name": "reader", "namespace": "n"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
        (
            "rolebindings",
            json!({"metadata": {"name": "reader", "namespace": "n"}, "roleRef": {"kind": "Role", "name": "reader"}, "subjects": [{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "sa"}]}),
        ),
        (
            "clusterroles",
            json!({"metadata": {"name": "minter"}, "rules": [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"], "resourceNames": ["other"]}, {"nonResourceURLs": ["/healthz", "/x/*"], "verbs": ["get"]}]}),
        ),
        (
            "clusterrolebindings",
            json!({"metadata": {"name": "minters"}, "roleRef": {"kind": "ClusterRole", "name": "minter"}, "subjects": [{"kind": "Group", "name": "devs"}]}),
        ),
        (
            "rolebindings",
            json!({"metadata": {"name": "broken", "namespace": "n"}, "roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [{"kind": "Group", "name": "lost"}]}),
        ),
    ])
}

#[test]
fn who_may_do_what_and_why() {
    let (rbac, world) = (Rbac::new(), world());
    let decide = |u: &Identity, a: &Attributes| rbac.authorize(u, a, &world);
    let jane = user("jane", &["devs"]);
    let allow = |text: &str| Decision::Allow(format!("RBAC: allowed by {text}"));
    let none = Decision::NoOpinion(String::new());
    assert_eq!(
        decide(&jane, &asks("get", "pods", "n", "a")),
        allow("RoleBinding \"reader/n\" of Role \"reader\" to User \"jane\"")
    );
    assert_eq!(
        decide(&user("system:serviceaccount:n:sa", &[]), &asks("get", "pods", "n", "a")),
        allow("RoleBinding \"reader/n\" of Role \"reader\" to ServiceAccount \"sa/n\"")
    );
    assert_eq!(decide(&jane, &asks("get", "pods", "other", "a")), none);
    assert_eq!(decide(&jane, &asks("list", "pods", "n", "")), none);
    assert_eq!(decide(&jane, &asks("get", "pods/log", "n", "a")), none);
    assert_eq!(
        decide(&jane, &asks("create", "serviceaccounts/token", "x", "other")),
        allow("ClusterRoleBinding \"minters\" of ClusterRole \"minter\" to Group \"devs\"")
    );
    assert_eq!(decide(&jane, &asks("create", "serviceaccounts/token", "x", "builder")), none);
    let path = |path: &str| Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() };
    assert!(matches!(decide(&jane, &path("/x/y")), Decision::Allow(_)));
    assert_eq!(decide(&jane, &path("/y")), none);
    let lost = Decision::NoOpinion("RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found".into());
    assert_eq!(decide(&user("x", &["lost"]), &asks("get", "pods", "n", "a")), lost);
}

#[test]
fn the_policy_follows_its_objects() {
    let (rbac, mut world) = (Rbac::new(), world());
    let jane = user("jane", &[]);
    assert!(matches!(rbac.authorize(&jane, &asks("get", "pods", "n", "a"), &world), Decision::Allow(_)));
    let old = world.clone();
    world.apply(&object_key(GROUP, "rolebindings", "n", "reader"), None, 9);
    assert!(matches!(rbac.authorize(&jane, &asks("get", "pods", "n", "a"), &world), Decision::NoOpinion(_)));
    // A request that still has the older snapshot does not bring the older policy back.
    assert!(matches!(rbac.authorize(&jane, &asks("get", "pods", "n", "a"), &old), Decision::Allow(_)));
    assert!(matches!(rbac.authorize(&jane, &asks("get", "pods", "n", "a"), &world), Decision::NoOpinion(_)));
}

#[test]
fn nobody_grants_what_they_do_not_hold() {
    let (rbac, world) = (Rbac::new(), world());
    let role = |rules: Value| {
        Object::from_value(json!({"metadata": {"name": "new", "namespace": "n"}, "rules": rules})).unwrap()
    };
    let jane = user("jane", &["devs", "system:authenticated"]);
    let pods = |verbs: Value| json!([{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]);
    assert_eq!(check_role(&jane, &rbac, &world, &role(pods(json!(["get"]))), "roles", false), Ok(()));
    assert_eq!(
        check_role(&jane, &rbac, &world, &role(pods(json!(["get", "list", "watch"]))), "roles", false),
        Err(EscalationError::NotHeld("user \"jane\" (groups=[\"devs\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}".into()))
    );
    let all = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    assert!(check_role(&jane, &rbac, &world, &role(all.clone()), "roles", false).is_err());
    assert_eq!(check_role(&user("root", &[MASTERS]), &rbac, &world, &role(all), "roles", false), Ok(()));
    let binding = |name: &str| {
        Object::from_value(
            json!({"metadata": {"name": "b", "namespace": "n"}, "roleRef": {"kind": "Role", "name": name}}),
        )
        .unwrap()
    };
    assert_eq!(check_binding(&jane, &rbac, &world, &binding("reader")), Ok(()));
    let missing = EscalationError::RoleNotFound { plural: "roles", name: "nope".into() };
    assert_eq!(missing.to_string(), "roles.rbac.authorization.k8s.io \"nope\" not found");
    assert_eq!(check_binding(&jane, &rbac, &world, &binding("nope")), Err(missing));
    assert!(check_binding(&user("eve", &[]), &rbac, &world, &binding("reader")).is_err());
}

use crate::access::MASTERS;

#[test]
fn aggregation() {
    let all = [
        json!({"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-sum": "true"}}]}}),
        json!({"metadata": {"name": "a", "labels": {"to-sum": "true"}}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        json!({"metadata": {"name": "b", "labels": {"to-sum": "true"}}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        json!({"metadata": {"name": "c"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}),
    ]
    .map(|v| Object::from_value(v).unwrap());
    let aggregation = Aggregation::of(&all[0]).unwrap();
    let taken: Vec<_> = all.iter().filter(|role| aggregation.takes(*role, &mut 0).is_some()).collect();
    assert_eq!(taken, [&all[1], &all[2]]);
    let mut gathered = Gathered::default();
    assert_eq!(taken.iter().map(|role| gathered.add(role)).sum::<usize>(), 2);
    assert_eq!(gathered.values(), [json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})]);
    assert!(Aggregation::of(&all[1]).is_none());
    let unreadable = json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "-"}}]}});
    assert!(Aggregation::of(&Object::from_value(unreadable).unwrap()).is_none());
}

mod escalation;
mod policy;
