//! A pod's volume on disk beside what the kubelet makes of it: names, links, modes and owners.
//!
//! The golden listings are written from the rules (k8s-facts §7.3, §7.4; `pkg/volume/util/atomic_writer.go`,
//! `pkg/volume/volume_linux.go`), not from what the code does. One line is ours: the volume's own folder, which the
//! kubelet makes 1777 and mounts read-only.

#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use time::macros::datetime;
use tokensmith_agent::api::Resource;
use tokensmith_agent::disk::{Facts, GRACE, Medium, Root, Tmpfs, Written};
use tokensmith_agent::payload::Secret;
use tokensmith_agent::pod::{Lookup, NodeResources, Objects, PodPlan, Unread, payload};
use tokensmith_core::clock::ManualClock;
use tokensmith_objects::Object;

/// What a case changes: the pod's security context, `defaultMode`, and modes of single items.
struct Case {
    golden: &'static str,
    security: Value,
    default_mode: u32,
    item_modes: bool,
}

fn cases() -> [Case; 7] {
    let case =
        |golden, security, default_mode, item_modes| Case { golden, security, default_mode, item_modes };
    [
        case(include_str!("golden/no-owner.txt"), json!({}), 0o644, false),
        case(include_str!("golden/run-as-user.txt"), json!({"runAsUser": 1000}), 0o644, false),
        case(include_str!("golden/fs-group.txt"), json!({"fsGroup": 2000}), 0o644, false),
        case(include_str!("golden/both.txt"), json!({"runAsUser": 1000, "fsGroup": 2000}), 0o644, false),
        case(include_str!("golden/default-mode-0400.txt"), json!({}), 0o400, false),
        case(include_str!("golden/item-modes.txt"), json!({}), 0o644, true),
        case(include_str!("golden/item-modes-fs-group.txt"), json!({"fsGroup": 2000}), 0o400, true),
    ]
}

#[test]
fn a_volume_is_listed_as_the_kubelets() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give files to other users");
        return;
    }
    for tmpfs in [Tmpfs::Never, Tmpfs::Auto] {
        for case in cases() {
            let dir = tempfile::tempdir().unwrap();
            let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00:07 UTC)));
            let root = Root::open(dir.path(), tmpfs, clock.clone()).unwrap();
            println!("{}", root.facts());
            let volume = root.volume("team", "app", "kube-api-access").unwrap();
            let pod = pod(&case);
            let plan = PodPlan::new(&pod).unwrap();
            let write = |token: &'static str| {
                let tokens = |_: &_| Some(Secret::new(token));
                let node = NodeResources::default();
                let files = payload(&plan, &plan.volumes[0], &pod, &Cluster::new(), &tokens, &node).unwrap();
                volume.write(&files, &plan.ownership).unwrap()
            };
            assert_eq!(write("first"), Written::Updated);
            compare(&volume.path(), case.golden);
            assert_eq!(write("first"), Written::Unchanged);
            // Nor does an update leave a trace, once those who read have had their time.
            assert_eq!(write("second"), Written::Updated);
            clock.advance(GRACE);
            assert_eq!(root.sweep(), None);
            compare(&volume.path(), case.golden);
            root.remove_pod("team", "app").unwrap();
            let Facts { medium, gives, .. } = root.facts();
            assert!(
                *gives && (tmpfs == Tmpfs::Auto || matches!(medium, Medium::Disk { .. } | Medium::Memory))
            );
        }
    }
}

fn compare(volume: &Path, golden: &str) {
    let mut lines = vec![line(volume, ".")];
    list(volume, "", &mut lines);
    lines.sort();
    let found = lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    });
    assert_eq!(found, golden);
}

fn list(dir: &Path, prefix: &str, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", plain(&entry.file_name().into_string().unwrap()));
        lines.push(line(&entry.path(), &name));
        if entry.file_type().unwrap().is_dir() {
            list(&entry.path(), &format!("{name}/"), lines);
        }
    }
}

fn line(path: &Path, name: &str) -> String {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let (mode, user, group) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
    let kind = match () {
        () if meta.is_symlink() => 'l',
        () if meta.is_dir() => 'd',
        () => 'f',
    };
    let target = std::fs::read_link(path).map(|to| format!(" -> {}", plain(to.to_str().unwrap())));
    format!("{kind} {mode:04o} {user}:{group} {name}{}", target.unwrap_or_default())
}

/// A generation's name, normalised.
fn plain(name: &str) -> &str {
    if name.starts_with("..2026_01_01_10_00_") { "..TIME" } else { name }
}

fn pod(case: &Case) -> Object {
    let mut cert = json!({"key": "ca.crt", "path": "ca.crt"});
    let mut config = json!({"key": "app.conf", "path": "nested/deep/app.conf"});
    if case.item_modes {
        cert["mode"] = json!(0o440);
        config["mode"] = json!(0o600);
    }
    Object::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "app", "namespace": "team", "uid": "u-1"},
        "spec": {
            "securityContext": case.security,
            "containers": [{"name": "c", "image": "i",
                "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}],
            "volumes": [{"name": "kube-api-access", "projected": {"defaultMode": case.default_mode, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [cert]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
                {"serviceAccountToken": {"audience": "vault", "path": "nested/vault-token"}},
                {"configMap": {"name": "config", "items": [config]}},
            ]}}],
        },
    }))
    .unwrap()
}

struct Cluster(BTreeMap<&'static str, Arc<Object>>);

impl Cluster {
    fn new() -> Cluster {
        let map = |name: &'static str, key: &str| {
            let data = json!({key: "content\n"});
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "team"}, "data": data});
            (name, Arc::new(Object::from_value(object).unwrap()))
        };
        Cluster(BTreeMap::from([map("kube-root-ca.crt", "ca.crt"), map("config", "app.conf")]))
    }
}

impl Objects for Cluster {
    fn get(&self, resource: Resource, _: Option<&str>, name: &str) -> Lookup {
        assert_eq!(resource, Resource::ConfigMaps);
        self.0.get(name).map_or(Lookup::Missing, |object| Lookup::Found(object.clone()))
    }

    fn trust_bundles(&self, _: &str) -> Result<Vec<Arc<Object>>, Unread> {
        Ok(Vec::new())
    }
}
