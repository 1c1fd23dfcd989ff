//! API services: which servers serve which group and version. Kept, and nobody is asked.

use serde_json::Value;

use super::Rules;
use crate::defaults::default;
use crate::field::{Findings, go_quote};
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::Limits;
use crate::{Object, names};

/// It is called by its version and group.
#[derive(Debug)]
pub(super) struct ApiService;

impl Rules for ApiService {
    fn key(&self) -> Option<&'static str> {
        Some("apiregistration.k8s.io/apiservices")
    }

    fn cell(&self, object: &Object, column: &str, _: time::OffsetDateTime) -> Option<Value> {
        let service = object.at(&["spec", "service"]).filter(|service| service.is_object());
        match column {
            "Service" => Some(match service {
                Some(service) => {
                    let text = |field: &str| service[field].as_str().unwrap_or("").to_owned();
                    format!("{}/{}", text("namespace"), text("name")).into()
                }
                None => "Local".into(),
            }),
            "Available" => {
                let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array);
                let available = conditions.into_iter().flatten().find(|one| one["type"] == "Available");
                let text = |one: &Value, field: &str| one[field].as_str().unwrap_or("").to_owned();
                Some(match available {
                    Some(one) if one["status"] == "True" => "True".into(),
                    Some(one) => format!("{} ({})", text(one, "status"), text(one, "reason")).into(),
                    None => "Unknown".into(),
                })
            }
            _ => None,
        }
    }

    fn defaults(&self, object: &mut Object) {
        let service = object.0.get_mut("spec").and_then(|spec| spec.get_mut("service"));
        if let Some(service) = service.and_then(Value::as_object_mut) {
            default(service, "port", 443);
        }
    }

    fn name(&self, object: &Object, name: &str) -> Vec<String> {
        let found = names::path_segment(name);
        let wanted = format!("{}.{}", object.str_at(&["spec", "version"]), object.str_at(&["spec", "group"]));
        match found.is_empty() && name != wanted {
            true => vec![format!("must be `spec.version+\".\"+spec.group`: {}", go_quote(&wanted))],
            false => found,
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        let (at, spec) = (Path::new("spec"), object.get("spec").unwrap_or(&Value::Null));
        let text = |of: &Value, field: &str| of[field].as_str().unwrap_or("").to_owned();
        let (group, version) = (text(spec, "group"), text(spec, "version"));
        if group.is_empty() && version != "v1" {
            let detail = "only v1 may have an empty group and it better be legacy kube";
            errors.required(&at.child("group"), detail);
        }
        if !group.is_empty() {
            errors.each(&at.child("group"), &group, names::subdomain(&group));
        }
        errors.each(&at.child("version"), &version, names::label_1035(&version));
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
            let given = spec[field].as_i64().unwrap_or(0);
            if given <= 0 || given > most {
                errors.invalid(&at.child(field), given, format!("must be positive and less than {most}"));
            }
        }
        let (bundle, skip) = (text(spec, "caBundle"), spec["insecureSkipTLSVerify"] == true);
        let skips = at.child("insecureSkipTLSVerify");
        let Some(service) = spec.get("service").filter(|service| service.is_object()) else {
            if !bundle.is_empty() {
                let (field, detail) = (at.child("caBundle"), "local APIServices may not have a caBundle");
                errors.invalid(&field, format!("{} bytes", length(&bundle)), detail);
            }
            if skip {
                errors.invalid(&skips, true, "local APIServices may not have insecureSkipTLSVerify");
            }
            return;
        };
        for field in ["service.namespace", "service.name"] {
            if text(service, field.trim_start_matches("service.")).is_empty() {
                errors.required(&at.child(field), "");
            }
        }
        if skip && !bundle.is_empty() {
            errors.invalid(&skips, true, "may not be true if caBundle is present");
        }
    }
}

/// How many bytes a text of base64 holds.
fn length(base64: &str) -> usize {
    let signs = base64.trim_end_matches('=').len();
    signs.saturating_mul(3) / 4
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Object;
    use crate::kinds::testing::{defaulted, texts};
    use crate::schema::kind;
    use crate::validate::{Limits, create};

    const GROUP: &str = "apiregistration.k8s.io";

    fn found(name: &str, field: &str, value: Value) -> Vec<String> {
        let mut spec =
            json!({"group": "a.example", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10});
        spec[field] = value;
        let body = defaulted(GROUP, "apiservices", json!({"metadata": {"name": name}, "spec": spec}));
        let object = Object::from_value(body).unwrap();
        texts(create(kind(GROUP, "apiservices").unwrap(), &object, &Limits::default()))
    }

    #[test]
    fn a_service_is_called_by_its_version_and_group() {
        let service = json!({"namespace": "n", "name": "s"});
        assert!(found("v1.a.example", "service", service).is_empty());
        for (name, field, value, want) in [
            (
                "x",
                "service",
                Value::Null,
                "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.a.example\"",
            ),
            ("v1.a.example", "service", json!({"name": "s"}), "spec.service.namespace: Required value"),
            (
                "v1.a.example",
                "versionPriority",
                json!(0),
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            ),
            (
                "v1.a.example",
                "caBundle",
                json!("AAEC"),
                "spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle",
            ),
        ] {
            assert_eq!(found(name, field, value), [want]);
        }
        let body = json!({"spec": {"service": {"name": "s"}}});
        assert_eq!(defaulted(GROUP, "apiservices", body)["spec"]["service"]["port"], 443);
    }
}
