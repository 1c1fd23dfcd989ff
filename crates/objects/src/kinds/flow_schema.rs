//! Flow schemas: which requests go by which priority level.

use serde_json::Value;

use super::Rules;
use super::look::list;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names};

/// Kept, and without effect: requests are bounded otherwise here.
#[derive(Debug)]
pub(super) struct FlowSchema;

impl Rules for FlowSchema {
    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let method = spec["distinguisherMethod"]["type"].as_str().unwrap_or("<none>");
        match column {
            "PriorityLevel" => Some(spec["priorityLevelConfiguration"]["name"].clone()),
            "MatchingPrecedence" => Some(spec["matchingPrecedence"].clone()),
            "DistinguisherMethod" => Some(method.into()),
            "MissingPL" => {
                let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array);
                let dangling = conditions.into_iter().flatten().find(|one| one["type"] == "Dangling");
                Some(dangling.and_then(|one| one["status"].as_str()).unwrap_or("?").into())
            }
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if spec.get("matchingPrecedence").is_none_or(|precedence| precedence == 0) {
            spec.insert("matchingPrecedence".into(), 1000.into());
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (Path::new("spec"), object.get("spec").unwrap_or(&Value::Null));
        let (field, precedence) =
            (at.child("matchingPrecedence"), spec["matchingPrecedence"].as_i64().unwrap_or(0));
        if precedence <= 0 {
            errors.invalid(&field, precedence, "must be a positive value");
        }
        if precedence > MAX_PRECEDENCE {
            errors.invalid(&field, precedence, format!("must not be greater than {MAX_PRECEDENCE}"));
        }
        if precedence == 1 && object.name() != "exempt" {
            let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.invalid(&field, precedence, detail);
        }
        let method = spec["distinguisherMethod"]["type"].as_str();
        if let Some(method) = method.filter(|method| !["ByNamespace", "ByUser"].contains(method)) {
            let field = at.child("distinguisherMethod.type");
            errors.not_supported(&field, method, &["ByNamespace", "ByUser"]);
        }
        let level = at.child("priorityLevelConfiguration.name");
        match spec["priorityLevelConfiguration"]["name"].as_str().unwrap_or("") {
            "" => errors.required(&level, "must reference a priority level"),
            name => errors.each(&level, name, names::subdomain(name)),
        }
        let rules = at.child("rules");
        for (index, one) in list(spec, "rules").iter().enumerate() {
            rule(errors, &rules.index(index), one);
        }
    }
}

const MAX_PRECEDENCE: i64 = 10_000;

