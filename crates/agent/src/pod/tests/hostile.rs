//! Whatever a pod says, nothing of its plan leads outside.

use std::path::{Component, Path};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokensmith_objects::Object;

use super::Known;
use crate::api::Resource;
use crate::payload::Secret;
use crate::pod::{NodeResources, PodPlan, Reference, payload};

/// Texts that have led someone outside somewhere, and pieces of them.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just("../".to_owned()),
        Just("/".to_owned()),
        Just("//".to_owned()),
        Just(".".to_owned()),
        Just("./".to_owned()),
        Just("..data".to_owned()),
        Just("..data_tmp".to_owned()),
        Just("\0".to_owned()),
        Just("\n".to_owned()),
        Just("%2e%2e%2f".to_owned()),
        Just("\\..\\".to_owned()),
        Just("~".to_owned()),
        Just("$(HOME)".to_owned()),
        Just("a".to_owned()),
        Just("token".to_owned()),
        Just("x".repeat(300)),
        Just("y/".repeat(2100)),
        "\\PC{0,4}",
    ];
    prop_oneof![
        2 => Just("ok".to_owned()),
        1 => Just("a/b".to_owned()),
        3 => prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat()),
    ]
}

/// Mostly harmless, so that the nasty field is the one that decides.
fn fields() -> impl Strategy<Value = Vec<String>> {
    let some = prop::collection::vec((0usize..FIELDS, nasty()), 0..4);
    some.prop_map(|some| {
        let mut fields = vec!["ok".to_owned(); FIELDS];
        some.into_iter().for_each(|(at, text)| fields[at] = text);
        fields
    })
}

const FIELDS: usize = 21;

fn pod(f: &[String]) -> Object {
    let sources: Value = json!([
        {"serviceAccountToken": {"path": format!("t/{}", f[6]), "audience": f[7]}},
        {"serviceAccountToken": {"path": f[8]}},
        {"configMap": {"name": f[9], "items": [{"key": f[10], "path": f[11]}], "optional": true}},
        {"secret": {"name": f[12], "optional": true}},
        {"downwardAPI": {"items": [{"path": f[13], "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"clusterTrustBundle": {"name": f[14], "path": f[15], "optional": true}},
    ]);
    Object::from_value(json!({
        "metadata": {"name": f[0], "namespace": f[1], "labels": {"l": f[2]}},
        "spec": {
            "serviceAccountName": f[3],
            "containers": [{"name": f[4], "image": "i",
                "volumeMounts": [
                    {"name": f[5], "mountPath": format!("/m/{}", f[16]), "subPath": f[17]},
                    {"name": f[5], "mountPath": f[18]}]}],
            "volumes": [
                {"name": f[5], "projected": {"sources": sources}},
                {"name": "s", "secret": {"secretName": f[19], "items": [{"key": "k", "path": f[20]}], "optional": true}}],
        },
    }))
    .unwrap()
}

/// One element that a file can have: no separator, no way up, nothing that is not there.
fn is_element(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
    one && !name.contains(['/', '\0']) && name.len() <= 255
}

fn is_below(path: &str) -> bool {
    !path.is_empty() && path.len() <= 4096 && path.split('/').all(is_element) && !path.starts_with("..")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn nothing_leads_outside(f in fields(), keys in prop::collection::vec(nasty(), 0..3)) {
        let pod = pod(&f);
        let Ok(plan) = PodPlan::new(&pod) else { return Ok(()) };
        for name in [&plan.namespace, &plan.name, &plan.account] {
            prop_assert!(is_element(name), "{name:?}");
        }
        for container in &plan.containers {
            prop_assert!(is_element(&container.name), "{container:?}");
            for mount in &container.mounts {
                prop_assert!(mount.path.strip_prefix('/').is_some_and(is_below), "{mount:?}");
                prop_assert!(is_below(mount.relative_path()), "{mount:?}");
                prop_assert!(mount.sub_path.as_ref().is_none_or(|p| is_below(p.as_str())), "{mount:?}");
                prop_assert!(plan.volume(&mount.volume).is_some());
            }
        }
        for reference in plan.references() {
            if let Reference::Named { name, .. } = reference {
                prop_assert!(is_element(&name) && !name.contains(['%', '?', '#', '\n']), "{name:?}");
            }
        }
        // Objects whose keys are as bad as the pod.
        let data: serde_json::Map<String, Value> = keys.iter().map(|k| (k.clone(), "eA==".into())).collect();
        let object = |name: &str| json!({"metadata": {"name": name, "namespace": plan.namespace}, "data": data});
        let objects = Known::default()
            .with(Resource::Secrets, object(&f[12]))
            .with(Resource::Secrets, object(&f[19]))
            .with(Resource::ConfigMaps, object(&f[9]));
        for volume in &plan.volumes {
            prop_assert!(is_element(&volume.name), "{volume:?}");
            let token = |_: &_| Some(Secret::new("t"));
            if let Ok(files) = payload(&plan, volume, &pod, &objects, &token, &NodeResources::default()) {
                for (path, _) in files.files() {
                    prop_assert!(is_below(path.as_str()), "{path:?}");
                }
            }
        }
    }
}

#[test]
fn the_harmless_one_is_planned() {
    let mut f = vec!["ok".to_owned(); FIELDS];
    f[18] = "/other".into();
    let plan = PodPlan::new(&pod(&f)).unwrap();
    assert_eq!(plan.containers[0].mounts.len(), 2);
    assert_eq!(plan.volumes.len(), 2);
}
