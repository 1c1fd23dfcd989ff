use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::schema::{Shape, TypeRef, type_of};

fn pod(spec: Value) -> Object {
    Object::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn found(spec: Value) -> Vec<(Referent, String)> {
    references(&pod(spec)).into_iter().map(|r| (r.to, r.name.into_owned())).collect()
}

/// A value of a type in which every text says where it stands.
fn filled(of: TypeRef<'_>, path: &str, depth: usize) -> Value {
    let mut out = serde_json::Map::new();
    for field in of.fields() {
        let here = if field.inline { path.to_owned() } else { format!("{path}.{}", field.name) };
        let Some(value) = sample(of, &field.shape, &here, depth) else { continue };
        match value {
            Value::Object(inner) if field.inline => out.extend(inner),
            value => drop(out.insert(field.name.to_string(), value)),
        }
    }
    Value::Object(out)
}

fn sample(owner: TypeRef<'_>, shape: &Shape, path: &str, depth: usize) -> Option<Value> {
    match shape {
        Shape::List(of) => sample(owner, of, path, depth).map(|item| json!([item])),
        Shape::Message(id) if depth > 0 => Some(filled(owner.at(*id), path, depth - 1)),
        Shape::String => Some(path.into()),
        _ => None,
    }
}

/// Every text in a value.
fn texts(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| texts(v, out)),
        Value::Object(map) => map.values().for_each(|v| texts(v, out)),
        Value::String(text) => drop(out.insert(text.clone())),
        _ => {}
    }
}

/// A new field of the schema that names an object must not be overlooked: whatever in a pod's spec looks as if it did
/// is either walked, or stands here with the reason why not.
#[test]
fn every_place_that_the_schema_has_is_walked() {
    const OTHERWISE: [&str; 6] = [
        // The pod's own, whatever it is called.
        "spec.serviceAccount",
        // The template of a claim is its controller's business; the claim that comes of it is walked.
        "spec.volumes.ephemeral.volumeClaimTemplate.",
        "spec.resourceClaims.resourceClaimTemplateName",
        // What the pod calls its claim, and which of these a container uses.
        "spec.resourceClaims.name",
        ".resources.claims.",
        // Key, path and the like beside a reference.
        "spec.volumes.secret.items.",
    ];
    let spec = filled(type_of("core/v1.PodSpec").unwrap(), "spec", 9);
    let mut all = BTreeSet::new();
    texts(&spec, &mut all);
    let names = |path: &&String| {
        let about = ["ecretRef", "ecretName", "ecretKeyRef", "ecrets.", "secret.", "onfigMap", "laim"];
        let last = path.rsplit('.').next().unwrap().to_lowercase();
        let exact = ["rviceAccountName", "endpoints", "csi.driver", "clusterTrustBundle.name"];
        (about.iter().any(|w| path.contains(w)) && last.ends_with("name"))
            || exact.iter().any(|k| path.ends_with(k))
    };
    let known =
        |path: &&String| !OTHERWISE.iter().any(|o| path.contains(o) && *path != "spec.serviceAccountName");
    let wanted: BTreeSet<&String> = all.iter().filter(names).filter(known).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    let pod = pod(spec);
    let walked: BTreeSet<String> = references(&pod).into_iter().map(|r| r.name.into_owned()).collect();
    let missed: Vec<_> = wanted.into_iter().filter(|path| !walked.contains(*path)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_volume_source_of_the_schema_is_known() {
    for (volume, of) in [("core/v1.VolumeSource", false), ("core/v1.VolumeProjection", true)] {
        for field in type_of(volume).unwrap().fields() {
            let source = json!({ field.name.to_string(): {} });
            let value = if of { json!({"projected": {"sources": [source]}}) } else { source };
            let found = found(json!({"volumes": [value]}));
            assert!(
                found.iter().all(|(to, _)| *to != Referent::Unknown),
                "{volume}.{}: {found:?}",
                field.name
            );
        }
    }
    assert_eq!(found(json!({"volumes": [{"name": "v", "futureDisk": {}}]}))[0].0, Referent::Unknown);
    let projected = json!({"volumes": [{"projected": {"sources": [{"future": {}}]}}]});
    assert_eq!(found(projected)[0].0, Referent::Unknown);
}

#[test]
fn what_is_referred_to_and_where() {
    let all = found(json!({
        "serviceAccountName": "sa", "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "a"}}}]}],
        "containers": [{"envFrom": [{"configMapRef": {"name": "b"}}, {"secretRef": {}}]}],
        "ephemeralContainers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "c"}}}, {"value": "x"}]}],
        "volumes": [
            {"name": "v", "ephemeral": {}}, {"csi": {"driver": "d", "nodePublishSecretRef": {"name": "e"}}},
            {"projected": {"sources": [{"serviceAccountToken": {}}, {"clusterTrustBundle": {"name": "f"}}]}},
            {"hostPath": {"path": "/"}, "secret": null},
        ],
    }));
    use Referent::*;
    let want = [
        (ServiceAccount, "sa"),
        (Secret, "pull"),
        (Secret, "a"),
        (ConfigMap, "b"),
        (Secret, ""),
        (ConfigMap, "c"),
        (PersistentVolumeClaim, "p-v"),
        (CsiDriver, "d"),
        (Secret, "e"),
        (ServiceAccount, ""),
        (ClusterTrustBundle, "f"),
    ];
    assert_eq!(all, want.map(|(to, name)| (to, name.to_owned())));
    let old = pod(json!({"serviceAccount": "sa"}));
    assert_eq!(references(&old)[0].place, Place::Account);
}

#[test]
fn a_claim_of_a_template_has_its_name_in_the_status() {
    let mut pod = pod(json!({"resourceClaims": [
        {"name": "own", "resourceClaimName": "a"}, {"name": "made", "resourceClaimTemplateName": "t"},
    ]}));
    let names = |pod: &Object| references(pod).into_iter().map(|r| r.name.into_owned()).collect::<Vec<_>>();
    assert_eq!(names(&pod), ["a", ""]);
    pod.set(
        &["status"],
        json!({
            "resourceClaimStatuses": [{"name": "made", "resourceClaimName": "b"}],
            "extendedResourceClaimStatus": {"resourceClaimName": "c"},
        }),
    );
    assert_eq!(names(&pod), ["a", "b", "c"]);
}

#[test]
fn a_mirror_pod_says_so() {
    let mut pod = pod(json!({}));
    assert!(!is_mirror(&pod));
    pod.set(&["metadata", "annotations", MIRROR], "");
    assert!(is_mirror(&pod));
}

#[test]
fn the_parts_of_a_pod_tell_all_that_it_refers_to() {
    let kind = crate::schema::kind("", "pods").unwrap();
    for seed in 0..500 {
        let whole = Object::from_value(crate::codec::samples::object(kind, seed)).unwrap();
        let stored = crate::Stored::of(kind, &whole, 1);
        assert_eq!(references_in(&stored.part(&PARTS)), references(&whole), "{seed}");
    }
    let whole = pod(filled(type_of("core/v1.PodSpec").unwrap(), "spec", 0));
    assert!(!references(&whole).is_empty());
    assert_eq!(references_in(&crate::Stored::from(&whole).part(&PARTS)), references(&whole));
}
