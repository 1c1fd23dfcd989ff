//! The escalation check against one that multiplies rules out as upstream does
//! (`component-helpers/auth/rbac/validation/policy_comparator.go`, `pkg/registry/rbac/validation`), and what it costs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::cover::{Budget, Held};
use super::*;

/// Somebody who holds these rules, and nothing else.
struct Holds(Vec<Rule>);

impl Authorizer for Holds {
    fn authorize(&self, _: &Identity, _: &Attributes, _: &Snapshot) -> Decision {
        Decision::NoOpinion(String::new())
    }

    fn rules_for(&self, _: &Identity, _: &str, _: &Snapshot) -> UserRules {
        UserRules { roles: vec![self.0.clone().into()], ..UserRules::default() }
    }
}

fn check(held: &[Rule], wanted: &[Rule]) -> Result<(), String> {
    let rules: Vec<Value> = wanted.iter().map(Value::from).collect();
    let role =
        Object::from_value(json!({"metadata": {"name": "r", "namespace": "n"}, "rules": rules})).unwrap();
    let holds = Holds(held.to_vec());
    let checked = check_role(&user("u", &["g"]), &holds, &Snapshot::default(), &role, "roles", false);
    checked.map_err(|e| e.to_string())
}

fn multiplied(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut out = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let cell = Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..Rule::default()
                };
                match rule.resource_names.is_empty() {
                    true => out.push(cell),
                    false => out.extend(
                        rule.resource_names.iter().map(|n| Rule { resource_names: one(n), ..cell.clone() }),
                    ),
                }
            }
        }
    }
    for url in &rule.non_resource_urls {
        out.extend(rule.verbs.iter().map(|v| Rule {
            verbs: one(v),
            non_resource_urls: one(url),
            ..Rule::default()
        }));
    }
    out
}

fn covers(held: &Rule, cell: &Rule) -> bool {
    let all = |list: &[String], wanted: &[String]| {
        list.iter().any(|x| x == "*") || wanted.iter().all(|w| list.contains(w))
    };
    let resource = |wanted: &String| {
        held.resources.contains(wanted)
            || wanted.split_once('/').is_some_and(|(_, sub)| held.resources.contains(&format!("*/{sub}")))
    };
    let url = |wanted: &String| {
        held.non_resource_urls
            .iter()
            .any(|h| h == wanted || (h.ends_with('*') && wanted.starts_with(h.trim_end_matches('*'))))
    };
    let names = held.resource_names.is_empty()
        || (!cell.resource_names.is_empty()
            && cell.resource_names.iter().all(|n| held.resource_names.contains(n)));
    all(&held.verbs, &cell.verbs)
        && all(&held.api_groups, &cell.api_groups)
        && (held.resources.iter().any(|r| r == "*") || cell.resources.iter().all(resource))
        && cell.non_resource_urls.iter().all(url)
        && names
}

fn naive(held: &[Rule], wanted: &[Rule]) -> Result<(), String> {
    let cells = wanted.iter().flat_map(multiplied);
    let missing: Vec<Rule> = cells.filter(|cell| !held.iter().any(|h| covers(h, cell))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (mut simple, mut rest) = (BTreeMap::<_, Rule>::new(), Vec::new());
    for cell in missing {
        match cell.resource_names.is_empty() && cell.non_resource_urls.is_empty() {
            true => match simple.entry((cell.api_groups.clone(), cell.resources.clone())) {
                std::collections::btree_map::Entry::Occupied(mut there) => {
                    there.get_mut().verbs.extend(cell.verbs)
                }
                std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(cell)),
            },
            false => rest.push(cell),
        }
    }
    let lines: BTreeSet<String> = rest.iter().chain(simple.values()).map(Rule::describe).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    Err(format!(
        "user \"u\" (groups=[\"g\"]) is attempting to grant RBAC permissions not currently held:\n{}",
        lines.join("\n")
    ))
}

fn some(of: &'static [&'static str], at_least: usize) -> BoxedStrategy<Vec<String>> {
    prop::collection::vec(prop::sample::select(of).prop_map(String::from), at_least..4).boxed()
}

