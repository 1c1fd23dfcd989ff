use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokensmith_objects::LocalPath;

use super::{Known, pod, projected};
use crate::api::Resource;
use crate::payload::{Payload, Secret};
use crate::pod::{NodeResources, PodPlan, TokenProjection, payload};

const NODE: NodeResources =
    NodeResources { cpu_millis: 2000, memory_bytes: 1 << 30, ephemeral_storage_bytes: 1 << 33 };

/// A token names its audience and lifetime.
fn token(source: &TokenProjection) -> Option<Secret> {
    let audience = source.audience.as_deref().unwrap_or("api");
    (audience != "away").then(|| Secret::new(format!("{audience} {}", source.expiration_seconds)))
}

fn known() -> Known {
    Known::default()
        .with(
            Resource::ConfigMaps,
            json!({"metadata": {"name": "cm", "namespace": "n"}, "data": {"a": "1", "b.txt": "\u{e9}"}, "binaryData": {"z": "AP8="}}),
        )
        .with(
            Resource::ConfigMaps,
            json!({"metadata": {"name": "evil", "namespace": "n"}, "data": {"../../etc/passwd": "x"}}),
        )
        .with(
            Resource::Secrets,
            json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"k": BASE64_STANDARD.encode(b"s3cret"), "l": ""}}),
        )
        .with(Resource::Secrets, json!({"metadata": {"name": "odd", "namespace": "n"}, "data": {"k": "%"}}))
        .with(Resource::Secrets, json!({"metadata": {"name": "other", "namespace": "m"}, "data": {"k": ""}}))
}

fn build(volumes: Value, context: Value, objects: &Known) -> Result<Payload, String> {
    let mut pod = pod(volumes, json!([]));
    pod.set(&["spec", "securityContext"], context);
    let plan = PodPlan::new(&pod).map_err(|e| e.to_string())?;
    payload(&plan, &plan.volumes[0], &pod, objects, &token, &NODE).map_err(|e| e.to_string())
}

/// `PATH MODE USER CONTENT` of each file.
fn listing(payload: &Payload) -> Vec<String> {
    let show = |(path, file): (&LocalPath, &crate::payload::File)| {
        let content = String::from_utf8_lossy(file.data.expose()).into_owned();
        format!("{path} {:04o} {} {content}", file.mode, file.user.map_or("-".into(), |u| u.to_string()))
    };
    payload.files().map(show).collect()
}

fn files(sources: Value) -> Vec<String> {
    listing(&build(projected(sources), json!({}), &known()).unwrap())
}

fn error(sources: Value) -> String {
    build(projected(sources), json!({}), &known()).unwrap_err()
}

#[test]
fn each_source() {
    assert_eq!(
        files(json!([
            {"serviceAccountToken": {"path": "api"}},
            {"serviceAccountToken": {"path": "vault/token", "audience": "vault", "expirationSeconds": 7200}},
            {"configMap": {"name": "cm"}},
            {"secret": {"name": "s", "items": [{"key": "k", "path": "deep/k", "mode": 256}, {"key": "l", "path": "l"}]}},
            {"downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "cpu", "mode": 288, "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}},
        ])),
        [
            "a 0644 - 1",
            "api 0644 - api 3600",
            "b.txt 0644 - \u{e9}",
            "cpu 0440 - 2",
            "deep/k 0400 - s3cret",
            "l 0644 - ",
            "labels 0644 - app=\"x\"",
            "vault/token 0644 - vault 7200",
            "z 0644 - \0\u{fffd}",
        ]
    );
}

#[test]
fn a_later_source_wins() {
    assert_eq!(
        files(
            json!([{"serviceAccountToken": {"path": "a"}}, {"configMap": {"name": "cm", "items": [{"key": "a", "path": "./a"}]}}])
        ),
        ["a 0644 - 1"]
    );
    assert_eq!(
        files(
            json!([{"configMap": {"name": "cm"}}, {"serviceAccountToken": {"path": "a", "audience": "x"}}])
        )[0],
        "a 0644 - x 3600"
    );
}

