//! Access reviews: "may they?", asked through the API (`pkg/registry/authorization`, `pkg/apis/authorization/validation`).

use serde_json::{Map, Value, json};
use tokensmith_objects::selector::{FieldRequirement, LabelSelector};
use tokensmith_objects::{FieldError, Findings, Object, validate};

use super::rbac::Rule;
use super::{Attributes, Authorizer, Decision, Identity};
use crate::Error;
use crate::view::Snapshot;

const GROUP: &str = "authorization.k8s.io";

/// Answers a SubjectAccessReview, LocalSubjectAccessReview (its namespace is the URL's) or SelfSubjectAccessReview: fills in
/// its status.
///
/// # Errors
/// 422 for one that upstream refuses: it asks about nothing, about two things, or about nobody.
pub fn access(
    review: &mut Object,
    caller: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
) -> Result<(), Error> {
    let kind = review.kind().to_owned();
    let errors = validate(review, &kind);
    if !errors.is_empty() {
        // Upstream names no kind: the object that it judges has lost it.
        return Err(Error::invalid(GROUP, "", "", errors));
    }
    without_empty(review);
    let user = if kind == "SelfSubjectAccessReview" { caller.clone() } else { subject(review) };
    let mut status = match authorizer.authorize(&user, &attributes(review), objects) {
        Decision::Allow(reason) => status(true, false, &reason),
        Decision::Deny(reason) => status(false, true, &reason),
        Decision::NoOpinion(reason) => status(false, false, &reason),
    };
    let ignored = ignored(review);
    if !ignored.is_empty() {
        status["evaluationError"] = ignored.join("; ").into();
    }
    review.set(&["status"], status);
    Ok(())
}

/// Answers a SelfSubjectRulesReview.
///
/// # Errors
/// 400 without a namespace.
pub fn rules(
    review: &mut Object,
    caller: &Identity,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
) -> Result<(), Error> {
    let namespace = review.str_at(&["spec", "namespace"]).to_owned();
    if namespace.is_empty() {
        return Err(Error::BadRequest("no namespace on request".into()));
    }
    let found = authorizer.rules_for(caller, &namespace, objects);
    let (paths, resources): (Vec<&Rule>, Vec<&Rule>) =
        found.rules().partition(|r| !r.non_resource_urls.is_empty());
    let resource = |r: &&Rule| {
        let mut out = Map::new();
        out.insert("verbs".into(), r.verbs.clone().into());
        for (key, list) in
            [("apiGroups", &r.api_groups), ("resources", &r.resources), ("resourceNames", &r.resource_names)]
        {
            if !list.is_empty() {
                out.insert(key.into(), list.clone().into());
            }
        }
        Value::Object(out)
    };
    let mut status = json!({
        "resourceRules": resources.iter().map(resource).collect::<Vec<_>>(),
        "nonResourceRules": paths.iter().map(|r| json!({"verbs": r.verbs, "nonResourceURLs": r.non_resource_urls})).collect::<Vec<_>>(),
        "incomplete": found.incomplete,
    });
    if !found.errors.is_empty() {
        status["evaluationError"] = found.errors.join(", ").into();
    }
    review.set(&["status"], status);
    review.set(&["spec"], json!({}));
    // Upstream answers with another object than it was sent.
    review.set(&["metadata"], json!({}));
    Ok(())
}

