//! Definitions of custom resources (`apiextensions-apiserver`): kept, and nothing is served of them yet.

mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::Rules;
use super::look::{list, text};
use crate::defaults::default;
use crate::field::Findings;
use crate::path::Path;
use crate::schema::Kind;
use crate::validate::{Limits, unchanged};
use crate::{FieldError, Object, names};

/// It says what its objects look like.
#[derive(Debug)]
pub(super) struct CustomResourceDefinition;

impl Rules for CustomResourceDefinition {
    fn key(&self) -> Option<&'static str> {
        Some("apiextensions.k8s.io/customresourcedefinitions")
    }

    fn defaults(&self, object: &mut Object) {
        let Some(spec) = object.0.get_mut("spec").and_then(Value::as_object_mut) else { return };
        if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
            let kind = names.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
            if !kind.is_empty() {
                default(names, "singular", kind.to_lowercase());
                default(names, "listKind", format!("{kind}List"));
            }
        }
        if spec.get("conversion").is_none_or(Value::is_null) {
            spec.insert("conversion".into(), json!({"strategy": "None"}));
        }
        let service = spec.get_mut("conversion").and_then(|c| c.pointer_mut("/webhook/clientConfig/service"));
        if let Some(service) = service.and_then(Value::as_object_mut) {
            default(service, "port", 443);
        }
    }

    fn name(&self, object: &Object, name: &str) -> Vec<String> {
        let mut found = names::subdomain(name);
        let spec = |path: &[&str]| object.str_at(path).to_owned();
        if name != format!("{}.{}", spec(&["spec", "names", "plural"]), spec(&["spec", "group"])) {
            found.push("must be spec.names.plural+\".\"+spec.group".into());
        }
        found
    }

    /// What version its objects are stored in is the first thing that is known of it.
    fn prepare_create(&self, _: &Kind, object: &mut Object) {
        let versions = object.at(&["spec", "versions"]).and_then(Value::as_array);
        let stored = versions.into_iter().flatten().find(|version| version["storage"] == true);
        let stored: Vec<Value> = stored.map(|version| version["name"].clone()).into_iter().collect();
        object.remove(&["status"]);
        if !stored.is_empty() {
            object.set(&["status", "storedVersions"], stored);
        }
    }

    fn validate(&self, errors: &mut Findings, _: &Kind, object: &Object, _: &Limits) {
        spec(errors, object.get("spec").unwrap_or(&Value::Null));
        if object.at(&["status", "storedVersions"]).and_then(Value::as_array).is_none_or(Vec::is_empty) {
            let at = Path::new("status.storedVersions");
            errors.invalid(&at, Value::Null, "must have at least one stored version");
        }
    }

    fn validate_change(&self, errors: &mut Findings, new: &Object, old: &Object) {
        if is_established(old) {
            unchanged(errors, &["spec", "scope"], new, old);
            unchanged(errors, &["spec", "names", "kind"], new, old);
        }
        unchanged(errors, &["spec", "group"], new, old);
        unchanged(errors, &["spec", "names", "plural"], new, old);
        let named: HashSet<&str> = list(new.get("spec").unwrap_or(&Value::Null), "versions")
            .iter()
            .map(|v| text(v, "name"))
            .collect();
        let at = Path::new("status.storedVersions");
        let stored = new.at(&["status", "storedVersions"]).and_then(Value::as_array);
        for (index, version) in stored.into_iter().flatten().enumerate() {
            let version = version.as_str().unwrap_or("");
            if !named.contains(version) {
                errors.invalid(&at.index(index), version, "must appear in spec.versions");
            }
        }
    }
}

fn is_established(object: &Object) -> bool {
    let conditions = object.at(&["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Established" && one["status"] == "True")
}

fn spec(errors: &mut Findings, spec: &Value) {
    let at = &Path::new("spec");
    let (field, group) = (at.child("group"), text(spec, "group"));
    let found = names::subdomain(group);
    if group.is_empty() {
        errors.required(&field, "");
    } else if !found.is_empty() {
        errors.invalid(&field, group, found.join(","));
    } else if !group.contains('.') {
        errors.invalid(&field, group, "should be a domain with at least one dot");
    }
    match text(spec, "scope") {
        "" => errors.required(&at.child("scope"), ""),
        "Cluster" | "Namespaced" => {}
        other => errors.not_supported(&at.child("scope"), other, &["Cluster", "Namespaced"]),
    }
    versions(errors, at, spec);
    let of = &spec["names"];
    let field = at.child("names");
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(of, name).is_empty() {
            errors.required(&field.child(name), "");
        }
    }
    self::names(errors, &field, of);
    contents(errors, at, spec);
    match text(&spec["conversion"], "strategy") {
        "None" | "Webhook" => {}
        "" => errors.required(&at.child("conversion.strategy"), ""),
        other => errors.not_supported(&at.child("conversion.strategy"), other, &["None", "Webhook"]),
    }
}

