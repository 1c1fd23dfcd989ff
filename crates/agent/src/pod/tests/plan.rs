use serde_json::{Value, json};
use tokensmith_objects::{LocalPath, Object};

use super::{pod, projected};
use crate::api::{Resource, Selection};
use crate::pod::{
    ContainerKind, DownwardValue, FieldPath, Ignored, MountPlan, Ownership, PodPlan, Reference, Source,
    TokenProjection, TrustBundles,
};

fn path(text: &str) -> LocalPath {
    LocalPath::try_from(text).unwrap()
}

fn refused(pod: &Object) -> String {
    PodPlan::new(pod).unwrap_err().to_string()
}

#[test]
fn all_sources() {
    let pod = pod(
        json!([{"name": "v", "projected": {"defaultMode": 256, "sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"serviceAccountToken": {"path": "./b//token", "audience": "vault", "expirationSeconds": 600}},
            {"configMap": {"name": "cm", "items": [{"key": "k", "path": "a/b", "mode": 292}], "optional": true}},
            {"secret": {"name": "s"}},
            {"downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "cpu", "mode": 384, "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}},
            {"clusterTrustBundle": {"name": "example.com:s:one", "path": "one.pem"}},
            {"clusterTrustBundle": {"signerName": "example.com/s", "labelSelector": {}, "optional": true, "path": "s.pem"}},
            {"clusterTrustBundle": {"signerName": "example.com/s", "path": "none.pem", "optional": true}},
            {},
        ]}}]),
        json!([{"name": "v", "mountPath": "/var//run/./x/", "readOnly": true}]),
    );
    let plan = PodPlan::new(&pod).unwrap();
    assert_eq!(
        (plan.namespace.as_str(), plan.name.as_str(), plan.uid.as_str(), plan.account.as_str()),
        ("n", "p", "u-1", "sa")
    );
    let volume = plan.volume("v").unwrap();
    assert_eq!((volume.default_mode, volume.sources.len()), (0o400, 8));
    let token = |audience: Option<&str>, expiration_seconds, at| {
        Source::ServiceAccountToken(TokenProjection {
            audience: audience.map(Into::into),
            expiration_seconds,
            path: path(at),
            exchange: None,
        })
    };
    assert_eq!(volume.sources[0], token(None, 3600, "token"));
    assert_eq!(volume.sources[1], token(Some("vault"), 600, "b/token"));
    let Source::ConfigMap(map) = &volume.sources[2] else { panic!() };
    assert_eq!((map.name.as_str(), map.optional, map.items[0].mode), ("cm", true, Some(0o444)));
    let Source::Secret(secret) = &volume.sources[3] else { panic!() };
    assert!(secret.items.is_empty() && !secret.optional);
    let Source::DownwardApi(files) = &volume.sources[4] else { panic!() };
    assert_eq!(files[0].value, DownwardValue::Field(FieldPath::Labels));
    assert_eq!(files[1].mode, Some(0o600));
    let bundles: Vec<_> = volume.sources[5..]
        .iter()
        .map(|source| match source {
            Source::ClusterTrustBundle(source) => (&source.bundles, source.optional, source.path.as_str()),
            _ => panic!(),
        })
        .collect();
    assert_eq!(bundles[0], (&TrustBundles::Name("example.com:s:one".into()), false, "one.pem"));
    assert!(matches!(bundles[1], (TrustBundles::Signer { labels: Some(_), .. }, true, "s.pem")));
    assert!(matches!(bundles[2], (TrustBundles::Signer { labels: None, .. }, true, "none.pem")));
    let mount = MountPlan { volume: "v".into(), path: "/var/run/x".into(), sub_path: None, read_only: true };
    assert_eq!(mount.relative_path(), "var/run/x");
    assert_eq!(plan.container("c").unwrap().mounts, [mount]);

    let named = |resource, namespace: Option<&str>, name: &str| Reference::Named {
        resource,
        namespace: namespace.map(Into::into),
        name: name.into(),
    };
    let references: Vec<_> = plan.references().into_iter().collect();
    let want = [
        named(Resource::ClusterTrustBundles, None, "example.com:s:one"),
        named(Resource::ConfigMaps, Some("n"), "cm"),
        named(Resource::Secrets, Some("n"), "s"),
        Reference::Signer("example.com/s".into()),
    ];
    assert_eq!(references, want);
    let selection = Selection { fields: "spec.signerName=example.com/s".into(), ..Selection::default() };
    assert_eq!((want[3].resource(), want[3].selection()), (Resource::ClusterTrustBundles, selection));
    let selection =
        Selection { namespace: Some("n".into()), name: Some("cm".into()), ..Selection::default() };
    assert_eq!((want[1].resource(), want[1].selection()), (Resource::ConfigMaps, selection));
}

