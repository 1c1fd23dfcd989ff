//! Webhook configurations, of both sorts.

use std::collections::HashSet;

use serde_json::Value;

use super::{FAILURE_POLICIES, MATCH_POLICIES, REINVOCATION_POLICIES, matching};
use crate::Object;
use crate::defaults::{default, each};
use crate::field::Findings;
use crate::kinds::Rules;
use crate::kinds::look::{given, list, text};
use crate::names;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;

/// A configuration of webhooks that change objects, or that only judge them.
#[derive(Debug)]
pub(crate) struct Webhooks {
    pub(crate) mutating: bool,
}

impl Rules for Webhooks {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        (column == "Webhooks")
            .then(|| object.get("webhooks").and_then(Value::as_array).map_or(0, Vec::len).into())
    }

    fn defaults(&self, object: &mut Object) {
        each(object.0.get_mut("webhooks"), |hook| {
            default(hook, "failurePolicy", "Fail");
            matching::default_selectors(hook);
            default(hook, "timeoutSeconds", 10);
            if self.mutating {
                default(hook, "reinvocationPolicy", "Never");
            }
            matching::default_rules(hook.get_mut("rules"));
            let service = hook.get_mut("clientConfig").and_then(|config| config.get_mut("service"));
            if let Some(service) = service.and_then(Value::as_object_mut) {
                default(service, "port", 443);
            }
        });
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        self.all(errors, object, &Known::default());
    }

    /// What an older server let in may stay.
    fn validate_update(&self, errors: &mut Findings, _: &Kind, new: &Object, old: &Object, _: &Limits) {
        self.all(errors, new, &Known::of(old));
    }
}

/// What of the present rules a stored configuration is already against.
#[derive(Default)]
struct Known {
    side_effects: bool,
    versions: bool,
    names: bool,
}

impl Known {
    fn of(old: &Object) -> Known {
        let hooks = hooks(old);
        let mut names = HashSet::new();
        Known {
            side_effects: hooks.iter().any(|hook| !NO_SIDE_EFFECTS.contains(&text(hook, "sideEffects"))),
            versions: hooks.iter().any(|hook| {
                let versions = list(hook, "admissionReviewVersions");
                !versions.is_empty() && !versions.iter().any(is_version)
            }),
            names: !hooks.iter().all(|hook| names.insert(text(hook, "name"))),
        }
    }
}

fn hooks(object: &Object) -> &[Value] {
    object.get("webhooks").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

const VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];

fn is_version(version: &Value) -> bool {
    version.as_str().is_some_and(|version| VERSIONS.contains(&version))
}

impl Webhooks {
    fn all(&self, errors: &mut Findings, object: &Object, known: &Known) {
        let (at, mut seen) = (Path::new("webhooks"), HashSet::new());
        for (index, hook) in hooks(object).iter().enumerate() {
            let at = &at.index(index);
            self.one(errors, at, hook, known);
            versions(errors, &at.child("admissionReviewVersions"), hook, known);
            let name = text(hook, "name");
            if !name.is_empty() && !known.names && !seen.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
    }

    fn one(&self, errors: &mut Findings, at: &Path<'_>, hook: &Value, known: &Known) {
        full_name(errors, &at.child("name"), text(hook, "name"));
        let rules = at.child("rules");
        for (index, rule) in list(hook, "rules").iter().enumerate() {
            matching::rule(errors, &rules.index(index), rule);
        }
        given(errors, &at.child("failurePolicy"), hook, FAILURE_POLICIES);
        given(errors, &at.child("matchPolicy"), hook, MATCH_POLICIES);
        let allowed = if known.side_effects { SIDE_EFFECTS } else { NO_SIDE_EFFECTS };
        let side_effects = at.child("sideEffects");
        match hook.get("sideEffects") {
            None | Some(Value::Null) => {
                errors.required(&side_effects, &format!("must specify one of {}", allowed.join(", ")));
            }
            _ => given(errors, &side_effects, hook, allowed),
        }
        let seconds = hook["timeoutSeconds"].as_i64();
        if let Some(seconds) = seconds.filter(|seconds| !(1..=30).contains(seconds)) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.invalid(&at.child("timeoutSeconds"), seconds, detail);
        }
        matching::selectors(errors, at, hook);
        if self.mutating {
            given(errors, &at.child("reinvocationPolicy"), hook, REINVOCATION_POLICIES);
        }
        client(errors, &at.child("clientConfig"), &hook["clientConfig"]);
        matching::conditions(errors, at, hook);
    }
}