#[test]
fn modes_and_users() {
    let volume = |mode: i64| {
        json!([{"name": "v", "projected": {"defaultMode": mode, "sources": [
            {"serviceAccountToken": {"path": "t"}},
            {"clusterTrustBundle": {"name": "b", "path": "ca", "optional": true}},
            {"configMap": {"name": "cm", "items": [{"key": "a", "path": "m"}]}}]}}])
    };
    for (mode, context, want) in [
        (0o440, json!({}), ["ca 0440 - ", "m 0440 - 1", "t 0440 - api 3600"]),
        (0o440, json!({"fsGroup": 2000}), ["ca 0600 - ", "m 0440 - 1", "t 0600 - api 3600"]),
        (0o644, json!({"runAsUser": 1000}), ["ca 0600 1000 ", "m 0644 - 1", "t 0600 1000 api 3600"]),
        (0o644, json!({"runAsUser": 1, "fsGroup": 2}), ["ca 0600 1 ", "m 0644 - 1", "t 0600 1 api 3600"]),
    ] {
        assert_eq!(listing(&build(volume(mode), context, &known()).unwrap()), want);
    }
}

#[test]
fn what_is_missing() {
    let gone = json!({"name": "gone"});
    for (sources, want) in [
        (json!([{ "configMap": gone }]), "configmap \"gone\" not found"),
        (json!([{ "secret": gone }]), "secret \"gone\" not found"),
        // Of another namespace.
        (json!([{"secret": {"name": "other"}}]), "secret \"other\" not found"),
        (
            json!([{"configMap": {"name": "cm", "items": [{"key": "q", "path": "q"}]}}]),
            "configmap references non-existent config key: q",
        ),
        (
            json!([{"secret": {"name": "s", "items": [{"key": "q", "path": "q"}]}}]),
            "references non-existent secret key: q",
        ),
        (json!([{"secret": {"name": "odd"}}]), "secret \"odd\": the value of key \"k\" is no base64"),
        (
            json!([{"configMap": {"name": "evil"}}]),
            "configmap \"evil\": invalid path: must not contain '..': \"../../etc/passwd\"",
        ),
        (
            json!([{"serviceAccountToken": {"path": "t", "audience": "away"}}]),
            "no token for audience \"away\" at \"t\" yet",
        ),
        (
            json!([{"clusterTrustBundle": {"name": "b", "path": "ca"}}]),
            "while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io \"b\" not found",
        ),
        (
            json!([{"clusterTrustBundle": {"signerName": "a.example/s", "labelSelector": {}, "path": "ca"}}]),
            "combination of signerName and labelSelector matched zero ClusterTrustBundles",
        ),
        (
            json!([{"downwardAPI": {"items": [{"path": "x", "resourceFieldRef": {"containerName": "z", "resource": "limits.cpu"}}]}}]),
            "container z not found",
        ),
        (
            json!([{"secret": {"name": "s", "items": [{"key": "q\nforged line", "path": "q"}]}}]),
            "references non-existent secret key: q\\nforged line",
        ),
        // Everything that is wrong is said, once.
        (
            json!([{ "configMap": gone }, {"secret": {"name": "s"}}, { "secret": gone }, { "configMap": gone }]),
            "[configmap \"gone\" not found, secret \"gone\" not found]",
        ),
        (
            json!([{"serviceAccountToken": {"path": "a/b/c"}}, {"serviceAccountToken": {"path": "a"}}, {"configMap": {"name": "cm", "items": [{"key": "a", "path": "a-b"}]}}]),
            "conflicting paths: \"a\" is a file and a folder",
        ),
    ] {
        assert_eq!(error(sources), want);
    }
    assert!(
        files(json!([
            {"configMap": {"name": "gone", "optional": true}},
            {"secret": {"name": "gone", "optional": true, "items": [{"key": "k", "path": "k"}]}},
            {"secret": {"name": "s", "optional": true, "items": [{"key": "q", "path": "q"}]}},
        ]))
        .is_empty()
    );
}

/// When the API cannot be asked, an optional source must not look like a missing one: its files would vanish.
#[test]
fn unknown_is_not_missing() {
    let sources = projected(json!([
        {"configMap": {"name": "cm", "optional": true}},
        {"clusterTrustBundle": {"signerName": "a.example/s", "labelSelector": {}, "path": "ca", "optional": true}}]));
    assert_eq!(
        build(sources, json!({}), &Known::away("connection refused")).unwrap_err(),
        "[configmap \"cm\" could not be read: connection refused, clustertrustbundle.certificates.k8s.io \"a.example/s\" could not be read: connection refused]"
    );
}

