//! What comes of every pod in `tests/guide-volumes`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tokensmith_agent::pod::{PodPlan, Reading, Source, manifest};
use tokensmith_api::Media;
use tokensmith_objects::codec::{self, Expected, FieldValidation};
use tokensmith_objects::validate::{self, Limits};
use tokensmith_objects::{Object, defaults, schema};

/// A file; what its pod plans; what a server with Kubernetes' limits says against it.
type Row = (&'static str, &'static [&'static str], Option<&'static str>);

const SA: &str = "my-service-account";
const CONTAINERS: &str = "spec.containers: Required value";
const FIRST_TOO_SHORT: &str = "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes";
const SECOND_TOO_SHORT: &str = "spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes";

/// The account, then a line per source (a token is `AUDIENCE SECONDS PATH`, without an audience `-`) and per mount.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("audience", &[SA, "token-volume: https://payment-processor.example.com 3600 token"], None),
    ("basic", &[
        SA,
        "service-token: https://kubernetes.default.svc 3600 token",
        "main-app: service-token at /var/run/secrets/tokens, read-only",
    ], None),
    ("custom-api-client", &[
        SA,
        "api-token: https://api.example.com 3600 api-token",
        "api-client: api-token at /var/run/secrets/tokens",
    ], None),
    ("custom-expiration", &[
        SA,
        "service-tokens: https://app.example.com 86400 long-lived-token",
        "service-tokens: https://api.example.com 300 short-lived-token",
    ], Some(SECOND_TOO_SHORT)),
    ("expiration-levels", &[
        SA,
        "token-volume: - 300 high",
        "token-volume: - 3600 medium",
        "token-volume: - 43200 low",
    ], Some(FIRST_TOO_SHORT)),
    ("explicit-audiences", &[
        SA,
        "token-volume: https://payment-api.example.com 3600 good",
        "token-volume: kubernetes 3600 generic",
    ], None),
    ("extended-token-without-containers", &[
        "Pod \"extended-token-pod\" is invalid: spec.containers: Required value",
    ], Some(CONTAINERS)),
    ("istio", &[
        SA,
        "istio-token: istio-ca 43200 istio-token",
        "istio-proxy: istio-token at /var/run/secrets/tokens",
    ], None),
    ("least-privilege", &[
        SA,
        "metrics-token: https://monitoring.example.com 3600 token",
        "metrics: metrics-token at /var/run/secrets/tokens",
    ], None),
    ("legacy-token", &[SA], None),
    ("migrated", &[
        SA,
        "token-volume: https://kubernetes.default.svc 3600 token",
        "app: token-volume at /var/run/secrets/tokens",
    ], None),
    ("oauth2-proxy", &[
        SA,
        "k8s-token: kubernetes 3600 token",
        "oauth-proxy: k8s-token at /var/run/secrets/tokens",
    ], None),
    ("projected-token", &[SA, "token-volume: https://kubernetes.default.svc 3600 token"], None),
    ("read-only-mount", &[
        SA,
        "token-volume: - 3600 token",
        "app: token-volume at /var/run/secrets/tokens, read-only",
    ], None),
    ("short-expiration", &[SA, "token-volume: - 900 token"], None),
    ("sidecar-auth-proxy", &[
        SA,
        "service-token: https://api.example.com 3600 token",
        "auth-proxy: service-token at /var/run/secrets/tokens, read-only",
    ], None),
    ("three-services", &[
        SA,
        "tokens: https://database.example.com 3600 db-token",
        "tokens: https://cache.example.com 1800 cache-token",
        "tokens: https://logging.example.com 900 logging-token",
    ], None),
    ("token-configmap-secret", &[
        SA,
        "all-tokens: https://kubernetes.default.svc 3600 k8s-token",
        "all-tokens: configMap trusted-ca, ca.crt as ca.crt",
        "all-tokens: secret api-credentials, api-key as api-key",
    ], None),
    ("token-exchange", &[
        SA,
        "k8s-token: https://auth.example.com 3600 token",
        "token-exchange: k8s-token at /var/run/secrets/tokens",
    ], None),
    ("two-audiences", &[
        SA,
        "service-tokens: https://kubernetes.default.svc 3600 k8s-token",
        "service-tokens: https://vault.example.com 7200 vault-token",
    ], None),
    ("two-containers", &[
        "default",
        "frontend-token: https://frontend.example.com 3600 token",
        "backend-token: https://backend.example.com 3600 token",
        "frontend: frontend-token at /var/run/secrets/tokens",
        "backend: backend-token at /var/run/secrets/tokens",
    ], None),
    ("vault", &[SA, "vault-token: vault.example.com 3600 token"], None),
    ("zero-trust", &[
        SA,
        "auth-token: https://zero-trust-gateway.example.com 300 token",
    ], Some(FIRST_TOO_SHORT)),
];

