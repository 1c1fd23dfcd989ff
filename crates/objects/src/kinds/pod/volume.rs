//! Volumes of a pod; projected ones completely, since tokens come through them.

use std::collections::HashSet;

use serde_json::Value;

use crate::field::{Findings, Shared};
use crate::validate::{Limits, MAX_TOKEN_EXPIRATION, TOO_LONG, too_short};
use crate::{FieldError, names};

/// The volumes of `spec.volumes`.
pub(super) fn volumes(errors: &mut Findings, list: &[Value], limits: &Limits) {
    let mut seen = HashSet::new();
    for (at, volume) in list.iter().enumerate() {
        let field = format!("spec.volumes[{at}]");
        let name = volume["name"].as_str().unwrap_or("");
        if name.is_empty() {
            errors.push(|| FieldError::required(format!("{field}.name"), ""));
        } else {
            for finding in names::label(name) {
                errors.push(|| FieldError::invalid(format!("{field}.name"), &name.into(), finding));
            }
            if !seen.insert(name) {
                errors.push(|| FieldError::duplicate(format!("{field}.name"), &name.into()));
            }
        }
        source(errors, &field, volume, limits);
    }
}

fn source(errors: &mut Findings, field: &str, volume: &Value, limits: &Limits) {
    let sources: Vec<_> = volume.as_object().into_iter().flatten().filter(|(k, _)| *k != "name").collect();
    for (name, _) in sources.iter().skip(1) {
        errors.push(|| {
            FieldError::forbidden(format!("{field}.{name}"), "may not specify more than 1 volume type")
        });
    }
    let Some((name, value)) = sources.first() else {
        errors.push(|| FieldError::required(field, "must specify a volume type"));
        return;
    };
    let field = format!("{field}.{name}");
    match name.as_str() {
        "projected" => projected(errors, &field, value, limits),
        "secret" => {
            required(errors, &field, value, "secretName");
            mode(errors, &field, value, "defaultMode");
            items(errors, &field, value);
        }
        "configMap" => {
            required(errors, &field, value, "name");
            mode(errors, &field, value, "defaultMode");
            items(errors, &field, value);
        }
        "downwardAPI" => {
            mode(errors, &field, value, "defaultMode");
            downward(errors, &field, value);
        }
        "hostPath" => required(errors, &field, value, "path"),
        "persistentVolumeClaim" => required(errors, &field, value, "claimName"),
        "csi" => required(errors, &field, value, "driver"),
        _ => {}
    }
}

fn projected(errors: &mut Findings, field: &str, value: &Value, limits: &Limits) {
    mode(errors, field, value, "defaultMode");
    // Paths of tokens do not take part in the test for clashes: the later source wins on disk.
    let mut paths: HashSet<&str> = HashSet::new();
    for (at, source) in value["sources"].as_array().into_iter().flatten().enumerate() {
        let here = format!("{field}.sources[{at}]");
        let given: Vec<_> = source.as_object().into_iter().flatten().collect();
        for (position, (name, value)) in given.iter().enumerate() {
            if position > 0 {
                errors.push(|| {
                    FieldError::forbidden(&here, "may not specify more than 1 volume type per source")
                });
                continue;
            }
            let inner = format!("{here}.{name}");
            match name.as_str() {
                "serviceAccountToken" => token(errors, field, &inner, value, limits),
                "secret" | "configMap" => {
                    required(errors, &inner, value, "name");
                    items(errors, &inner, value);
                }
                "downwardAPI" => downward(errors, &inner, value),
                "clusterTrustBundle" => trust_bundle(errors, &inner, value),
                "podCertificate" => pod_certificate(errors, &inner, value),
                _ => {}
            }
            let mut shown = Shared::value(&source_name(value).into());
            for item in value["items"].as_array().into_iter().flatten() {
                let path = item["path"].as_str().unwrap_or("");
                if !path.is_empty() && !paths.insert(path) {
                    let detail = format!("conflicting duplicate paths: {path}");
                    errors.push(|| FieldError::invalid_shared(field, &mut shown, detail));
                }
            }
        }
    }
}

fn source_name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or("")
}

fn token(errors: &mut Findings, projected: &str, field: &str, value: &Value, limits: &Limits) {
    let seconds = field.to_owned() + ".expirationSeconds";
    let given = &value["expirationSeconds"];
    if given.as_i64().is_some_and(|n| n < limits.min_token_expiration_seconds) {
        errors.push(|| FieldError::invalid(&seconds, given, too_short(limits.min_token_expiration_seconds)));
    }
    if given.as_i64().is_some_and(|n| n > MAX_TOKEN_EXPIRATION) {
        errors.push(|| FieldError::invalid(&seconds, given, TOO_LONG));
    }
    // Upstream reports the path at the volume, not at the source.
    match value["path"].as_str().unwrap_or("") {
        "" => errors.push(|| FieldError::required(format!("{projected}.path"), "")),
        path => local_path(errors, &format!("{projected}.path"), path),
    }
}

/// A relative path that cannot leave its volume, nor be mistaken for one of the writer's own.
fn local_path(errors: &mut Findings, field: &str, path: &str) {
    inner_path(errors, field, path);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.push(|| FieldError::invalid(field, &path.into(), "must not start with '..'"));
    }
}

