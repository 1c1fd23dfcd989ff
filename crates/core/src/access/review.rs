//! Access reviews: "may they?", asked through the API (`pkg/registry/authorization`, `pkg/apis/authorization/validation`).

use serde_json::{Map, Value, json};
use tokensmith_objects::selector::FieldRequirement;
use tokensmith_objects::{FieldError, Object};

use super::rbac::Rule;
use super::{Attributes, Authorizer, Decision, Identity};
use crate::Error;
use crate::view::Snapshot;

const GROUP: &str = "authorization.k8s.io";

/// Answers a SubjectAccessReview, LocalSubjectAccessReview (then `namespace` is the URL's) or SelfSubjectAccessReview:
/// fills in its status.
pub fn access(
    review: &mut Object,
    caller: &Identity,
    namespace: &str,
    authorizer: &dyn Authorizer,
    objects: &Snapshot,
) -> Result<(), Error> {
    let kind = review.kind().to_owned();
    let errors = validate(review, &kind, namespace);
    if !errors.is_empty() {
        // Upstream names no kind: the object that it judges has lost it.
        return Err(Error::invalid(GROUP, "", "", errors));
    }
    without_empty(review);
    let user = if kind == "SelfSubjectAccessReview" { caller.clone() } else { subject(review) };
    let status = match authorizer.authorize(&user, &attributes(review), objects) {
        Decision::Allow(reason) => status(true, false, &reason),
        Decision::Deny(reason) => status(false, true, &reason),
        Decision::NoOpinion(reason) => status(false, false, &reason),
    };
    review.set(&["status"], status);
    strip_metadata(review);
    Ok(())
}

/// Answers a SelfSubjectRulesReview.
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
    strip_metadata(review);
    Ok(())
}

/// Nothing is stored, so nothing of the metadata is kept but its presence.
fn strip_metadata(review: &mut Object) {
    review.set(&["metadata"], json!({}));
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

fn validate(review: &Object, kind: &str, namespace: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let resource = review.at(&["spec", "resourceAttributes"]);
    let path = review.at(&["spec", "nonResourceAttributes"]);
    match (resource, path) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            path.unwrap_or(&Value::Null),
            "cannot be specified in combination with resourceAttributes",
        )),
        (None, None) => errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    for kind in ["fieldSelector", "labelSelector"] {
        validate_selector(&mut errors, kind, resource.and_then(|r| r.get(kind)));
    }
    if kind != "SelfSubjectAccessReview" {
        let groups = review.at(&["spec", "groups"]).and_then(Value::as_array).is_none_or(Vec::is_empty);
        if review.str_at(&["spec", "user"]).is_empty() && groups {
            errors.push(FieldError::invalid(
                "spec.user",
                &"".into(),
                "at least one of user or group must be specified",
            ));
        }
    }
    if kind == "LocalSubjectAccessReview"
        && let Some(asked) = resource.map(|r| r["namespace"].as_str().unwrap_or(""))
        && asked != namespace
    {
        let detail = "must match metadata.namespace";
        errors.push(FieldError::invalid("spec.resourceAttributes.namespace", &asked.into(), detail));
    }
    if kind == "LocalSubjectAccessReview" && path.is_some() {
        errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            path.unwrap_or(&Value::Null),
            "disallowed on this kind of request",
        ));
    }
    errors
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
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let requirements = requirements.filter_map(|requirement| {
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
    });
    raw.into_iter().chain(requirements).collect()
}

/// A selector of a review, which both kinds of labels and fields have alike.
fn validate_selector(errors: &mut Vec<FieldError>, kind: &str, selector: Option<&Value>) {
    let Some(selector) = selector.filter(|s| !s.is_null()) else { return };
    let field = format!("spec.resourceAttributes.{kind}");
    let raw = &selector["rawSelector"];
    let given = selector["requirements"].as_array().is_some_and(|r| !r.is_empty());
    match raw.as_str().unwrap_or("") {
        "" if !given => errors.push(FieldError::required(
            format!("{field}.requirements"),
            &format!("when {field} is specified, requirements or rawSelector is required"),
        )),
        text if given && !text.is_empty() => errors.push(FieldError::invalid(
            format!("{field}.rawSelector"),
            raw,
            "may not specified at the same time as requirements",
        )),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::{AlwaysAllow, AlwaysDeny};
    use super::*;

    fn ask(kind: &str, spec: Value) -> Result<Value, String> {
        let mut review =
            Object::from_value(json!({"kind": kind, "metadata": {"name": "x"}, "spec": spec})).unwrap();
        let caller = Identity { name: "me".into(), ..Identity::default() };
        access(&mut review, &caller, "n", &AlwaysAllow, &Snapshot::default()).map_err(|e| e.to_string())?;
        assert_eq!(review.get("metadata"), Some(&json!({})));
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