/// A domain of three parts at least.
fn full_name(errors: &mut Findings, at: &Path<'_>, name: &str) {
    let found = names::subdomain(name);
    if name.is_empty() {
        errors.required(at, "");
    } else if !found.is_empty() {
        errors.invalid(at, name, found.join(","));
    } else if name.split('.').count() < 3 {
        errors.invalid(at, name, "should be a domain with at least three segments separated by dots");
    }
}

fn versions(errors: &mut Findings, at: &Path<'_>, hook: &Value, known: &Known) {
    let (all, mut seen) = (list(hook, "admissionReviewVersions"), HashSet::new());
    if all.is_empty() {
        return errors.required(at, &format!("must specify one of {}", VERSIONS.join(", ")));
    }
    for (index, version) in all.iter().enumerate() {
        let (at, version) = (at.index(index), version.as_str().unwrap_or(""));
        match seen.insert(version) {
            true => errors.each(&at, version, names::label_1035(version)),
            false => errors.invalid(&at, version, "duplicate version"),
        }
    }
    if !known.versions && !all.iter().any(is_version) {
        let detail = format!("must include at least one of {}", VERSIONS.join(", "));
        errors.invalid(at, &hook["admissionReviewVersions"], detail);
    }
}

fn client(errors: &mut Findings, at: &Path<'_>, client: &Value) {
    let (url, service) = (client["url"].as_str(), client.get("service").filter(|s| !s.is_null()));
    match (url, service) {
        (Some(url), None) => address(errors, &at.child("url"), url),
        (None, Some(service)) => self::service(errors, &at.child("service"), service),
        _ => errors.required(at, "exactly one of url or service is required"),
    }
}

fn address(errors: &mut Findings, at: &Path<'_>, url: &str) {
    const FORM: &str = "; desired format: https://host[/path]";
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", ""));
    let authority = rest.split('/').next().unwrap_or("");
    let (user, host) =
        authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if !scheme.eq_ignore_ascii_case("https") {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.invalid(at, scheme.to_ascii_lowercase(), detail);
    }
    if host.is_empty() {
        errors.invalid(at, host, format!("host must be provided{FORM}"));
    }
    if let Some(user) = user {
        errors.invalid(at, user, "user information is not permitted in the URL");
    }
    for (part, what) in [(fragment, "fragments"), (query, "query parameters")] {
        if !part.is_empty() {
            errors.invalid(at, part, format!("{what} are not permitted in the URL"));
        }
    }
}

fn service(errors: &mut Findings, at: &Path<'_>, service: &Value) {
    // Upstream hands both over in the other's place: each is missed under the other's name.
    if text(service, "namespace").is_empty() {
        errors.required(&at.child("name"), "service name is required");
    }
    if text(service, "name").is_empty() {
        errors.required(&at.child("namespace"), "service namespace is required");
    }
    let port = service["port"].as_i64().unwrap_or(443);
    if !(1..=65535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.invalid(&at.child("port"), port, detail);
    }
    let (at, path) = (at.child("path"), text(service, "path"));
    match path {
        "" | "/" => return,
        "//" => return errors.invalid(&at, path, "segment[0] may not be empty"),
        _ if !path.starts_with('/') => errors.invalid(&at, path, "must start with a '/'"),
        _ => {}
    }
    let mut rest = path.chars();
    rest.next();
    let rest = rest.as_str();
    for (index, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&at, path, format!("segment[{index}] may not be empty"));
            continue;
        }
        for finding in names::subdomain(step) {
            errors.invalid(&at, path, format!("segment[{index}]: {finding}"));
        }
    }
}
