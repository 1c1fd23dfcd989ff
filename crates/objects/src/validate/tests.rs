use serde_json::json;

use super::*;
use crate::defaults;
use crate::schema::kind;

fn pod(projected: Value) -> Object {
    let mut pod = Object::from_value(json!({
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "projected": projected}]},
    }))
    .unwrap();
    defaults::apply(kind("", "pods").unwrap(), &mut pod);
    pod
}

fn texts(errors: Findings) -> Vec<String> {
    errors.told().iter().map(ToString::to_string).collect()
}

/// Every rule of projected volumes, with its exact text.
#[test]
fn projected_volumes() {
    let token = |token: Value| json!({"sources": [{"serviceAccountToken": token}]});
    let at = "spec.volumes[0].projected";
    for (projected, want) in [
        (
            token(json!({"path": "t", "expirationSeconds": 60})),
            vec![format!(
                "{at}.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes"
            )],
        ),
        (
            token(json!({"path": "t", "expirationSeconds": 4294967297i64})),
            vec![format!(
                "{at}.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"
            )],
        ),
        (token(json!({"path": "t", "expirationSeconds": 600})), vec![]),
        (token(json!({"path": ""})), vec![format!("{at}.path: Required value")]),
        (
            token(json!({"path": "/x"})),
            vec![format!("{at}.path: Invalid value: \"/x\": must be a relative path")],
        ),
        (
            token(json!({"path": "a/../b"})),
            vec![format!("{at}.path: Invalid value: \"a/../b\": must not contain '..'")],
        ),
        (
            token(json!({"path": "../x"})),
            vec![format!("{at}.path: Invalid value: \"../x\": must not contain '..'")],
        ),
        (
            token(json!({"path": "..x"})),
            vec![format!("{at}.path: Invalid value: \"..x\": must not start with '..'")],
        ),
        (
            json!({"defaultMode": 512, "sources": []}),
            vec![format!(
                "{at}.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"
            )],
        ),
        (
            json!({"sources": [{"serviceAccountToken": {"path": "t"}, "secret": {"name": "s"}}]}),
            vec![format!("{at}.sources[0]: Forbidden: may not specify more than 1 volume type per source")],
        ),
        (
            json!({"sources": [{"serviceAccountToken": {"path": "t"}}, {"serviceAccountToken": {"path": "t"}}]}),
            vec![],
        ),
        (
            json!({"sources": [{"clusterTrustBundle": {"path": "p"}}]}),
            vec![format!(
                "{at}.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified"
            )],
        ),
    ] {
        let found = texts(create(kind("", "pods").unwrap(), &pod(projected.clone()), &Limits::default()));
        assert_eq!(found, want, "{projected}");
    }
}