#[test]
fn plain_volumes() {
    let secret = json!([{"name": "v", "secret": {"secretName": "s", "defaultMode": 256}}]);
    let payload = build(secret, json!({"runAsUser": 5}), &known()).unwrap();
    assert_eq!(listing(&payload), ["k 0400 - s3cret", "l 0400 - "]);
    let gone = json!([{"name": "v", "secret": {"secretName": "gone"}}]);
    assert_eq!(build(gone, json!({}), &known()).unwrap_err(), "secret \"gone\" not found");
}

#[test]
fn trust_anchors() {
    let block = |bytes: &[u8]| {
        let text = BASE64_STANDARD.encode(bytes);
        let lines: Vec<_> =
            text.as_bytes().chunks(64).map(|l| String::from_utf8(l.to_vec()).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    let (one, two, three) = (block(&[1; 100]), block(&[2; 3]), block(&[3; 48]));
    let bundle = |name: &str, signer: &str, label: &str, text: String| json!({"metadata": {"name": name, "labels": {"l": label}}, "spec": {"signerName": signer, "trustBundle": text}});
    let ours = "a.example/s";
    let objects = Known::default()
        .with(Resource::ClusterTrustBundles, bundle("x", ours, "1", format!("# two, then one\n{two}\n{one}")))
        .with(Resource::ClusterTrustBundles, bundle("y", ours, "2", format!("{one}{three}{one}")))
        .with(Resource::ClusterTrustBundles, bundle("z", "b.example/s", "1", block(b"theirs")))
        .with(
            Resource::ClusterTrustBundles,
            bundle(
                "bad",
                "c.example/s",
                "1",
                "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n".into(),
            ),
        );
    let file = |source: Value| {
        let mut source = source;
        source["path"] = "ca".into();
        let payload = build(projected(json!([{ "clusterTrustBundle": source }])), json!({}), &objects)?;
        let file = payload.get(&LocalPath::try_from("ca").unwrap()).unwrap();
        Ok::<_, String>(file.data.expose_str().unwrap().to_owned())
    };
    let all = format!("{one}{two}{three}");
    for (source, want) in [
        (json!({"name": "x"}), Ok(format!("{one}{two}"))),
        (json!({"name": "gone", "optional": true}), Ok(String::new())),
        (json!({"signerName": ours, "labelSelector": {}}), Ok(all)),
        (
            json!({"signerName": ours, "labelSelector": {"matchLabels": {"l": "2"}}}),
            Ok(format!("{one}{three}")),
        ),
        (
            json!({"signerName": ours, "labelSelector": {"matchLabels": {"l": "3"}}, "optional": true}),
            Ok(String::new()),
        ),
        // Without a selector nothing is selected.
        (json!({"signerName": ours, "optional": true}), Ok(String::new())),
        (
            json!({"signerName": ours}),
            Err("combination of signerName and labelSelector matched zero ClusterTrustBundles".to_owned()),
        ),
    ] {
        assert_eq!(file(source.clone()), want, "{source}");
    }
    let bad = file(json!({"name": "bad"})).unwrap_err();
    assert!(bad.starts_with("while normalizing trust anchors: \"bad\": "), "{bad}");
    assert!(!bad.contains('\n'), "{bad}");
}

/// What the payload shows of the pod is what the pod is now, not when it was planned.
#[test]
fn labels_of_now() {
    let mut pod = pod(
        projected(
            json!([{"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]),
        ),
        json!([]),
    );
    let plan = PodPlan::new(&pod).unwrap();
    pod.set(&["metadata", "labels", "app"], "y");
    let objects: Arc<Known> = Arc::default();
    let payload = payload(&plan, &plan.volumes[0], &pod, &*objects, &|_| None, &NODE).unwrap();
    assert_eq!(listing(&payload), ["l 0644 - app=\"y\""]);
}

#[test]
fn no_error_shows_content() {
    let debug =
        format!("{:?}", build(projected(json!([{"secret": {"name": "s"}}])), json!({}), &known()).unwrap());
    assert!(!debug.contains("s3cret"), "{debug}");
}