fn rule() -> impl Strategy<Value = Rule> {
    let resources = (
        some(&["get", "list", "watch", "*"], 1),
        some(&["", "apps", "*"], 1),
        some(&["pods", "pods/log", "pods/", "*/log", "jobs/log", "a/b/c", "*/b/c", "*/*", "*"], 1),
        some(&["x", "y", "*", ""], 0),
    );
    let resources = resources.prop_map(|(verbs, api_groups, resources, resource_names)| Rule {
        verbs,
        api_groups,
        resources,
        resource_names,
        ..Rule::default()
    });
    let urls =
        (some(&["get", "post", "*"], 1), some(&["/", "/a", "/a/b", "/a*", "/a**", "/a/*", "*", "/b"], 1));
    let paths =
        urls.prop_map(|(verbs, non_resource_urls)| Rule { verbs, non_resource_urls, ..Rule::default() });
    // Both at once, or neither: validation refuses it, the comparison must not care.
    let mixed = (resources.clone(), paths.clone(), some(&["x"], 0)).prop_map(|(r, p, resource_names)| Rule {
        non_resource_urls: p.non_resource_urls,
        resource_names,
        ..r
    });
    prop_oneof![6 => resources, 3 => paths, 1 => mixed, 1 => Just(Rule::default())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn the_check_decides_and_says_what_multiplying_out_would(
        held in prop::collection::vec(rule(), 0..6),
        wanted in prop::collection::vec(rule(), 0..4),
    ) {
        prop_assert_eq!(check(&held, &wanted), naive(&held, &wanted));
    }

    /// What is held in parts is covered, and a part less is not.
    #[test]
    fn a_rule_that_is_held_in_parts_is_covered(whole in rule(), split in any::<u64>()) {
        let mut parts = multiplied(&whole);
        prop_assert_eq!(check(&parts, std::slice::from_ref(&whole)), Ok(()));
        if !parts.is_empty() {
            parts.remove((split % parts.len() as u64) as usize);
        }
        prop_assert_eq!(check(&parts, std::slice::from_ref(&whole)), naive(&parts, std::slice::from_ref(&whole)));
    }
}

fn texts(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}{i}")).collect()
}

fn grid(verbs: usize, groups: usize, resources: usize, names: usize) -> Rule {
    Rule {
        verbs: texts("v", verbs),
        api_groups: texts("g", groups),
        resources: texts("r", resources),
        resource_names: texts("n", names),
        ..Rule::default()
    }
}

/// The steps that a comparison takes, and whether all is covered; `None` when it is given up.
fn steps(held: &[Rule], wanted: &[Rule]) -> Option<(u64, bool)> {
    let (mut budget, mut missing) = (Budget::REQUEST, Vec::new());
    let held = Held::new(held.iter());
    for rule in wanted {
        held.missing(rule, &mut budget, &mut missing).ok()?;
    }
    Some((Budget::REQUEST.left() - budget.left(), missing.is_empty()))
}

#[test]
fn a_rule_is_compared_without_multiplying_it_out() {
    let star = Rule {
        verbs: texts("v", 100),
        api_groups: vec!["*".into()],
        resources: vec!["*".into()],
        ..Rule::default()
    };
    let half = Rule { resources: texts("r", 50), ..star.clone() };
    let one_less = [grid(100, 100, 99, 0), grid(100, 99, 100, 0), grid(99, 100, 100, 0)];
    let diagonal: Vec<Rule> =
        (0..100).map(|i| Rule { verbs: vec![format!("v{i}")], ..grid(1, 100, 100, 0) }).collect();
    let named = [grid(5, 1, 200, 200), grid(3, 1, 200, 150), grid(4, 1, 150, 200)];
    let cases = [
        ("nothing held", vec![], vec![grid(100, 100, 100, 0)], false, 2_000),
        ("all held", vec![star.clone()], vec![grid(100, 100, 100, 0)], true, 2_000),
        ("half held", vec![half], vec![grid(100, 100, 100, 0)], false, 2_000),
        ("all but one combination", one_less.to_vec(), vec![grid(100, 100, 100, 0)], false, 5_000),
        ("a verb each", diagonal, vec![grid(100, 100, 100, 0)], true, 60_000),
        ("larger", vec![], vec![grid(300, 300, 300, 0)], false, 6_000),
        ("much larger", vec![star], vec![grid(100, 20_000, 20_000, 20_000)], true, 200_000),
        ("names in three rules", named.to_vec(), named.to_vec(), true, 10_000),
        ("names of others", named.to_vec(), vec![grid(5, 1, 201, 200), grid(6, 2, 200, 201)], false, 20_000),
    ];
    for (what, held, wanted, covered, most) in cases {
        let (steps, all) = steps(&held, &wanted).unwrap_or_else(|| panic!("{what}: given up"));
        assert_eq!(all, covered, "{what}");
        assert!(steps <= most, "{what}: {steps} steps");
    }
}