#[test]
fn plain_volumes_are_projected_ones_with_one_source() {
    let pod = pod(
        json!([
            {"name": "s", "secret": {"secretName": "top", "defaultMode": 256, "optional": true}},
            {"name": "m", "configMap": {"name": "cm", "items": [{"key": "a", "path": "b"}]}},
            {"name": "d", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "e", "emptyDir": {}},
            {"name": "bare"},
            {"name": "h", "hostPath": {"path": "/etc"}},
        ]),
        json!([
            {"name": "s", "mountPath": "s", "subPath": "./x"},
            {"name": "e", "mountPath": "/../.."},
            {"name": "m", "mountPath": "/m", "subPath": "."},
            {"name": "d", "mountPath": "/d", "subPathExpr": "$(POD)"},
        ]),
    );
    let plan = PodPlan::new(&pod).unwrap();
    let volumes: Vec<_> =
        plan.volumes.iter().map(|v| (v.name.as_str(), v.default_mode, v.sources.len())).collect();
    assert_eq!(volumes, [("s", 0o400, 1), ("m", 0o644, 1), ("d", 0o644, 1)]);
    let Source::Secret(secret) = &plan.volumes[0].sources[0] else { panic!() };
    assert_eq!((secret.name.as_str(), secret.optional), ("top", true));
    let mounts = &plan.containers[0].mounts;
    assert_eq!((mounts[0].path.as_str(), &mounts[0].sub_path), ("/s", &Some(path("x"))));
    assert_eq!((mounts[1].path.as_str(), &mounts[1].sub_path), ("/m", &None));
    assert_eq!(mounts.len(), 2);
    let ignored = |name: &str, kind: &str| Ignored::Volume { name: name.into(), kind: kind.into() };
    let expr = Ignored::SubPathExpr { container: "c".into(), volume: "d".into() };
    assert_eq!(
        plan.ignored,
        [ignored("e", "emptyDir"), ignored("bare", "emptyDir"), ignored("h", "hostPath"), expr.clone()]
    );
    assert_eq!(plan.ignored[0].to_string(), "volume \"e\" is of kind \"emptyDir\"");
    assert_eq!(expr.to_string(), "container \"c\": the mount of volume \"d\" has a subPathExpr");
}

