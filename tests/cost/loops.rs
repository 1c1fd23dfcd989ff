//! Loops over what a client sends, one by one and without a server: ten times the items, less than fifteen times the work.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::time::Duration;

use serde_json::{Value, json};
use tokensmith_api::Media;
use tokensmith_core::tokens::claims::granted;
use tokensmith_objects::codec::{self, Expected, FieldValidation};
use tokensmith_objects::patch::Patch;
use tokensmith_objects::schema::kind;
use tokensmith_objects::validate::{self, Limits};
use tokensmith_objects::{Object, pod};

/// What this thread has computed, to the nanosecond.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn cost<T>(input: &T, work: &impl Fn(&T)) -> Duration {
    let before = cpu();
    work(input);
    cpu() - before
}

/// Ten times as many must cost less than fifteen times as much, at least in one of several runs: another process takes the
/// caches away. What is below ten milliseconds counts as those.
#[track_caller]
fn linear<T>(what: &str, count: usize, make: impl Fn(usize) -> T, work: impl Fn(&T)) {
    let (few, many) = (make(count), make(10 * count));
    let (mut small, mut large) = (Duration::MAX, Duration::MAX);
    for _ in 0..24 {
        small = small.min(cost(&few, &work)).max(Duration::from_millis(10));
        large = large.min(cost(&many, &work));
        if large < small * 15 {
            return;
        }
    }
    panic!("{what}: {count} cost {small:?}, ten times as many {large:?}");
}

fn many(count: usize, of: impl Fn(usize) -> Value) -> Value {
    (0..count).map(of).collect()
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn created(plural: &str, value: &Object) -> usize {
    validate::create(kind("", plural).unwrap(), value, &Limits::default()).len()
}

#[test]
fn warnings_for_unknown_fields_are_linear() {
    let maps = Expected::kind(kind("", "configmaps").unwrap());
    let body = |count| {
        let fields: Vec<_> = (0..count).map(|n| format!("\"f{n}\":1,\"f{n}\":2")).collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    };
    linear("unknown fields", 3_000, body, |body| {
        let decoded = codec::decode(body, Media::Json, &maps, FieldValidation::Warn).unwrap();
        assert_eq!(decoded.warnings.len(), 100);
    });
}

#[test]
fn findings_of_validation_are_linear() {
    use tokensmith_core::Error;
    let labels = |count| {
        let labels: serde_json::Map<_, _> = (0..count).map(|n| (format!("-{n}"), "!".into())).collect();
        object(json!({"metadata": {"name": "a", "namespace": "n", "labels": labels}}))
    };
    linear("bad labels", 2_000, labels, |map| {
        let errors = validate::create(kind("", "configmaps").unwrap(), map, &Limits::default());
        let count = errors.len();
        let text = Error::invalid("", "ConfigMap", "a", errors).to_string();
        // A thousand are told, and the others counted.
        assert!(count >= 4_000 && text.len() > 1_000 * 100 && text.contains("more]"));
    });
    let owners = |count| {
        let owner = |n| json!({"apiVersion": "v1", "kind": "K", "name": format!("n{n}"), "uid": "u", "controller": true});
        object(json!({"metadata": {"name": "a", "namespace": "n", "ownerReferences": many(count, owner)}}))
    };
    linear("controllers among owners", 1_000, owners, |map| {
        let errors = validate::create(kind("", "configmaps").unwrap(), map, &Limits::default());
        let count = errors.len();
        let text: usize = errors.told().iter().map(|error| error.message.len()).sum();
        // Sixteen times the list, and a line for each.
        let most = count * (17 * 90 + 300);
        assert!(count >= 999 && text < most, "{text}");
    });
    let volumes = |count: usize| {
        let items = many(count, |_| json!({"key": "k", "path": "same"}));
        let source = json!({"secret": {"name": "n".repeat(count), "items": items}});
        object(json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "projected": {"sources": [source]}}],
        }}))
    };
    linear("paths that conflict", 2_000, volumes, |pod| assert!(created("pods", pod) >= 1_999));
}