fn versions(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let (all, field, mut seen) = (list(spec, "versions"), at.child("versions"), HashSet::new());
    for (index, version) in all.iter().enumerate() {
        let name = text(version, "name");
        let found = names::label_1035(name);
        if !found.is_empty() {
            errors.invalid(&field.index(index).child("name"), name, found.join(","));
        }
        seen.insert(name);
    }
    if seen.len() < all.len() {
        errors.push(|| FieldError::invalid(&field, &shown(all), "must contain unique version names"));
    }
    if all.iter().filter(|version| version["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(|| FieldError::invalid(&field, &shown(all), detail));
    }
    // Upstream's internal form has the first version's name once more, as long ago.
    if let Some(first) = all.first().map(|version| text(version, "name")).filter(|name| !name.is_empty()) {
        let found = names::label_1035(first);
        if !found.is_empty() {
            errors.invalid(&at.child("version"), first, found.join(","));
        }
    }
}

/// What versions have that upstream's internal form holds above them where all have the same.
const HELD_ABOVE: [&str; 4] = ["schema", "subresources", "additionalPrinterColumns", "selectableFields"];

/// Whether all versions have the same of each, looked through once.
fn shared(versions: &[Value]) -> [bool; 4] {
    HELD_ABOVE.map(|field| versions.windows(2).all(|pair| pair[0][field] == pair[1][field]))
}

/// Versions as upstream's internal form shows them.
fn shown(versions: &[Value]) -> Value {
    let shared = shared(versions);
    let one = |version: &Value| {
        let own = |at: usize| if shared[at] { Value::Null } else { version[HELD_ABOVE[at]].clone() };
        json!({
            "Name": version["name"], "Served": version["served"] == true, "Storage": version["storage"] == true,
            "Deprecated": version["deprecated"] == true, "DeprecationWarning": version["deprecationWarning"],
            "Schema": own(0), "Subresources": own(1), "AdditionalPrinterColumns": own(2), "SelectableFields": own(3),
        })
    };
    versions.iter().map(one).collect()
}

fn names(errors: &mut Findings, at: &Path<'_>, of: &Value) {
    for field in ["plural", "singular"] {
        let name = text(of, field);
        let found = names::label_1035(name);
        if !name.is_empty() && !found.is_empty() {
            errors.invalid(&at.child(field), name, found.join(","));
        }
    }
    for field in ["kind", "listKind"] {
        let name = text(of, field);
        let found = names::label_1035(&name.to_lowercase());
        if !name.is_empty() && !found.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", found.join(","));
            errors.invalid(&at.child(field), name, detail);
        }
    }
    for field in ["shortNames", "categories"] {
        let at = at.child(field);
        for (index, name) in list(of, field).iter().enumerate() {
            let name = name.as_str().unwrap_or("");
            let found = names::label_1035(name);
            if !found.is_empty() {
                errors.invalid(&at.index(index), name, found.join(","));
            }
        }
        if field == "shortNames" && !text(of, "kind").is_empty() && of["kind"] == of["listKind"] {
            let detail = "kind and listKind may not be the same";
            errors.invalid(&Path::new("spec.names.listKind"), text(of, "listKind"), detail);
        }
    }
}

/// Schemas, subresources and columns: what all versions have is told of above them.
fn contents(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let (all, field) = (list(spec, "versions"), at.child("versions"));
    let [schemas, subresources, columns, _] = shared(all);
    let none = Value::Object(Map::new());
    for (index, version) in all.iter().enumerate() {
        let own = field.index(index);
        let schema = version["schema"].get("openAPIV3Schema").filter(|schema| !schema.is_null());
        if schema.is_none() {
            errors.required(&own.child("schema.openAPIV3Schema"), "");
        }
        let first = index == 0;
        if first || !schemas {
            let at = if schemas { at.child("validation") } else { own.child("schema") };
            schema::root(errors, &at.child("openAPIV3Schema"), schema.unwrap_or(&none));
        }
        if first || !subresources {
            let place = if subresources { at } else { &own };
            scale(errors, &place.child("subresources"), &version["subresources"]);
        }
        if first || !columns {
            let place = if columns { at } else { &own };
            self::columns(errors, &place.child("additionalPrinterColumns"), version);
        }
    }
}

fn scale(errors: &mut Findings, at: &Path<'_>, subresources: &Value) {
    let Some(scale) = subresources.get("scale").filter(|scale| scale.is_object()) else { return };
    for (field, root) in
        [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status."), ("labelSelectorPath", ".")]
    {
        let (scale_at, path) = (at.child("scale"), text(scale, field));
        let at = scale_at.child(field);
        if path.is_empty() {
            if field != "labelSelectorPath" {
                errors.required(&at, "");
            }
        } else if !path.starts_with('.') {
            errors.invalid(&at, path, SIMPLE);
        } else if !path.starts_with(root) {
            let root = root.trim_end_matches('.');
            errors.invalid(&at, path, format!("should be a json path under {root}"));
        } else if field == "labelSelectorPath" && !path.starts_with(".status.") && !path.starts_with(".spec.")
        {
            errors.invalid(&at, path, "should be a json path under either .spec or .status");
        }
    }
}

const SIMPLE: &str = "must be a simple json path starting with .";
const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];

fn columns(errors: &mut Findings, at: &Path<'_>, version: &Value) {
    for (index, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let at = at.index(index);
        if text(column, "name").is_empty() {
            errors.required(&at.child("name"), "");
        }
        match text(column, "type") {
            "" => errors.required(&at.child("type"), &format!("must be one of {}", TYPES.join(","))),
            of if TYPES.contains(&of) => {}
            of => errors.invalid(&at.child("type"), of, format!("must be one of {}", TYPES.join(","))),
        }
        match text(column, "jsonPath") {
            "" => errors.required(&at.child("JSONPath"), ""),
            path if path.starts_with('.') => {}
            path => errors.invalid(&at.child("JSONPath"), path, SIMPLE),
        }
    }
}
