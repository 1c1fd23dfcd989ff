//! The policy as it changes, and with many roles, rules and bindings.

use proptest::prelude::*;

use super::super::finder::Finder;
use super::*;

#[test]
fn a_policy_that_has_changed_is_the_one_that_is_made_anew() {
    let binding = |name: &str, namespace: &str, role: &str, users: &[&str]| {
        let subjects: Vec<_> = users.iter().map(|u| json!({"kind": "User", "name": u})).collect();
        let plural = if namespace.is_empty() { "clusterrolebindings" } else { "rolebindings" };
        (
            plural,
            json!({"metadata": {"name": name, "namespace": namespace}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects}),
        )
    };
    let role = |name: &str, verb: &str| {
        (
            "clusterroles",
            json!({"metadata": {"name": name}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]}),
        )
    };
    let steps = [
        binding("b", "n", "r", &["jane", "joe", "jane"]),
        role("r", "get"),
        binding("b", "n", "r", &["joe"]),
        binding("b", "", "r", &["jane"]),
        role("r", "list"),
        binding("c", "n", "s", &["jane\0n", "joe"]),
        role("s", "get"),
        binding("b", "", "s", &["ann"]),
    ];
    let mut objects = Snapshot::default();
    let mut current: std::collections::BTreeMap<String, (&str, Value)> = Default::default();
    let answers = |objects: &Snapshot| {
        let mut all = Vec::new();
        for name in ["jane", "joe", "ann", "jane\0n", ""] {
            for verb in ["get", "list"] {
                for namespace in ["", "n", "m"] {
                    all.push(Rbac::new().authorize(
                        &user(name, &[]),
                        &asks(verb, "pods", namespace, "x"),
                        objects,
                    ));
                }
            }
        }
        all
    };
    let put = |objects: &mut Snapshot, plural: &str, value: &Value| {
        let object = Object::from_value(value.clone()).unwrap();
        let key = object_key(GROUP, plural, object.namespace(), object.name());
        objects.apply(&key, Some(object.into()), 1);
        key
    };
    for (plural, value) in &steps {
        let key = put(&mut objects, plural, value);
        current.insert(key, (plural, value.clone()));
        let mut anew = Snapshot::default();
        current.values().for_each(|(plural, value)| drop(put(&mut anew, plural, value)));
        assert_eq!(answers(&objects), answers(&anew), "after {value}");
    }
    for key in current.keys().cloned().collect::<Vec<_>>() {
        objects.apply(&key, None, 2);
    }
    assert_eq!(answers(&objects), answers(&Snapshot::default()));
}

/// Ten thousand bindings of one role, and of as many roles that are gone: each is told once.
#[test]
fn what_a_user_holds_grows_with_what_is_stored() {
    let rules: Vec<_> = (0..1_000)
        .map(|i| json!({"verbs": ["get"], "apiGroups": [""], "resources": [format!("r{i}")]}))
        .collect();
    let mut objects = snapshot(&[("clusterroles", json!({"metadata": {"name": "r"}, "rules": rules}))]);
    let bind = |objects: &mut Snapshot, name: String, namespace: &str, role: &str| {
        let value = json!({"metadata": {"name": name, "namespace": namespace}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "jane"}]});
        let object = Object::from_value(value).unwrap();
        let key = object_key(GROUP, "rolebindings", namespace, object.name());
        objects.apply(&key, Some(object.into()), 2);
    };
    for i in 0..100 {
        let value = json!({"metadata": {"name": format!("g{i}"), "namespace": "n"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "Group", "name": "devs"}]});
        let object = Object::from_value(value).unwrap();
        objects.apply(&object_key(GROUP, "rolebindings", "n", object.name()), Some(object.into()), 2);
    }
    for i in 0..5_000 {
        bind(&mut objects, format!("b{i}"), "n", "r");
        bind(&mut objects, format!("b{i}"), &format!("n{i}"), "r");
        bind(&mut objects, format!("c{i}"), "n", "gone");
    }
    let jane = user("jane", &[]);
    let held = Rbac::new().rules_for(&jane, "n", &objects);
    assert_eq!((held.rules().count(), held.errors.len()), (1_000, 1));
    assert_eq!(Rbac::new().rules_for(&jane, "n7", &objects).rules().count(), 1_000);
    let crowd = Identity { groups: vec!["devs".into(); 100_000], ..jane.clone() };
    assert_eq!(objects.policy().asked(&crowd, "n"), objects.policy().asked(&user("jane", &["devs"]), "n"));
    let no = Decision::NoOpinion("RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found".into());
    assert_eq!(Rbac::new().authorize(&jane, &asks("list", "r5", "n", ""), &objects), no);
    let yes = "RBAC: allowed by RoleBinding \"b0/n\" of ClusterRole \"r\" to User \"jane\"";
    assert_eq!(
        Rbac::new().authorize(&jane, &asks("get", "r999", "n", ""), &objects),
        Decision::Allow(yes.into())
    );
}

