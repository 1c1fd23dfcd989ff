//! Projected volumes, since tokens come through them.

use std::collections::HashSet;

use serde_json::Value;

use super::{downward, items, local_path, mode, required};
use crate::field::{Findings, Shared};
use crate::kinds::cluster_trust_bundle;
use crate::kinds::look::{list, some, text};
use crate::path::Path;
use crate::validate::{Limits, MAX_TOKEN_EXPIRATION, TOO_LONG, selector, too_short};
use crate::{FieldError, names};

/// Which paths are taken. Paths of tokens do not take part: the later source wins on disk.
#[derive(Default)]
struct Paths<'a>(HashSet<&'a str>);

impl<'a> Paths<'a> {
    /// A source's file; `shown` is what a message about a clash shows.
    fn take(&mut self, errors: &mut Findings, at: &Path<'_>, path: &'a str, shown: &mut Shared) {
        if !self.0.insert(path) {
            errors.push(|| FieldError::invalid_shared(at, shown, "conflicting duplicate paths"));
        }
    }
}

pub(super) fn volume(errors: &mut Findings, at: &Path<'_>, projected: &Value, limits: &Limits) {
    mode(errors, &at.child("defaultMode"), &projected["defaultMode"]);
    let mut paths = Paths::default();
    let sources = at.child("sources");
    for (index, source) in list(projected, "sources").iter().enumerate() {
        let here = &sources.index(index);
        let mut count = 0_usize;
        for name in SOURCES {
            let Some(value) = some(source, name) else { continue };
            count = count.saturating_add(1);
            let inner = &here.child(name);
            match name {
                "secret" | "configMap" => {
                    required(errors, inner, value, "name");
                    items(errors, inner, value);
                    let mut shown = Shared::value(&text(value, "name").into());
                    for item in list(value, "items").iter().filter(|item| !text(item, "path").is_empty()) {
                        paths.take(errors, at, text(item, "path"), &mut shown);
                    }
                }
                "downwardAPI" => {
                    for item in list(value, "items") {
                        downward(errors, inner, item);
                        own_path(errors, &mut paths, at, text(item, "path"));
                    }
                }
                "serviceAccountToken" => token(errors, at, inner, value, limits),
                "clusterTrustBundle" => {
                    trust_bundle(errors, inner, value);
                    let path = text(value, "path");
                    paths.take(errors, at, path, &mut Shared::value(&path.into()));
                }
                _ => pod_certificate(errors, &mut paths, at, inner, value),
            }
        }
        if count > 1 {
            errors.forbidden(here, "may not specify more than 1 volume type per source");
        }
    }
}

/// In upstream's order.
const SOURCES: [&str; 6] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"];

fn own_path<'a>(errors: &mut Findings, paths: &mut Paths<'a>, at: &Path<'_>, path: &'a str) {
    if !path.is_empty() {
        paths.take(errors, at, path, &mut Shared::value(&path.into()));
    }
}

fn token(errors: &mut Findings, projected: &Path<'_>, at: &Path<'_>, value: &Value, limits: &Limits) {
    let seconds = &at.child("expirationSeconds");
    let given = value["expirationSeconds"].as_i64();
    if let Some(given) = given.filter(|n| *n < limits.min_token_expiration_seconds) {
        errors.invalid(seconds, given, too_short(limits.min_token_expiration_seconds));
    }
    if let Some(given) = given.filter(|n| *n > MAX_TOKEN_EXPIRATION) {
        errors.invalid(seconds, given, TOO_LONG);
    }
    // Upstream reports the path at the volume, not at the source.
    match text(value, "path") {
        "" => errors.required(&projected.child("path"), ""),
        path => local_path(errors, &projected.child("path"), path),
    }
}

fn trust_bundle(errors: &mut Findings, at: &Path<'_>, value: &Value) {
    match (value["name"].as_str(), value["signerName"].as_str()) {
        (Some(_), Some(_)) => {
            errors.invalid(at, value, "only one of name and signerName may be used");
        }
        (Some(name), None) => {
            let here = &at.child("name");
            if name.is_empty() {
                errors.required(here, "must be a valid object name");
            }
            let rest = name.rsplit_once(':').map_or(name, |(_, rest)| rest);
            for finding in names::subdomain(rest) {
                errors.invalid(here, name, format!("not a valid clustertrustbundlename: {finding}"));
            }
            if let Some(labels) = some(value, "labelSelector") {
                let detail = "labelSelector must be unset if name is specified";
                errors.invalid(&at.child("labelSelector"), labels, detail);
            }
        }
        (None, Some(signer)) => {
            let here = &at.child("signerName");
            if signer.is_empty() {
                errors.required(here, "must be a valid signer name");
            }
            signer_name(errors, here, signer);
            selector::validate(errors, &at.child("labelSelector"), &value["labelSelector"]);
        }
        (None, None) => errors.required(at, "either name or signerName must be specified"),
    }
    required(errors, at, value, "path");
    local_path(errors, &at.child("path"), text(value, "path"));
}

fn signer_name(errors: &mut Findings, at: &Path<'_>, signer: &str) {
    match signer {
        "" => errors.required(at, ""),
        signer => cluster_trust_bundle::signer_name(errors, &at.to_string(), signer),
    }
}

const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const DAY: i64 = 24 * 60 * 60;

fn pod_certificate<'a>(
    errors: &mut Findings,
    paths: &mut Paths<'a>,
    projected: &Path<'_>,
    at: &Path<'_>,
    value: &'a Value,
) {
    let signer = text(value, "signerName");
    signer_name(errors, &at.child("signerName"), signer);
    let kind = text(value, "keyType");
    if !KEY_TYPES.contains(&kind) {
        errors.not_supported(&at.child("keyType"), kind, &KEY_TYPES);
    }
    if let Some(seconds) = value["maxExpirationSeconds"].as_i64() {
        let host = signer.split('/').next().unwrap_or("");
        let most = if host == "kubernetes.io" || host.ends_with(".kubernetes.io") { DAY } else { 91 * DAY };
        let at = &at.child("maxExpirationSeconds");
        if seconds < 3600 {
            errors.invalid(at, seconds, "if provided, maxExpirationSeconds must be >= 3600");
        }
        if seconds > most {
            errors.invalid(at, seconds, format!("if provided, maxExpirationSeconds must be <= {most}"));
        }
    }
    let mut any = false;
    for name in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let path = text(value, name);
        if !path.is_empty() {
            any = true;
            local_path(errors, &at.child(name), path);
            own_path(errors, paths, projected, path);
        }
    }
    if !any {
        let detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.required(at, detail);
    }
}