#[test]
fn what_is_missing_of_a_large_rule_is_listed_up_to_a_bound() {
    let text = check(&[], &[grid(100, 100, 100, 0)]).unwrap_err();
    assert!(text.len() < 512 << 10, "{} bytes", text.len());
    assert!(text.ends_with("\n(and more, which are not listed)"));
    assert!(text.contains("\n{APIGroups:[\"g0\"], Resources:[\"r0\"], Verbs:[\"v0\" "));
    let long = Rule { verbs: vec!["v".repeat(900_000)], ..grid(1, 100, 100, 0) };
    assert!(check(&[], &[long]).unwrap_err().len() < 2 << 20);
    // One combination of a million.
    let held = [grid(100, 100, 99, 0), grid(100, 99, 100, 0), grid(99, 100, 100, 0)];
    assert_eq!(
        check(&held, &[grid(100, 100, 100, 0)]).unwrap_err().lines().nth(1),
        Some("{APIGroups:[\"g99\"], Resources:[\"r99\"], Verbs:[\"v99\"]}")
    );
}

/// Rules that are made to differ in everything: the comparison ends, and does not say yes.
#[test]
fn a_comparison_that_would_take_too_long_is_refused() {
    // Each combination is held by some rule, and no two values by the same rules.
    let mut state = 1_u64;
    let mut mixed = |prefix: &str| -> Vec<String> {
        let mut coin = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 60 < 10
        };
        (0..300).filter(|_| coin()).map(|i| format!("{prefix}{i}")).collect()
    };
    let held: Vec<Rule> = (0..200)
        .map(|_| Rule {
            verbs: mixed("v"),
            api_groups: mixed("g"),
            resources: mixed("r"),
            resource_names: mixed("n"),
            ..Rule::default()
        })
        .collect();
    let text = check(&held, &[grid(300, 300, 300, 300)]).unwrap_err();
    assert_eq!(
        text,
        "user \"u\" (groups=[\"g\"]) is attempting to grant RBAC permissions that cannot be compared with those currently held: there are too many combinations of different rules, grant them by several roles"
    );
}

/// Many rules are held, by many bindings: each is looked at where it matters.
#[test]
fn many_held_rules_cost_little_for_each_wanted_one() {
    let held: Vec<Rule> =
        (0..20_000).map(|i| Rule { resources: vec![format!("r{i}")], ..grid(3, 1, 1, 0) }).collect();
    let wanted: Vec<Rule> =
        (0..1_000).map(|i| Rule { resources: vec![format!("r{}", i * 20)], ..grid(3, 1, 1, 0) }).collect();
    let few = steps(&held[..2_000], &wanted[..100]);
    let many = steps(&held, &wanted);
    assert_eq!((few.map(|s| s.1), many.map(|s| s.1)), (Some(true), Some(true)));
    let (few, many) = (few.map_or(0, |s| s.0), many.map_or(0, |s| s.0));
    assert!(many <= 15 * few, "{few} steps, {many} for ten times as many");
}

/// The prefixes that are held are sorted once, and each path looks at those that it may have.
#[test]
fn a_path_is_held_against_its_own_prefixes_and_each_look_is_counted() {
    let path =
        |url: String| Rule { verbs: vec!["get".into()], non_resource_urls: vec![url], ..Rule::default() };
    let held: Vec<Rule> = (0..20_000).map(|i| path(format!("/{i}/*"))).collect();
    let wanted: Vec<Rule> = (0..1_000).map(|i| path(format!("/{}/x", i * 20))).collect();
    let (taken, all) = steps(&held, &wanted).unwrap();
    assert!(all && taken < 20_000, "{taken} steps for 1,000 paths, of which all are covered: {all}");
    // Each begins with all the others, and the path with none of them.
    let nested: Vec<Rule> = (1..2_000).map(|i| path(format!("/{}*", "a".repeat(i)))).collect();
    let (taken, all) = steps(&nested, &[path("/b".into())]).unwrap();
    assert!(!all && taken >= 1_999, "{taken} steps");
    assert_eq!(steps(&nested, &vec![path("/b".into()); 1_000]), None, "two million looks");
}
