//! Whether a schema is one that objects can be kept by: what people meet of `structural` and of what is not supported.

use serde_json::Value;

use crate::field::Findings;
use crate::kinds::look::{list, text};
use crate::path::Path;

/// The schema of whole objects.
pub(super) fn root(errors: &mut Findings, at: &Path<'_>, schema: &Value) {
    if schema.as_object().is_none_or(serde_json::Map::is_empty) {
        return;
    }
    match text(schema, "type") {
        "object" => {}
        "" => errors.required(&at.child("type"), "must not be empty at the root"),
        other => return errors.invalid(&at.child("type"), other, "must be object at the root"),
    }
    one(errors, at, schema, 0);
}

/// A stack has an end, and what is not read is not taken.
const DEEPEST: usize = 100;

const UNSUPPORTED: [&str; 5] = ["$ref", "definitions", "dependencies", "id", "patternProperties"];

fn one(errors: &mut Findings, at: &Path<'_>, schema: &Value, depth: usize) {
    if depth > DEEPEST {
        return errors.forbidden(at, "must not be more than 100 schemas deep");
    }
    let deeper = depth.saturating_add(1);
    for field in UNSUPPORTED {
        let given = match &schema[field] {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        };
        if given {
            errors.forbidden(&at.child(field), format_args!("{field} is not supported"));
        }
    }
    if schema["uniqueItems"] == true {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&at.child("uniqueItems"), detail);
    }
    let properties = schema["properties"].as_object().filter(|all| !all.is_empty());
    let additional = &schema["additionalProperties"];
    if properties.is_some() && (additional.is_object() || additional == false) {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.forbidden(&at.child("additionalProperties"), detail);
    }
    list_type(errors, at, schema);
    let field = at.child("properties");
    for (name, property) in properties.into_iter().flatten() {
        let at = &field.key(name);
        typed(errors, at, property, "must not be empty for specified object fields");
        one(errors, at, property, deeper);
    }
    if additional.is_object() {
        let at = &at.child("additionalProperties");
        typed(errors, at, additional, "must not be empty for specified object fields");
        one(errors, at, additional, deeper);
    }
    match &schema["items"] {
        items @ Value::Object(_) => {
            let at = &at.child("items");
            typed(errors, at, items, "must not be empty for specified array items");
            one(errors, at, items, deeper);
        }
        Value::Array(_) => {
            errors.forbidden(&at.child("items"), "items must be a schema object and not an array");
        }
        _ if text(schema, "type") == "array" => errors.required(&at.child("items"), "must be specified"),
        _ => {}
    }
}

/// Each field says what it is, but for those that may be anything.
fn typed(errors: &mut Findings, at: &Path<'_>, schema: &Value, detail: &str) {
    let free = schema["x-kubernetes-preserve-unknown-fields"] == true
        || schema["x-kubernetes-int-or-string"] == true;
    let refers = !text(schema, "$ref").is_empty();
    if text(schema, "type").is_empty() && !free && !refers {
        errors.required(&at.child("type"), detail);
    }
    if text(schema, "type") == "null" {
        errors.forbidden(&at.child("type"), "type cannot be set to null, use nullable as an alternative");
    }
}

fn list_type(errors: &mut Findings, at: &Path<'_>, schema: &Value) {
    let (field, of) = (at.child("x-kubernetes-list-type"), text(schema, "x-kubernetes-list-type"));
    let (keys_at, keys) =
        (at.child("x-kubernetes-list-map-keys"), list(schema, "x-kubernetes-list-map-keys"));
    match of {
        "" => {}
        "atomic" | "map" | "set" => {
            if text(schema, "type") != "array" {
                let detail = "must be array if x-kubernetes-list-type is specified";
                match text(schema, "type") {
                    "" => errors.required(&at.child("type"), detail),
                    other => errors.invalid(&at.child("type"), other, detail),
                }
            }
        }
        other => errors.not_supported(&field, other, &["atomic", "map", "set"]),
    }
    if of == "map" {
        if keys.is_empty() {
            errors.required(&keys_at, "must not be empty if x-kubernetes-list-type is map");
        }
        let kind = text(&schema["items"], "type");
        if kind != "object" && schema["items"].is_object() {
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            errors.invalid(&at.child("items.type"), kind, detail);
        }
    } else if !keys.is_empty() {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        match of {
            "" => errors.required(&field, detail),
            other => errors.invalid(&field, other, detail),
        }
    }
}