/// A relative path that cannot leave its volume.
pub(super) fn inner_path(errors: &mut Findings, field: &str, path: &str) {
    if path.starts_with('/') {
        errors.push(|| FieldError::invalid(field, &path.into(), "must be a relative path"));
    }
    if path.split('/').any(|part| part == "..") {
        errors.push(|| FieldError::invalid(field, &path.into(), "must not contain '..'"));
    }
}

fn mode(errors: &mut Findings, field: &str, value: &Value, name: &str) {
    match value[name].as_i64() {
        Some(n) if !(0..=0o777).contains(&n) => {
            let text = "must be a number between 0 and 0777 (octal), both inclusive";
            errors.push(|| FieldError::invalid(format!("{field}.{name}"), &value[name], text));
        }
        _ => {}
    }
}

fn items(errors: &mut Findings, field: &str, value: &Value) {
    for (at, item) in value["items"].as_array().into_iter().flatten().enumerate() {
        let here = format!("{field}.items[{at}]");
        required(errors, &here, item, "key");
        match item["path"].as_str().unwrap_or("") {
            "" => errors.push(|| FieldError::required(format!("{here}.path"), "")),
            path => local_path(errors, &format!("{here}.path"), path),
        }
        mode(errors, &here, item, "mode");
    }
}

const FIELD_PATHS: [&str; 5] =
    ["metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid"];

fn downward(errors: &mut Findings, field: &str, value: &Value) {
    for (at, item) in value["items"].as_array().into_iter().flatten().enumerate() {
        let here = format!("{field}.items[{at}]");
        match item["path"].as_str().unwrap_or("") {
            "" => errors.push(|| FieldError::required(format!("{here}.path"), "")),
            path => local_path(errors, &format!("{here}.path"), path),
        }
        match (item.get("fieldRef"), item.get("resourceFieldRef")) {
            (Some(_), Some(_)) => errors.push(|| {
                FieldError::invalid(
                    &here,
                    &"resource".into(),
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                )
            }),
            (Some(reference), None) => {
                let path = reference["fieldPath"].as_str().unwrap_or("");
                let keyed =
                    path.split_once('[').filter(|(_, rest)| rest.starts_with('\'') && rest.ends_with("']"));
                let known = FIELD_PATHS.contains(&path)
                    || keyed
                        .is_some_and(|(base, _)| matches!(base, "metadata.labels" | "metadata.annotations"));
                if path.is_empty() {
                    errors.push(|| FieldError::required(format!("{here}.fieldRef.fieldPath"), ""));
                } else if !known {
                    errors.push(|| {
                        FieldError::not_supported(
                            format!("{here}.fieldRef.fieldPath"),
                            &path.into(),
                            &[
                                "metadata.annotations",
                                "metadata.labels",
                                "metadata.name",
                                "metadata.namespace",
                                "metadata.uid",
                            ],
                        )
                    });
                }
            }
            (None, Some(reference)) => {
                required(errors, &format!("{here}.resourceFieldRef"), reference, "resource")
            }
            (None, None) => errors.push(|| {
                FieldError::required(
                    format!("{here}.fieldRef"),
                    "one of fieldRef and resourceFieldRef is required",
                )
            }),
        }
        mode(errors, &here, item, "mode");
    }
}

fn trust_bundle(errors: &mut Findings, field: &str, value: &Value) {
    let text = |name: &str| value[name].as_str().filter(|t| !t.is_empty());
    match (text("name"), text("signerName")) {
        (Some(_), Some(_)) => {
            errors.push(|| FieldError::invalid(field, value, "only one of name and signerName may be used"))
        }
        (None, None) => {
            errors.push(|| FieldError::required(field, "either name or signerName must be specified"))
        }
        (Some(name), None) if value.get("labelSelector").is_some() => {
            errors.push(|| {
                FieldError::invalid(
                    format!("{field}.labelSelector"),
                    &name.into(),
                    "labelSelector must be unset if name is specified",
                )
            });
        }
        _ => {}
    }
    match text("path") {
        None => errors.push(|| FieldError::required(format!("{field}.path"), "")),
        Some(path) => local_path(errors, &format!("{field}.path"), path),
    }
}

const KEY_TYPES: [&str; 6] = ["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"];

fn pod_certificate(errors: &mut Findings, field: &str, value: &Value) {
    required(errors, field, value, "signerName");
    if !KEY_TYPES.contains(&value["keyType"].as_str().unwrap_or("")) {
        errors.push(|| FieldError::not_supported(format!("{field}.keyType"), &value["keyType"], &KEY_TYPES));
    }
    if value["maxExpirationSeconds"].as_i64().is_some_and(|n| n < 3600) {
        errors.push(|| {
            FieldError::invalid(
                format!("{field}.maxExpirationSeconds"),
                &value["maxExpirationSeconds"],
                "if provided, maxExpirationSeconds must be >= 3600",
            )
        });
    }
    let mut any = false;
    for name in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        if let Some(path) = value[name].as_str().filter(|p| !p.is_empty()) {
            any = true;
            local_path(errors, &format!("{field}.{name}"), path);
        }
    }
    if !any {
        errors.push(|| {
            FieldError::required(
                field,
                "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
            )
        });
    }
}

fn required(errors: &mut Findings, field: &str, value: &Value, name: &str) {
    if value[name].as_str().is_none_or(str::is_empty) {
        errors.push(|| FieldError::required(format!("{field}.{name}"), ""));
    }
}