/// What is empty is left out of the reply, as Go leaves it out.
fn without_empty(review: &mut Object) {
    let empty = |v: &Value| match v {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    let Some(Value::Object(spec)) = review.0.get_mut("spec") else { return };
    for attributes in ["resourceAttributes", "nonResourceAttributes"] {
        if let Some(Value::Object(map)) = spec.get_mut(attributes) {
            map.retain(|_, v| !empty(v));
        }
    }
    spec.retain(|name, v| name.ends_with("Attributes") || !empty(v));
}

fn status(allowed: bool, denied: bool, reason: &str) -> Value {
    let mut status = json!({ "allowed": allowed });
    if denied {
        status["denied"] = true.into();
    }
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn validate(review: &Object, kind: &str) -> Findings {
    let mut errors = Findings::default();
    let resource = review.at(&["spec", "resourceAttributes"]);
    let path = review.at(&["spec", "nonResourceAttributes"]);
    match (resource, path) {
        (Some(_), Some(path)) => errors.push(|| {
            FieldError::invalid(
                "spec.nonResourceAttributes",
                &shown(path),
                "cannot be specified in combination with resourceAttributes",
            )
        }),
        (None, None) => errors.push(|| {
            FieldError::invalid(
                "spec.resourceAttributes",
                &Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )
        }),
        _ => {}
    }
    if kind != "SelfSubjectAccessReview" {
        let groups = review.at(&["spec", "groups"]).and_then(Value::as_array).is_none_or(Vec::is_empty);
        if review.str_at(&["spec", "user"]).is_empty() && groups {
            let detail = "at least one of user or group must be specified";
            errors.push(|| FieldError::invalid("spec.user", &"".into(), detail));
        }
    }
    if let Some(resource) = resource {
        validate::access_selectors(&mut errors, resource);
    }
    let local = kind == "LocalSubjectAccessReview";
    let odd = |name: &String| name != "managedFields" && !(local && name == "namespace");
    let metadata = review.get("metadata");
    if let Some(whole) = metadata.filter(|all| all.as_object().is_some_and(|all| all.keys().any(odd))) {
        let detail = if local { "must be empty except for namespace" } else { "must be empty" };
        errors.push(|| FieldError::invalid("metadata", whole, detail));
    }
    let asked = resource.map_or("", |resource| resource["namespace"].as_str().unwrap_or(""));
    if local && resource.is_some() && asked != review.namespace() {
        let detail = "must match metadata.namespace";
        errors.push(|| FieldError::invalid("spec.resourceAttributes.namespace", &asked.into(), detail));
    }
    if let Some(path) = path.filter(|_| local) {
        let detail = "disallowed on this kind of request";
        errors.push(|| FieldError::invalid("spec.nonResourceAttributes", &shown(path), detail));
    }
    errors
}

/// As Go shows a struct that has no names for JSON.
fn shown(path: &Value) -> Value {
    let text = |name: &str| path[name].as_str().unwrap_or("");
    json!({"Path": text("path"), "Verb": text("verb")})
}

fn subject(review: &Object) -> Identity {
    let texts = |v: &Value| {
        v.as_array().into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect::<Vec<String>>()
    };
    let extra = review.at(&["spec", "extra"]).and_then(Value::as_object);
    Identity {
        name: review.str_at(&["spec", "user"]).into(),
        uid: review.str_at(&["spec", "uid"]).into(),
        groups: review.at(&["spec", "groups"]).map(texts).unwrap_or_default(),
        extra: extra.into_iter().flatten().map(|(k, v)| (k.to_lowercase(), texts(v))).collect(),
    }
}

fn attributes(review: &Object) -> Attributes {
    match review.at(&["spec", "resourceAttributes"]) {
        Some(asked) => {
            let text = |key: &str| asked[key].as_str().unwrap_or("").to_owned();
            Attributes {
                verb: text("verb"),
                group: text("group"),
                version: text("version"),
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
                resource_request: true,
                field_selector: selected(&asked["fieldSelector"]),
                ..Attributes::default()
            }
        }
        None => Attributes {
            verb: review.str_at(&["spec", "nonResourceAttributes", "verb"]).into(),
            path: review.str_at(&["spec", "nonResourceAttributes", "path"]).into(),
            ..Attributes::default()
        },
    }
}

/// What a review says that the request would select; what is not understood is left out, which asks for more
/// (`pkg/registry/authorization/util`).
fn selected(selector: &Value) -> Vec<FieldRequirement> {
    let raw = selector["rawSelector"].as_str().unwrap_or("");
    let raw = FieldRequirement::parse(raw).unwrap_or_default();
    raw.into_iter().chain(required(selector)).collect()
}

fn required(selector: &Value) -> impl Iterator<Item = FieldRequirement> {
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    requirements.filter_map(|requirement| {
        let equal = match requirement["operator"].as_str()? {
            "In" => true,
            "NotIn" => false,
            _ => return None,
        };
        match requirement["values"].as_array()?.as_slice() {
            [value] => Some(FieldRequirement {
                field: requirement["key"].as_str()?.into(),
                equal,
                value: value.as_str()?.into(),
            }),
            _ => None,
        }
    })
}

/// What of the selectors was left out.
fn ignored(review: &Object) -> Vec<&'static str> {
    let of = |name: &str| review.at(&["spec", "resourceAttributes", name]).unwrap_or(&Value::Null);
    let (fields, labels) = (of("fieldSelector"), of("labelSelector"));
    let raw = |selector: &Value| selector["rawSelector"].as_str().unwrap_or("").to_owned();
    let label = |one: &Value| LabelSelector::from_value(&json!({"matchExpressions": [one]})).is_ok();
    let good = labels["requirements"].as_array().into_iter().flatten().filter(|r| label(r)).count();
    let told = |selector: &Value, understood: usize, wrong: bool, texts: [&'static str; 2]| {
        match selector["requirements"].as_array().map_or(0, Vec::len) {
            0 => wrong.then_some(texts[0]),
            _ if understood == 0 => Some(texts[0]),
            all => (understood < all).then_some(texts[1]),
        }
    };
    let of_fields = [
        "spec.resourceAttributes.fieldSelector ignored due to parse error",
        "spec.resourceAttributes.fieldSelector partially ignored due to parse error",
    ];
    let of_labels = [
        "spec.resourceAttributes.labelSelector ignored due to parse error",
        "spec.resourceAttributes.labelSelector partially ignored due to parse error",
    ];
    [
        told(fields, required(fields).count(), FieldRequirement::parse(&raw(fields)).is_err(), of_fields),
        told(labels, good, LabelSelector::parse(&raw(labels)).is_err(), of_labels),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::chain::{AlwaysAllow, AlwaysDeny};
    use super::*;

    fn ask(kind: &str, spec: Value) -> Result<Value, String> {
        let metadata = if kind.starts_with("Local") { json!({"namespace": "n"}) } else { json!({}) };
        with(kind, metadata, spec)
    }

    fn with(kind: &str, metadata: Value, spec: Value) -> Result<Value, String> {
        let mut review =
            Object::from_value(json!({"kind": kind, "metadata": metadata, "spec": spec})).unwrap();
        let caller = Identity { name: "me".into(), ..Identity::default() };
        access(&mut review, &caller, &AlwaysAllow, &Snapshot::default()).map_err(|e| e.to_string())?;
        assert_eq!(review.get("metadata"), Some(&metadata));
        Ok(review.get("status").cloned().unwrap())
    }

    #[test]
    fn answers_and_refusals() {
        let pods = json!({"verb": "get", "resource": "pods", "namespace": "n"});
        assert_eq!(
            ask("SubjectAccessReview", json!({"user": "jane", "resourceAttributes": pods})),
            Ok(json!({"allowed": true}))
        );
        assert_eq!(
            ask("SelfSubjectAccessReview", json!({"resourceAttributes": pods})),
            Ok(json!({"allowed": true}))
        );
        for (kind, spec, want) in [
            (
                "SubjectAccessReview",
                json!({"resourceAttributes": pods}),
                ".authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of user or group must be specified",
            ),
            (
                "SelfSubjectAccessReview",
                json!({}),
                ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ),
            (
                "SelfSubjectAccessReview",
                json!({"resourceAttributes": {"fieldSelector": {}}}),
                ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required",
            ),
            (
                "SelfSubjectAccessReview",
                json!({"resourceAttributes": {"labelSelector": {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]}}}),
                ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes.labelSelector.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements",
            ),
            (
                "LocalSubjectAccessReview",
                json!({"user": "j", "resourceAttributes": {"namespace": "other"}}),
                ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: Invalid value: \"other\": must match metadata.namespace",
            ),
        ] {
            assert_eq!(ask(kind, spec), Err(want.to_owned()));
        }
    }

    #[test]
    fn a_review_has_no_metadata_of_its_own() {
        let spec = json!({"user": "j", "resourceAttributes": {"namespace": "n", "verb": "get"}});
        let refused = |kind, metadata| with(kind, metadata, spec.clone()).unwrap_err();
        assert_eq!(
            refused("SubjectAccessReview", json!({"name": "x"})),
            ".authorization.k8s.io \"\" is invalid: metadata: Invalid value: {\"name\":\"x\"}: must be empty"
        );
        assert_eq!(
            refused("LocalSubjectAccessReview", json!({"namespace": "n", "labels": {"a": "b"}})),
            ".authorization.k8s.io \"\" is invalid: metadata: Invalid value: {\"namespace\":\"n\",\"labels\":{\"a\":\"b\"}}: must be empty except for namespace"
        );
    }

    #[test]
    fn selectors_of_a_review_are_judged_and_told_where_they_are_not_understood() {
        let asked =
            |selector: &str, value: Value| json!({"resourceAttributes": {"verb": "list", selector: value}});
        let of = |selector, value| ask("SelfSubjectAccessReview", asked(selector, value));
        let refused =
            |selector, requirement| of(selector, json!({"requirements": [requirement]})).unwrap_err();
        let at =
            |rest: &str| format!(".authorization.k8s.io \"\" is invalid: spec.resourceAttributes.{rest}");
        assert_eq!(
            refused("fieldSelector", json!({"operator": "In", "values": ["x"]})),
            at("fieldSelector.requirements[0].key: Required value: must be specified")
        );
        assert_eq!(
            refused("labelSelector", json!({"key": "a", "operator": "Exists", "values": ["x"]})),
            at(
                "labelSelector.requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        );
        for (selector, value, want) in [
            ("fieldSelector", json!({"rawSelector": "x"}), "fieldSelector ignored"),
            ("labelSelector", json!({"rawSelector": "a in"}), "labelSelector ignored"),
            (
                "fieldSelector",
                json!({"requirements": [{"key": "a", "operator": "Near"}, {"key": "b", "operator": "In", "values": ["c"]}]}),
                "fieldSelector partially ignored",
            ),
            (
                "labelSelector",
                json!({"requirements": [{"key": "a", "operator": "Near"}]}),
                "labelSelector ignored",
            ),
        ] {
            let want = format!("spec.resourceAttributes.{want} due to parse error");
            assert_eq!(of(selector, value.clone()).unwrap()["evaluationError"], want, "{value}");
        }
        let good = json!({"requirements": [{"key": "a", "operator": "Exists"}]});
        assert_eq!(of("labelSelector", good).unwrap(), json!({"allowed": true}));
    }

    #[test]
    fn rules_are_told_apart() {
        let mut review =
            Object::from_value(json!({"kind": "SelfSubjectRulesReview", "spec": {"namespace": "n"}}))
                .unwrap();
        rules(&mut review, &Identity::default(), &AlwaysAllow, &Snapshot::default()).unwrap();
        assert_eq!(
            review.at(&["status", "resourceRules"]),
            Some(&json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]))
        );
        assert_eq!(
            review.at(&["status", "nonResourceRules"]),
            Some(&json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]))
        );
        let mut empty = Object::from_value(json!({"kind": "SelfSubjectRulesReview"})).unwrap();
        assert!(rules(&mut empty, &Identity::default(), &AlwaysDeny, &Snapshot::default()).is_err());
    }
}
