use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::kinds::testing::{defaulted, texts};
use crate::schema::kind;
use crate::table::{Include, table};
use crate::validate::{Limits, create, too_short, update};
use crate::{Object, defaults, strategy};

fn pod(projected: Value) -> Object {
    let mut pod = Object::from_value(json!({
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"serviceAccountName": "s", "containers": [{"name": "c", "image": "i"}], "volumes": [{"name": "v", "projected": projected}]},
    }))
    .unwrap();
    defaults::apply(kind("", "pods").unwrap(), &mut pod);
    pod
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
    let on_node = |pod: &Object| {
        let mut pod = pod.clone();
        pod.set(&["spec", "nodeName"], "n");
        pod
    };
    let (plain, mirror) = (on_node(&plain), on_node(&mirror));
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
fn what_a_pod_leaves_open() {
    let pod = defaulted(
        "",
        "pods",
        json!({"metadata": {"name": "a"}, "spec": {
            "serviceAccountName": "b",
            "containers": [{"name": "c", "image": "busybox"}, {"name": "d", "image": "r.example:5000/a:1.0", "imagePullPolicy": "Never"}],
            "volumes": [{"name": "e"}, {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        }}),
    );
    let spec = &pod["spec"];
    assert_eq!(spec["serviceAccount"], "b");
    assert_eq!(
        (&spec["containers"][0]["imagePullPolicy"], &spec["containers"][1]["imagePullPolicy"]),
        (&json!("Always"), &json!("Never"))
    );
    assert_eq!(spec["volumes"][0]["emptyDir"], json!({}));
    assert_eq!(
        spec["volumes"][1]["projected"],
        json!({"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}], "defaultMode": 420})
    );
    assert_eq!(
        (&spec["restartPolicy"], &spec["terminationGracePeriodSeconds"]),
        (&json!("Always"), &json!(30))
    );
    assert_eq!(defaulted("", "pods", json!({}))["spec"]["dnsPolicy"], "ClusterFirst");
}

#[test]
fn a_client_does_not_set_the_status() {
    let mut pod = Object::from_value(json!({"metadata": {}, "spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}, "status": {"phase": "Running"}})).unwrap();
    strategy::prepare_create(kind("", "pods").unwrap(), &mut pod);
    assert_eq!(pod.get("status"), Some(&json!({"phase": "Pending", "qosClass": "Burstable"})));
}

#[test]
fn a_pods_row() {
    let pod = Object::from_value(json!({"metadata": {"name": "web"}, "spec": {"containers": [{}, {}]}, "status": {"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": 2, "state": {"running": {}}}]}})).unwrap();
    let table = table(
        "meta.k8s.io/v1",
        kind("", "pods").unwrap(),
        [&pod],
        Include::default(),
        OffsetDateTime::UNIX_EPOCH,
        json!({}),
    );
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..5], [json!("web"), json!("1/2"), json!("Running"), json!("2"), json!("<unknown>")]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

/// What `kubectl get pods` says of pods in trouble.
#[test]
fn a_pods_row_tells_what_keeps_it() {
    let now = time::macros::datetime!(2026-01-01 00:10 UTC);
    let cells = |spec: Value, status: Value| {
        let pod = json!({"metadata": {"name": "a"}, "spec": spec, "status": status});
        let pod = Object::from_value(pod).unwrap();
        let table = table("meta.k8s.io/v1", kind("", "pods").unwrap(), [&pod], Include::None, now, json!({}));
        let row = &table["rows"][0];
        assert_eq!(row["object"], Value::Null);
        (1..=3).map(|at| row["cells"][at].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let two = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]});
    let sidecar =
        json!({"initContainers": [{"name": "i", "restartPolicy": "Always"}], "containers": [{"name": "c"}]});
    let gated = json!([{"type": "PodScheduled", "reason": "SchedulingGated", "status": "False"}]);
    for (spec, status, want) in [
        (
            &two,
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            ["0/1", "Init:0/1", "0"],
        ),
        (
            &two,
            json!({"initContainerStatuses": [{"name": "i", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"finishedAt": "2026-01-01T00:08:00Z"}}}]}),
            ["0/1", "Init:CrashLoopBackOff", "3 (2m ago)"],
        ),
        (
            &two,
            json!({"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 7}}}]}),
            ["0/1", "ExitCode:7", "0"],
        ),
        (
            &sidecar,
            json!({"phase": "Running", "initContainerStatuses": [{"name": "i", "ready": true, "started": true, "restartCount": 1, "state": {"running": {}}}], "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]}),
            ["2/2", "Running", "1"],
        ),
        (&two, json!({"phase": "Pending", "conditions": gated}), ["0/1", "SchedulingGated", "0"]),
    ] {
        assert_eq!(cells(spec.clone(), status.clone()), want, "{status}");
    }
}

#[test]
fn labels_that_a_term_names_by_their_keys_become_a_part_of_its_selector() {
    let mut pod = Object::from_value(json!({
        "metadata": {"labels": {"hash": "1"}},
        "spec": {"containers": [], "topologySpreadConstraints": [{"labelSelector": {}, "matchLabelKeys": ["hash", "none"]}, {"matchLabelKeys": ["hash"]}]},
    }))
    .unwrap();
    strategy::prepare_create(kind("", "pods").unwrap(), &mut pod);
    let constraints = pod.at(&["spec", "topologySpreadConstraints"]).unwrap();
    assert_eq!(
        constraints[0]["labelSelector"]["matchExpressions"],
        json!([{"key": "hash", "operator": "In", "values": ["1"]}])
    );
    assert_eq!(constraints[1].get("labelSelector"), None);
}