fn rule(errors: &mut Findings, at: &Path<'_>, rule: &Value) {
    let subjects = at.child("subjects");
    if list(rule, "subjects").is_empty() {
        errors.required(&subjects, "subjects must contain at least one value");
    }
    for (index, one) in list(rule, "subjects").iter().enumerate() {
        subject(errors, &subjects.index(index), one);
    }
    let (resources, others) = (list(rule, "resourceRules"), list(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    let field = at.child("resourceRules");
    for (index, one) in resources.iter().enumerate() {
        let at = &field.index(index);
        verbs(errors, &at.child("verbs"), one);
        some(
            errors,
            &at.child("apiGroups"),
            one,
            "resource rules must supply at least one api group",
            "api groups",
        );
        some(
            errors,
            &at.child("resources"),
            one,
            "resource rules must supply at least one resource",
            "resources",
        );
        namespaces(errors, &at.child("namespaces"), one);
    }
    let field = at.child("nonResourceRules");
    for (index, one) in others.iter().enumerate() {
        let at = &field.index(index);
        verbs(errors, &at.child("verbs"), one);
        urls(errors, &at.child("nonResourceURLs"), one);
    }
}

fn subject(errors: &mut Findings, at: &Path<'_>, subject: &Value) {
    let (kind, there) = (subject["kind"].as_str().unwrap_or(""), |field: &str| subject[field].is_object());
    let fields = [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let Some((_, own)) = fields.iter().find(|(name, _)| *name == kind) else {
        return errors.not_supported(&at.child("kind"), kind, &["Group", "ServiceAccount", "User"]);
    };
    let of = at.child(own);
    if there(own) {
        let (name, field) = (subject[*own]["name"].as_str().unwrap_or(""), of.child("name"));
        match name {
            "" => errors.required(&field, ""),
            "*" => {}
            _ if *own == "serviceAccount" => errors.each(&field, name, names::subdomain(name)),
            _ => {}
        }
        let namespace = subject[*own]["namespace"].as_str().unwrap_or("");
        match namespace {
            _ if *own != "serviceAccount" => {}
            "" => errors.required(&of.child("namespace"), "must specify namespace for service account"),
            _ => errors.each(&of.child("namespace"), namespace, names::label(namespace)),
        }
    } else {
        errors.required(&of, &format!("{own} is required when subject kind is '{kind}'"));
    }
    for (other, field) in fields.iter().filter(|(_, field)| field != own && there(field)) {
        let detail = format!("{field} is forbidden when subject kind is not '{other}'");
        errors.forbidden(&at.child(field), &detail);
    }
}

fn has_all(of: &Value, field: &str) -> bool {
    list(of, field).iter().any(|one| one == "*")
}

fn some(errors: &mut Findings, at: &Path<'_>, of: &Value, none: &str, others: &str) {
    let all = list(of, at.name());
    if all.is_empty() {
        errors.required(at, none);
    } else if all.len() > 1 && has_all(of, at.name()) {
        let detail = format!("if '*' is present, must not specify other {others}");
        errors.invalid(at, of[at.name()].clone(), detail);
    }
}

const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

fn verbs(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    some(errors, at, of, "verbs must contain at least one value", "verbs");
    let known = |verb: &Value| verb.as_str().is_some_and(|verb| VERBS.contains(&verb));
    if !has_all(of, "verbs") && !list(of, "verbs").iter().all(known) {
        errors.push(|| crate::FieldError::not_supported(at, &of["verbs"], VERBS));
    }
}

fn namespaces(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    let all = list(of, "namespaces");
    if all.is_empty() && of["clusterScope"] != true {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(at, detail);
    } else if has_all(of, "namespaces") {
        if all.len() > 1 {
            let detail = "if '*' is present, must not specify other namespaces";
            errors.invalid(at, &of["namespaces"], detail);
        }
    } else {
        for (index, namespace) in all.iter().filter_map(Value::as_str).enumerate() {
            for finding in names::label(namespace) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {finding}");
                errors.invalid(&at.index(index), namespace, detail);
            }
        }
    }
}

fn urls(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    some(errors, at, of, "nonResourceURLs must contain at least one value", "non-resource URLs");
    if has_all(of, "nonResourceURLs") {
        return;
    }
    for (index, url) in list(of, "nonResourceURLs").iter().enumerate() {
        let url = url.as_str().unwrap_or("");
        let stars = url.matches('*').count();
        let wrong = match url {
            "" => "must not be empty",
            "/" => continue,
            _ if !url.starts_with('/') => "must start with slash",
            _ if url.contains(' ') => "must not contain white-space",
            _ if url.contains("//") => "must not contain double slash",
            _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => "wildcard can only do suffix matching",
            _ => continue,
        };
        errors.invalid(&at.index(index), url, wrong);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Object;
    use crate::kinds::testing::{defaulted, texts};
    use crate::schema::kind;
    use crate::validate::{Limits, create};

    fn found(spec: Value) -> Vec<String> {
        let group = "flowcontrol.apiserver.k8s.io";
        let body = defaulted(group, "flowschemas", json!({"metadata": {"name": "f"}, "spec": spec}));
        let object = Object::from_value(body).unwrap();
        texts(create(kind(group, "flowschemas").unwrap(), &object, &Limits::default()))
    }

    #[test]
    fn a_schema_has_a_level_and_a_precedence() {
        let level = json!({"name": "l"});
        assert!(found(json!({"priorityLevelConfiguration": level})).is_empty());
        for (field, value, want) in [
            (
                "matchingPrecedence",
                json!(10_001),
                "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
            ),
            (
                "matchingPrecedence",
                json!(1),
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ),
            (
                "priorityLevelConfiguration",
                json!({}),
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ),
            (
                "rules",
                json!([{"subjects": [{"kind": "User", "user": {"name": "u"}}]}]),
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ),
        ] {
            let mut spec = json!({"priorityLevelConfiguration": level});
            spec[field] = value;
            assert_eq!(found(spec), [want]);
        }
    }

    #[test]
    fn a_rule_says_who_and_what() {
        let rule = json!({
            "subjects": [{"kind": "Group", "user": {"name": "u"}}, {"kind": "Robot"}],
            "resourceRules": [{"verbs": ["read"], "apiGroups": ["*", "a"], "resources": ["pods"], "namespaces": ["A"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["x", "/a*"]}],
        });
        let all = found(json!({"priorityLevelConfiguration": {"name": "l"}, "rules": [rule]}));
        let at = "spec.rules[0]";
        assert_eq!(
            all[0],
            format!("{at}.subjects[0].group: Required value: group is required when subject kind is 'Group'")
        );
        assert_eq!(
            all[1],
            format!("{at}.subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'")
        );
        assert_eq!(
            all[2],
            format!(
                "{at}.subjects[1].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\""
            )
        );
        assert!(
            all[3].starts_with(&format!("{at}.resourceRules[0].verbs: Unsupported value: [\"read\"]")),
            "{}",
            all[3]
        );
        assert_eq!(
            all[4],
            format!(
                "{at}.resourceRules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other api groups"
            )
        );
        assert!(
            all[5].starts_with(&format!(
                "{at}.resourceRules[0].namespaces[0]: Invalid value: \"A\": each member"
            ))
        );
        assert_eq!(
            all[6],
            format!(
                "{at}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"x\": must start with slash"
            )
        );
        assert_eq!(
            all[7],
            format!(
                "{at}.nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/a*\": wildcard can only do suffix matching"
            )
        );
    }
}
