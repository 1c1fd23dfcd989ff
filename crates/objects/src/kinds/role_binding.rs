//! Bindings of roles and cluster roles.

use serde_json::Value;
use time::OffsetDateTime;

use super::{RBAC as GROUP, Rules, internal};
use crate::defaults::default;
use crate::field::Findings;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{FieldError, Object, names};

/// Of a namespace or of the whole cluster.
#[derive(Debug)]
pub(super) struct RoleBinding;

impl Rules for RoleBinding {
    fn cell(&self, object: &Object, column: &str, _: OffsetDateTime) -> Option<Value> {
        cell(object, column)
    }

    fn defaults(&self, object: &mut Object) {
        defaults(object);
    }

    fn grants(&self) -> bool {
        true
    }

    fn name(&self, _: &Object, name: &str) -> Vec<String> {
        names::path_segment(name)
    }

    fn validate(&self, errors: &mut Findings, kind: &Kind, object: &Object, _: &Limits) {
        create(errors, kind, object);
    }

    /// A binding's role cannot be exchanged: who may edit subjects could otherwise pick the role.
    fn validate_update(&self, errors: &mut Findings, kind: &Kind, new: &Object, old: &Object, _: &Limits) {
        create(errors, kind, new);
        if new.get("roleRef") != old.get("roleRef") {
            let value = internal::shown(new.get("roleRef").unwrap_or(&Value::Null), "rbac.RoleRef");
            errors.push(|| FieldError::invalid("roleRef", &value, "cannot change roleRef"));
        }
    }
}

fn defaults(object: &mut Object) {
    if object.str_at(&["roleRef", "apiGroup"]).is_empty() {
        object.set(&["roleRef", "apiGroup"], GROUP);
    }
    let Some(Value::Array(subjects)) = object.0.get_mut("subjects") else { return };
    for subject in subjects.iter_mut().filter_map(Value::as_object_mut) {
        let named = matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group"));
        if named {
            default(subject, "apiGroup", GROUP);
        }
    }
}

fn create(errors: &mut Findings, kind: &Kind, binding: &Object) {
    let group = binding.str_at(&["roleRef", "apiGroup"]);
    if group != GROUP {
        errors.push(|| FieldError::not_supported("roleRef.apiGroup", &group.into(), &[GROUP]));
    }
    let kinds: &[&str] = if kind.namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let given = binding.str_at(&["roleRef", "kind"]);
    if !kinds.contains(&given) {
        errors.push(|| FieldError::not_supported("roleRef.kind", &given.into(), kinds));
    }
    match binding.str_at(&["roleRef", "name"]) {
        "" => errors.push(|| FieldError::required("roleRef.name", "")),
        name => {
            for finding in names::path_segment(name) {
                errors.push(|| FieldError::invalid("roleRef.name", &name.into(), finding));
            }
        }
    }
    for (at, subject) in binding.get("subjects").and_then(Value::as_array).into_iter().flatten().enumerate() {
        self::subject(errors, kind, &format!("subjects[{at}]"), subject);
    }
}

fn subject(errors: &mut Findings, kind: &Kind, field: &str, subject: &Value) {
    let text = |name: &str| subject[name].as_str().unwrap_or("");
    if text("name").is_empty() {
        errors.push(|| FieldError::required(format!("{field}.name"), ""));
    }
    let (group, name) = (text("apiGroup"), text("name"));
    match text("kind") {
        "ServiceAccount" => {
            for finding in if name.is_empty() { Vec::new() } else { names::subdomain(name) } {
                errors.push(|| FieldError::invalid(format!("{field}.name"), &name.into(), finding));
            }
            if !group.is_empty() {
                errors.push(|| FieldError::not_supported(format!("{field}.apiGroup"), &group.into(), &[""]));
            }
            if !kind.namespaced && text("namespace").is_empty() {
                errors.push(|| FieldError::required(format!("{field}.namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            errors.push(|| FieldError::not_supported(format!("{field}.apiGroup"), &group.into(), &[GROUP]));
        }
        "User" | "Group" => {}
        other => errors.push(|| {
            FieldError::not_supported(
                format!("{field}.kind"),
                &other.into(),
                &["ServiceAccount", "User", "Group"],
            )
        }),
    }
}

fn cell(binding: &Object, column: &str) -> Option<Value> {
    let subjects = |kind: &str| {
        let all = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
        let names = all.filter(|s| s["kind"] == kind).map(|s| {
            let name = s["name"].as_str().unwrap_or("");
            match s["namespace"].as_str().filter(|_| kind == "ServiceAccount") {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.into(),
            }
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    let cell = match column {
        "Role" => {
            format!("{}/{}", binding.str_at(&["roleRef", "kind"]), binding.str_at(&["roleRef", "name"]))
                .into()
        }
        "Users" => subjects("User"),
        "Groups" => subjects("Group"),
        "ServiceAccounts" => subjects("ServiceAccount"),
        _ => return None,
    };
    Some(cell)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::GROUP;
    use crate::kinds::testing::{self, defaulted};

    #[test]
    fn users_and_groups_are_of_the_group() {
        let binding = defaulted(
            GROUP,
            "rolebindings",
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}),
        );
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "User", "name": "u", "apiGroup": GROUP}, {"kind": "ServiceAccount", "name": "s"}])
        );
        assert_eq!(binding["roleRef"]["apiGroup"], GROUP);
    }

    #[test]
    fn what_a_binding_names_is_there_to_be_named() {
        let (group, found) = (GROUP, testing::created_of_rbac);
        let role = json!({"apiGroup": group, "kind": "Role", "name": "x"});
        assert_eq!(
            found("clusterrolebindings", json!({ "roleRef": role })),
            ["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""]
        );
        let bad = json!({"roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "x"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}, {"kind": "Robot", "name": "r"}]});
        assert_eq!(
            found("clusterrolebindings", bad),
            [
                "subjects[0].namespace: Required value",
                "subjects[1].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\""
            ]
        );
    }
}