#[test]
fn every_file() {
    for (name, want, refusal) in ROWS {
        let text = std::fs::read_to_string(folder().join(format!("{name}.yaml"))).unwrap();
        let pod = decode(&text);
        // Validation comes after admission, which gives a pod its account.
        let mut admitted = pod.clone();
        if admitted.str_at(&["spec", "serviceAccountName"]).is_empty() {
            admitted.set(&["spec", "serviceAccountName"], "default");
        }
        let refused = |least| {
            let pods = schema::kind("", "pods").unwrap();
            let errors =
                validate::create(pods, &admitted, &Limits { min_token_expiration_seconds: least }).told();
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(refused(600), Vec::from_iter(*refusal), "{name}");
        // A server that allows short tokens has nothing against them.
        let lasting = refusal.filter(|text| !text.contains("duration"));
        assert_eq!(refused(300), Vec::from_iter(lasting), "{name}");
        assert_eq!(planned(&pod), *want, "{name}");
        // What the command reads is the same pod: how short a token may live is not its to say.
        match manifest(&text, &Reading { file: name, namespace: "default", templates: false }) {
            Ok(found) => assert!(found.taken[0].object == pod && lasting.is_none(), "{name}"),
            Err(e) => assert_eq!([e.to_string()], *want, "{name}"),
        }
    }
}

/// No file without a row, no row without a file, and each stands in the README.
#[test]
fn no_file_is_forgotten() {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let files: BTreeSet<String> =
        entries.filter_map(|name| name.to_str()?.strip_suffix(".yaml").map(Into::into)).collect();
    let rows: BTreeSet<String> = ROWS.iter().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(files, rows);
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for name in rows {
        assert!(readme.contains(&format!("| `{name}.yaml` |")), "{name}");
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/guide-volumes")
}

/// As an API server takes a body with `fieldValidation=Strict` for the namespace `default`.
fn decode(text: &str) -> Object {
    let pods = schema::kind("", "pods").expect("it is in the table");
    let expected = Expected::kind(pods);
    let decoded = codec::decode(text.as_bytes(), Media::Yaml, &expected, FieldValidation::Strict);
    let mut pod = decoded.expect("the guide has no unknown fields").object;
    pod.set(&["metadata", "namespace"], "default");
    defaults::apply(pods, &mut pod);
    pod
}

fn planned(pod: &Object) -> Vec<String> {
    let plan = match PodPlan::new(pod) {
        Ok(plan) => plan,
        Err(e) => return vec![e.to_string()],
    };
    assert!(plan.ignored.is_empty());
    let mut lines = vec![plan.account.clone()];
    for volume in &plan.volumes {
        assert_eq!(volume.default_mode, 0o644);
        lines.extend(volume.sources.iter().map(|source| format!("{}: {}", volume.name, show(source))));
    }
    for container in &plan.containers {
        for mount in &container.mounts {
            let read_only = if mount.read_only { ", read-only" } else { "" };
            lines.push(format!("{}: {} at {}{read_only}", container.name, mount.volume, mount.path));
        }
    }
    lines
}

fn show(source: &Source) -> String {
    let (kind, object) = match source {
        Source::ServiceAccountToken(token) => {
            let audience = token.audience.as_deref().unwrap_or("-");
            return format!("{audience} {} {}", token.expiration_seconds, token.path);
        }
        Source::ConfigMap(object) => ("configMap", object),
        Source::Secret(object) => ("secret", object),
        other => panic!("the guide has no {other:?}"),
    };
    let items: String = object.items.iter().map(|item| format!(", {} as {}", item.key, item.path)).collect();
    format!("{kind} {}{items}", object.name)
}