#[test]
fn a_shorter_minimum_is_allowed_when_said() {
    let short = pod(json!({"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 300}}]}));
    let limits = Limits { min_token_expiration_seconds: 300 };
    assert!(create(kind("", "pods").unwrap(), &short, &limits).is_empty());
    assert_eq!(too_short(300), "may not specify a duration less than 5 minutes");
}

#[test]
fn of_a_pod_only_some_fields_change() {
    let old = pod(json!({"sources": []}));
    let pods = kind("", "pods").unwrap();
    let mut image = old.clone();
    image.0["spec"]["containers"][0]["image"] = "other".into();
    assert!(update(pods, &image, &old, &Limits::default()).is_empty());
    let mut account = old.clone();
    account.set(&["spec", "serviceAccountName"], "other");
    let found = texts(update(pods, &account, &old, &Limits::default()));
    assert!(
        found[0].starts_with(
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
        ),
        "{found:?}"
    );
}

#[test]
fn a_pod_stays_a_mirror_pod_or_none() {
    let pods = kind("", "pods").unwrap();
    let plain = pod(json!({"sources": []}));
    let mut mirror = plain.clone();
    mirror.set(&["metadata", "annotations", "kubernetes.io/config.mirror"], "x");
    let at = "metadata.annotations[kubernetes.io/config.mirror]";
    let created = texts(create(pods, &mirror, &Limits::default()));
    assert_eq!(
        created,
        [format!("{at}: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set")]
    );
    let mut other = mirror.clone();
    other.set(&["metadata", "annotations", "kubernetes.io/config.mirror"], "y");
    let change = |new, old| texts(update(pods, new, old, &Limits::default()));
    let kept = [format!("{at}: Forbidden: may not remove or update mirror pod annotation")];
    assert_eq!(change(&plain, &mirror), kept);
    assert_eq!(change(&other, &mirror), kept);
    assert_eq!(change(&mirror, &plain), [format!("{at}: Forbidden: may not add mirror pod annotation")]);
    assert!(change(&mirror, &mirror).is_empty());
}

#[test]
fn metadata() {
    let maps = kind("", "configmaps").unwrap();
    let object = |metadata: Value| Object::from_value(json!({ "metadata": metadata })).unwrap();
    let found = |metadata| texts(create(maps, &object(metadata), &Limits::default()));
    assert_eq!(
        found(json!({"namespace": "n"})),
        ["metadata.name: Required value: name or generateName is required"]
    );
    assert!(
        found(json!({"name": "Bad_Name", "namespace": "n"}))[0]
            .starts_with("metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain")
    );
    assert!(
        found(json!({"name": "a", "namespace": "n", "labels": {"a b": "c"}}))[0]
            .starts_with("metadata.labels: Invalid value: \"a b\": name part")
    );
    let (old, new) = (
        object(json!({"name": "a", "namespace": "n", "uid": "1"})),
        object(json!({"name": "a", "namespace": "n", "uid": "2"})),
    );
    let text = "metadata.uid: Invalid value: \"2\": field is immutable";
    assert_eq!(
        texts(update(maps, &new, &old, &Limits::default())),
        [text, text],
        "as upstream's causes have it"
    );
}

#[test]
fn secrets_and_config_maps() {
    let secrets = kind("", "secrets").unwrap();
    let secret = |rest: Value| {
        let mut object = json!({"metadata": {"name": "s", "namespace": "n"}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        Object::from_value(object).unwrap()
    };
    let found = |rest| texts(create(secrets, &secret(rest), &Limits::default()));
    assert_eq!(
        found(json!({"type": "kubernetes.io/service-account-token"})),
        ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
    );
    assert_eq!(
        found(json!({"type": "kubernetes.io/tls"})),
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
    );
    let (old, new) = (
        secret(json!({"immutable": true, "data": {"a": "eA=="}})),
        secret(json!({"immutable": true, "data": {"a": "eQ=="}})),
    );
    assert_eq!(
        texts(update(secrets, &new, &old, &Limits::default())),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
}

#[test]
fn roles_and_bindings() {
    let group = "rbac.authorization.k8s.io";
    let found = |plural: &str, body: Value| {
        let mut object = json!({"metadata": {"name": "r", "namespace": "n"}});
        if plural.starts_with("cluster") {
            object = json!({"metadata": {"name": "r"}});
        }
        object.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        texts(create(kind(group, plural).unwrap(), &Object::from_value(object).unwrap(), &Limits::default()))
    };
    assert_eq!(
        found("roles", json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]})),
        ["rules[0].verbs: Required value: verbs must contain at least one value"]
    );
    assert_eq!(
        found("roles", json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]})),
        [
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs"
        ]
    );
    let role = json!({"apiGroup": group, "kind": "Role", "name": "x"});
    assert_eq!(
        found("clusterrolebindings", json!({ "roleRef": role })),
        ["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""]
    );
    let bad = json!({"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "x"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}, {"kind": "Robot", "name": "r"}]});
    assert_eq!(
        found("clusterrolebindings", bad),
        [
            "subjects[0].namespace: Required value",
            "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\""
        ]
    );
}

/// A megabyte of what is wrong makes a thousand texts, whatever the list; the rest is counted.
#[test]
fn what_is_found_is_bounded_and_counted() {
    let many = |value: Value| vec![value; 20_000];
    let keys: serde_json::Map<_, _> = (0..20_000).map(|n| (format!("-{n}"), json!("v"))).collect();
    let slashes: serde_json::Map<_, _> = (0..20_000).map(|n| (format!("/{n}"), json!(""))).collect();
    let pod = |field: &str, value: Value| json!({"spec": {field: value}});
    let selectors = json!([{"matchLabels": keys.clone(), "matchExpressions": many(json!({}))}]);
    for (group, plural, value, least) in [
        ("", "configmaps", json!({"metadata": {"ownerReferences": many(json!({}))}}), 80_000),
        (
            "",
            "configmaps",
            json!({"metadata": {"ownerReferences": many(json!({"controller": true}))}}),
            99_999,
        ),
        (
            "",
            "configmaps",
            json!({"metadata": {"labels": keys.clone(), "annotations": keys.clone()}}),
            40_000,
        ),
        ("", "configmaps", json!({"metadata": {"finalizers": many(json!("-"))}}), 40_000),
        ("", "configmaps", json!({"data": {"": "v"}, "binaryData": keys.clone()}), 1),
        ("", "secrets", json!({"data": slashes}), 20_000),
        ("", "pods", pod("containers", json!(many(json!({})))), 40_000),
        (
            "",
            "pods",
            pod("containers", json!([{"volumeMounts": many(json!({})), "env": many(json!({}))}])),
            60_000,
        ),
        ("", "pods", pod("containers", json!([{"ports": many(json!({"containerPort": -1}))}])), 40_000),
        ("", "pods", pod("volumes", json!(many(json!({})))), 40_000),
        (
            "",
            "pods",
            pod("volumes", json!([{"projected": {"sources": many(json!({"secret": {}, "configMap": {}}))}}])),
            40_000,
        ),
        ("", "pods", pod("volumes", json!([{"secret": {"items": many(json!({"mode": -1}))}}])), 60_000),
        ("", "pods", pod("volumes", json!([{"downwardAPI": {"items": many(json!({}))}}])), 40_000),
        ("", "pods", pod("schedulingGates", json!(many(json!({"name": "-"})))), 39_999),
        ("rbac.authorization.k8s.io", "clusterroles", json!({"rules": many(json!({}))}), 60_000),
        (
            "rbac.authorization.k8s.io",
            "clusterroles",
            json!({"aggregationRule": {"clusterRoleSelectors": selectors}}),
            60_000,
        ),
        ("rbac.authorization.k8s.io", "rolebindings", json!({"subjects": many(json!({}))}), 40_000),
        (
            "certificates.k8s.io",
            "clustertrustbundles",
            json!({"spec": {"trustBundle":
            "-----BEGIN X-----\nAAAA\n-----END X-----\n".repeat(20_000)}}),
            20_000,
        ),
    ] {
        let found =
            create(kind(group, plural).unwrap(), &Object::from_value(value).unwrap(), &Limits::default());
        let (count, told) = (found.len(), found.told());
        assert!(count >= least, "{plural}: {count} of {least}");
        assert_eq!(told.len(), count.min(Findings::MOST), "{plural}");
        if let Some(more) = count.checked_sub(Findings::MOST).filter(|more| *more > 0) {
            assert!(told[Findings::MOST - 1].message.ends_with(&format!(" ... and {more} more")));
        }
    }
}