#[test]
fn an_owner_is_who_runs_all_containers() {
    let user = |pod: Value, init: Value, regular: Value, ephemeral: Value| {
        let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {
            "securityContext": pod,
            "initContainers": [{"name": "i", "securityContext": init}],
            "containers": [{"name": "c", "securityContext": regular}],
            "ephemeralContainers": [{"name": "e", "securityContext": ephemeral}],
        }});
        let plan = PodPlan::new(&Object::from_value(object).unwrap()).unwrap();
        assert_eq!(
            plan.containers.iter().map(|c| c.kind).collect::<Vec<_>>(),
            [ContainerKind::Init, ContainerKind::Regular, ContainerKind::Ephemeral]
        );
        assert_eq!(plan.account, "default");
        (plan.ownership.fs_user, plan.ownership.fs_group)
    };
    let run = |user: i64| json!({"runAsUser": user});
    let none = || json!(null);
    for (got, want) in [
        (user(none(), none(), none(), none()), (None, None)),
        (user(run(1000), none(), none(), none()), (Some(1000), None)),
        (user(run(0), none(), none(), none()), (Some(0), None)),
        (user(json!({"runAsUser": 5, "fsGroup": 7}), none(), json!({}), none()), (Some(5), Some(7))),
        (user(json!({"fsGroup": 7}), none(), none(), none()), (None, Some(7))),
        (user(none(), run(1), run(1), run(1)), (Some(1), None)),
        (user(none(), none(), run(1), run(1)), (None, None)),
        (user(none(), run(1), run(1), none()), (None, None)),
        (user(run(1), none(), run(2), none()), (None, None)),
        (user(run(9), run(1), run(1), run(1)), (Some(1), None)),
    ] {
        assert_eq!(got, want);
    }
    assert_eq!(Ownership::default(), Ownership { fs_user: None, fs_group: None });
}

#[test]
fn refusals() {
    let at = "spec.volumes[0].projected";
    for (volumes, want) in [
        (
            projected(
                json!([{"podCertificate": {"signerName": "a.example/b", "keyType": "ED25519", "keyPath": "k"}}]),
            ),
            format!("{at}.sources[0].podCertificate: Forbidden: podCertificate sources are not supported"),
        ),
        (
            projected(json!([{"serviceAccountToken": {"path": "t"}, "secret": {"name": "s"}}])),
            format!("{at}.sources[0]: Forbidden: may not specify more than 1 volume type per source"),
        ),
        (projected(json!([{"serviceAccountToken": {}}])), format!("{at}.path: Required value")),
        (
            projected(json!([{"serviceAccountToken": {"path": "/t"}}])),
            format!("{at}.path: Invalid value: \"/t\": must be a relative path"),
        ),
        (
            projected(json!([{"serviceAccountToken": {"path": "a/../b"}}])),
            format!("{at}.path: Invalid value: \"a/../b\": must not contain '..'"),
        ),
        (
            projected(json!([{"serviceAccountToken": {"path": "..data"}}])),
            format!("{at}.path: Invalid value: \"..data\": must not start with '..'"),
        ),
        (
            projected(json!([{"serviceAccountToken": {"path": "a\u{0}b"}}])),
            format!("{at}.path: Invalid value: \"a\\x00b\": must not contain NUL"),
        ),
        (
            projected(json!([{"serviceAccountToken": {"path": "x".repeat(256)}}])),
            format!("{at}.path: Too long: no element may be more than 255 bytes"),
        ),
        (
            projected(json!([{"serviceAccountToken": {"path": "t", "expirationSeconds": 0}}])),
            format!(
                "{at}.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 0: must be greater than 0"
            ),
        ),
        (
            projected(json!([{"secret": {"name": "s", "items": [{"key": "k", "path": "../x"}]}}])),
            format!("{at}.sources[0].secret.items[0].path: Invalid value: \"../x\": must not contain '..'"),
        ),
        (
            projected(json!([{"secret": {"name": "s", "items": [{"key": "k", "path": "x", "mode": 512}]}}])),
            format!(
                "{at}.sources[0].secret.items[0].mode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"
            ),
        ),
        (
            projected(json!([{"configMap": {"name": ""}}])),
            format!("{at}.sources[0].configMap.name: Required value"),
        ),
        (
            projected(
                json!([{"downwardAPI": {"items": [{"path": "x", "resourceFieldRef": {"resource": "limits.cpu"}}]}}]),
            ),
            format!("{at}.sources[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value"),
        ),
        (
            projected(json!([{"clusterTrustBundle": {"path": "p"}}])),
            format!(
                "{at}.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified"
            ),
        ),
        (
            projected(json!([{"clusterTrustBundle": {"path": "p", "name": "x", "labelSelector": {}}}])),
            format!(
                "{at}.sources[0].clusterTrustBundle.labelSelector: Invalid value: \"x\": labelSelector must be unset if name is specified"
            ),
        ),
        (
            projected(
                json!([{"clusterTrustBundle": {"path": "p", "signerName": "a.example/b,metadata.name=c"}}]),
            ),
            format!(
                "{at}.sources[0].clusterTrustBundle.signerName: Invalid value: \"a.example/b,metadata.name=c\": must be a fully qualified domain and path of the form 'example.com/signer-name'"
            ),
        ),
        (
            json!([{"name": "v", "secret": {"secretName": "s"}, "projected": {"sources": []}}]),
            "spec.volumes[0].projected: Forbidden: may not specify more than 1 volume type".into(),
        ),
        (json!([{"projected": {}}]), "spec.volumes[0].name: Required value".into()),
        (json!([{"name": "v"}, {"name": "v"}]), "spec.volumes[1].name: Duplicate value: \"v\"".into()),
    ] {
        assert_eq!(refused(&pod(volumes, json!([]))), format!("Pod \"p\" is invalid: {want}"));
    }
}