#[test]
fn selectors_that_gather_roles_are_linear() {
    use tokensmith_core::access::rbac::Aggregation;
    let world = |count: usize| {
        let selectors = many(count, |n| json!({"matchLabels": {"to": format!("s{n}")}}));
        let gatherer = object(json!({"aggregationRule": {"clusterRoleSelectors": selectors}}));
        let role = |n| object(json!({"metadata": {"labels": {"to": format!("s{n}")}}}));
        (gatherer, (0..count).map(role).collect::<Vec<_>>())
    };
    linear("selectors that gather roles", 1_000, world, |(gatherer, roles)| {
        let rule = Aggregation::of(gatherer).unwrap();
        assert!(roles.iter().all(|role| rule.takes(role, &mut 0).is_some()));
    });
}

#[test]
fn the_lists_of_an_update_are_compared_in_linear_time() {
    let update = |plural: &str, (new, old): &(Object, Object)| {
        validate::update(kind("", plural).unwrap(), new, old, &Limits::default()).len()
    };
    let finalizers = |count: usize| {
        let names = |shift: usize| many(count, |n| format!("a.b/{}", n + shift).into());
        let map = |names: Value| {
            object(
                json!({"metadata": {"name": "a", "namespace": "n", "finalizers": names, "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            )
        };
        (map(names(1)), map(names(0)))
    };
    linear("finalizers", 10_000, finalizers, |pair| assert!(update("configmaps", pair) > 0));
    for list in ["tolerations", "schedulingGates"] {
        let pods = |count: usize| {
            let items = |shift: usize| {
                many(
                    count,
                    |n| json!({"key": format!("k{}", n + shift), "name": format!("a.b/{}", n + shift)}),
                )
            };
            let pod = |items: Value| {
                object(
                    json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"containers": [{"name": "c", "image": "i"}], list: items}}),
                )
            };
            (pod(items(1)), pod(items(0)))
        };
        linear(list, 1_000, pods, |pair| assert!(update("pods", pair) > 0));
    }
}

#[test]
fn a_pods_claims_are_found_in_linear_time() {
    let pods = |count| {
        let claims = many(count, |n| json!({"name": format!("c{n}"), "resourceClaimTemplateName": "t"}));
        let made = many(count, |n| json!({"name": format!("c{n}"), "resourceClaimName": format!("r{n}")}));
        object(json!({"spec": {"resourceClaims": claims}, "status": {"resourceClaimStatuses": made}}))
    };
    linear("claims", 1_000, pods, |found| {
        let references = pod::references(found);
        assert_eq!(references.last().unwrap().name, format!("r{}", references.len() - 1));
    });
}

#[test]
fn patches_cost_what_their_operations_say() {
    let read =
        |media: &str, value: &Value| Patch::read(media, value.to_string().as_bytes(), true).unwrap().unwrap();
    let nulls = |count: usize| {
        let of = |value: Value| -> Value {
            Value::Object((0..count).map(|n| (format!("k{n}"), value.clone())).collect())
        };
        (
            json!({ "data": of("v".into()) }),
            read("application/merge-patch+json", &json!({ "data": of(Value::Null) })),
        )
    };
    linear("a merge patch of nulls", 3_000, nulls, |(document, patch)| {
        assert_eq!(changed(document, patch).at(&["data"]), None);
    });
    type Operation = fn(usize, usize) -> Value;
    let kinds: [(&str, Operation); 5] = [
        ("items put in at the front", |n, _| json!({"op": "add", "path": "/list/0", "value": n})),
        ("items taken from the front", |_, _| json!({"op": "remove", "path": "/list/0"})),
        (
            "items moved",
            |_, size| json!({"op": "move", "from": "/list/0", "path": format!("/list/{}", size - 1)}),
        ),
        ("fields taken away", |n, _| json!({"op": "remove", "path": format!("/map/k{n}")})),
        ("lists moved", |n, _| match n % 2 {
            0 => json!({"op": "move", "from": "/list", "path": "/other"}),
            _ => json!({"op": "move", "from": "/other", "path": "/list"}),
        }),
    ];
    for (what, operation) in kinds {
        let documents = |count: usize| {
            let map: serde_json::Map<_, _> = (0..count * 2).map(|n| (format!("k{n}"), "v".into())).collect();
            let document = json!({"list": many(count * 2, Value::from), "map": map});
            let patch = many(count, |n| operation(n, count * 2));
            (document, read("application/json-patch+json", &patch))
        };
        linear(what, 900, documents, |(document, patch)| drop(changed(document, patch)));
    }
}

/// A config map after a patch.
fn changed(document: &Value, patch: &Patch) -> Object {
    let (object, maps) = (Object::from_value(document.clone()).unwrap(), kind("", "configmaps").unwrap());
    patch.change(object, &Expected::kind(maps), FieldValidation::Ignore).unwrap().object
}

#[test]
fn strategic_merge_patches_cost_what_their_lists_weigh() {
    let owner = |n: usize| json!({"uid": format!("u{n}"), "name": "o"});
    type Patched = fn(&[Value]) -> Value;
    let kinds: [(&str, Patched); 5] = [
        ("owners merged", |all| json!({"ownerReferences": all})),
        ("owners taken away", |all| {
            let deletions = all.iter().map(|one| json!({"uid": one["uid"], "$patch": "delete"}));
            json!({"ownerReferences": deletions.collect::<Vec<_>>()})
        }),
        ("owners in another order", |all| json!({"$setElementOrder/ownerReferences": all})),
        (
            "finalizers merged",
            |all| json!({"finalizers": all.iter().map(|one| one["uid"].clone()).collect::<Vec<_>>()}),
        ),
        (
            "finalizers taken away",
            |all| json!({"$deleteFromPrimitiveList/finalizers": all.iter().map(|one| one["uid"].clone()).collect::<Vec<_>>()}),
        ),
    ];
    for (what, patched) in kinds {
        let documents = |count: usize| {
            let owners: Vec<_> = (0..count).map(owner).collect();
            let finalizers: Vec<_> = owners.iter().map(|one| one["uid"].clone()).collect();
            let backwards: Vec<_> = owners.iter().rev().cloned().collect();
            let patch = json!({"metadata": patched(&backwards)}).to_string();
            let media = "application/strategic-merge-patch+json";
            let document = json!({"metadata": {"ownerReferences": owners, "finalizers": finalizers}});
            (document, Patch::read(media, patch.as_bytes(), true).unwrap().unwrap())
        };
        linear(what, 3_000, documents, |(document, patch)| drop(changed(document, patch)));
    }
}

#[test]
fn audiences_are_looked_up() {
    let lists = |count: usize| {
        let has: Vec<_> = (0..count).map(|n| format!("a{n}")).collect();
        let wanted: Vec<_> = has.iter().rev().cloned().collect();
        (has, wanted)
    };
    linear("audiences", 9_000, lists, |(has, wanted)| assert_eq!(granted(has, wanted).len(), has.len()));
}

/// What `project --ensure` says of a manifest at each change of it.
#[test]
fn what_no_pod_of_a_manifest_refers_to_is_linear() {
    use tokensmith_agent::{ensure, pod};
    let manifest = |count: usize| {
        let map = |n| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("m{n}")}});
        let from = many(count, |n| json!({"configMapRef": {"name": format!("m{n}")}}));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": "i", "envFrom": from}]}});
        let items: Vec<_> = (0..=count).map(map).chain([pod]).collect();
        let text = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        pod::manifest(&text, &pod::Reading { file: "f", namespace: "n", templates: false }).unwrap()
    };
    linear("ConfigMaps of a manifest", 1_000, manifest, |manifest| {
        assert_eq!(ensure::left_out(manifest, true).unwrap().len(), 1);
    });
}