#[test]
fn a_role_of_many_rules_is_not_read_for_each_request() {
    let rule = |verb: String, group: String, resource: String, name: Option<String>| Rule {
        verbs: vec![verb],
        api_groups: vec![group],
        resources: vec![resource],
        resource_names: name.into_iter().collect(),
        ..Rule::default()
    };
    let asked = asks("get", "pods/log", "n", "x7");
    let many = 100_000;
    for (what, rules, most) in [
        (
            "many resources",
            (0..many).map(|i| rule("get".into(), "".into(), format!("r{i}"), None)).collect::<Vec<_>>(),
            2,
        ),
        (
            "many names",
            (0..many)
                .map(|i| rule("get".into(), "".into(), "pods/log".into(), Some(format!("x{i}"))))
                .collect(),
            2,
        ),
        ("many verbs", (0..many).map(|i| rule(format!("v{i}"), "*".into(), "*".into(), None)).collect(), 2),
        (
            "all in few words",
            (0..many)
                .map(|i| {
                    rule(format!("v{}", i % 47), format!("g{}", i / 47 % 47), format!("r{}", i / 2209), None)
                })
                .collect(),
            5_000,
        ),
    ] {
        let found = Finder::of(&rules).unwrap().candidates(&asked).count();
        assert!(found <= most, "{what}: {found} rules are read");
    }
}

fn some(of: &'static [&'static str], at_least: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(of).prop_map(String::from), at_least..3)
}

proptest! {
    /// A large role allows what its rules allow.
    #[test]
    fn the_rules_of_a_large_role_are_found(
        lists in prop::collection::vec((
            some(&["get", "list", "*", "x"], 1),
            some(&["", "apps", "*"], 0),
            some(&["pods", "pods/log", "*/log", "*", "jobs"], 0),
            some(&["x", "y"], 0),
            some(&["/a", "/a/*", "*"], 0),
        ), 32..60),
        asked in (
            prop::sample::select(&["get", "list", "patch"][..]),
            prop::sample::select(&["", "apps", "batch"][..]),
            prop::sample::select(&["pods", "pods/log", "jobs/log", "nodes"][..]),
            prop::sample::select(&["x", "y", "z", ""][..]),
            prop::sample::select(&["/a", "/a/b", "/c"][..]),
            any::<bool>(),
        ),
    ) {
        let rules: Vec<Rule> = lists.into_iter().map(|(verbs, api_groups, resources, resource_names, non_resource_urls)| Rule {
            verbs, api_groups, resources, resource_names, non_resource_urls,
        }).collect();
        let (verb, group, resource, name, path, resource_request) = asked;
        let mut a = asks(verb, resource, "n", name);
        (a.group, a.resource_request) = (group.into(), resource_request);
        if !resource_request {
            a = Attributes { verb: verb.into(), path: path.into(), ..Attributes::default() };
        }
        let finder = Finder::of(&rules).unwrap();
        let found = finder.candidates(&a).any(|at| rules[at].allows(&a));
        prop_assert_eq!(found, rules.iter().any(|rule| rule.allows(&a)));
    }
}