#[test]
fn refusals_of_names_and_mounts() {
    let volumes = projected(json!([{"serviceAccountToken": {"path": "t"}}]));
    let set = |path: &[&str], value: Value| {
        let mut pod = pod(volumes.clone(), json!([]));
        pod.set(path, value);
        pod
    };
    for (pod, want) in [
        (
            set(&["metadata", "name"], json!("..")),
            "metadata.name: Invalid value: \"..\": a lowercase RFC 1123",
        ),
        (set(&["metadata", "name"], json!("a/b")), "metadata.name: Invalid value"),
        (set(&["metadata", "namespace"], json!("../n")), "metadata.namespace: Invalid value"),
        (set(&["metadata", "namespace"], json!("")), "metadata.namespace: Required value"),
        (set(&["spec", "serviceAccountName"], json!("a/../b")), "spec.serviceAccountName: Invalid value"),
        (set(&["spec", "containers"], json!([])), "spec.containers: Required value"),
        (set(&["spec"], json!(null)), "spec.containers: Required value"),
        (
            set(&["spec", "containers"], json!([{"name": "../x"}])),
            "spec.containers[0].name: Invalid value: \"../x\": a lowercase RFC 1123 label",
        ),
        (
            set(&["spec", "initContainers"], json!([{"name": "c"}])),
            "spec.containers[0].name: Duplicate value: \"c\"",
        ),
        (
            set(&["spec", "securityContext"], json!({"fsGroup": -1})),
            "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
    ] {
        let text = refused(&pod);
        assert!(text.contains(want), "{text}");
    }
    for (mounts, want) in [
        (json!([{"name": "x", "mountPath": "/a"}]), "volumeMounts[0].name: Not found: \"x\""),
        (json!([{"name": "v"}]), "volumeMounts[0].mountPath: Required value"),
        (
            json!([{"name": "v", "mountPath": "/"}]),
            "volumeMounts[0].mountPath: Invalid value: \"/\": must not be the root",
        ),
        (
            json!([{"name": "v", "mountPath": "/."}]),
            "volumeMounts[0].mountPath: Invalid value: \".\": must name a file",
        ),
        (
            json!([{"name": "v", "mountPath": "/a/../../etc"}]),
            "volumeMounts[0].mountPath: Invalid value: \"a/../../etc\": must not contain '..'",
        ),
        (
            json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "a/"}]),
            "volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
        ),
        (
            json!([{"name": "v", "mountPath": "/a", "subPath": "/etc"}]),
            "volumeMounts[0].subPath: Invalid value: \"/etc\": must be a relative path",
        ),
        (
            json!([{"name": "v", "mountPath": "/a", "subPath": "..data/t"}]),
            "volumeMounts[0].subPath: Invalid value: \"..data/t\": must not start with '..'",
        ),
    ] {
        let text = refused(&pod(volumes.clone(), mounts));
        assert_eq!(text, format!("Pod \"p\" is invalid: spec.containers[0].{want}"));
    }
}
