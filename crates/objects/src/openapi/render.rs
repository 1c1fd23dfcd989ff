//! Paths as the documents write them, in either version.

use serde_json::{Map, Value, json};

use super::Form;
use super::components::Components;
use super::operations::{Body, Operation, Path, Reply};
use super::parameters::{self, Parameter};

const OBJECT: [&str; 3] = ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml"];
const STREAM: [&str; 5] = [
    "application/json",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];
const LOG: [&str; 4] =
    ["application/json", "application/vnd.kubernetes.protobuf", "application/yaml", "text/plain"];
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A path item. What all its operations take stands beside them.
pub(super) fn path<'a>(path: &Path<'a>, components: &mut Components<'a>) -> Value {
    let mut common = path.operations.first().map_or_else(Vec::new, |first| first.parameters.clone());
    common.retain(|one| path.operations.iter().all(|operation| operation.parameters.contains(one)));
    let mut item = Map::new();
    for one in &path.operations {
        item.insert(one.method.into(), operation(one, &common, components));
    }
    if !common.is_empty() {
        let form = components.form();
        item.insert("parameters".into(), common.iter().map(|one| parameter(*one, form)).collect());
    }
    Value::Object(item)
}

/// Version 2 writes a parameter of the query once, for all who refer to it.
pub(super) fn shared_parameters() -> Value {
    let lists =
        [&parameters::LIST[..], &parameters::DELETE, &parameters::WRITE, &parameters::PATCH, &["pretty"]];
    let connections = ["attach", "exec", "log", "portforward", "proxy"].map(parameters::connecting);
    let mut all: Vec<&str> = lists.into_iter().chain(connections).flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    let one = |name: &str| json!({"in": "query", "name": name, "type": kind(name), "uniqueItems": true});
    Value::Object(all.into_iter().map(|name| (name.to_owned(), one(name))).collect())
}

fn kind(name: &str) -> &'static str {
    // A name alone says what it is, wherever it stands.
    let known = parameters::LIST.iter().chain(&parameters::DELETE).chain(&parameters::PATCH);
    let connections = ["attach", "exec", "log", "portforward"].into_iter().flat_map(parameters::connecting);
    let mut known = known.chain(connections).copied();
    known.find(|one| *one == name).map_or("string", |name| Parameter::query(name).of())
}

fn parameter(one: Parameter, form: Form) -> Value {
    let place = if one.in_path { "path" } else { "query" };
    match form {
        Form::V2 if !one.in_path => json!({ "$ref": format!("#/parameters/{}", one.name) }),
        Form::V2 => json!({
            "in": place, "name": one.name, "required": true, "type": one.of(), "uniqueItems": true,
        }),
        Form::V3 => {
            let mut out = json!({
                "in": place, "name": one.name, "schema": {"type": one.of(), "uniqueItems": true},
            });
            if one.in_path {
                out["required"] = true.into();
            }
            out
        }
    }
}

fn operation<'a>(one: &Operation<'a>, common: &[Parameter], components: &mut Components<'a>) -> Value {
    let form = components.form();
    let own = one.parameters.iter().filter(|parameter| !common.contains(parameter));
    let mut parameters: Vec<Value> = own.map(|one| parameter(*one, form)).collect();
    let body = one.body.map(|body| match body {
        Body::DeleteOptions => (components.meta("DeleteOptions"), &["*/*"][..], false),
        Body::Object(of) => (components.reference(of), &["*/*"][..], true),
        Body::Patch => (components.meta("Patch"), &PATCHES[..], true),
    });
    let (schema, media) = reply(one.reply, components);
    let mut out = Map::new();
    out.insert("operationId".into(), one.id.as_str().into());
    match form {
        Form::V2 => {
            out.insert("schemes".into(), json!(["https"]));
            out.insert("consumes".into(), json!(body.as_ref().map_or(&["*/*"][..], |(_, media, _)| media)));
            out.insert("produces".into(), json!(media));
            if let Some((schema, _, required)) = body {
                let mut body = json!({"in": "body", "name": "body", "schema": schema});
                if required {
                    body["required"] = true.into();
                }
                parameters.push(body);
            }
        }
        Form::V3 => {
            if let Some((schema, media, required)) = body {
                let mut body = json!({ "content": content(&schema, media) });
                if required {
                    body["required"] = true.into();
                }
                out.insert("requestBody".into(), body);
            }
        }
    }
    if !parameters.is_empty() {
        out.insert("parameters".into(), parameters.into());
    }
    let mut responses = Map::new();
    for code in one.codes {
        let text = match *code {
            "200" => "OK",
            "201" => "Created",
            "202" => "Accepted",
            _ => "Unauthorized",
        };
        let mut response = json!({ "description": text });
        if *code != "401" {
            match form {
                Form::V2 => response["schema"] = schema.clone(),
                Form::V3 => response["content"] = content(&schema, media),
            }
        }
        responses.insert((*code).into(), response);
    }
    out.insert("responses".into(), responses.into());
    out.insert("tags".into(), json!([one.tag]));
    if let Some((action, [group, version, kind])) = one.about {
        out.insert("x-kubernetes-action".into(), action.into());
        let gvk = json!({"group": group, "kind": kind, "version": version});
        out.insert("x-kubernetes-group-version-kind".into(), gvk);
    }
    Value::Object(out)
}

fn content(schema: &Value, media: &[&str]) -> Value {
    let one = |media: &&str| ((*media).to_owned(), json!({ "schema": schema }));
    Value::Object(media.iter().map(one).collect())
}

/// The schema of an answer, and as what it is written.
fn reply<'a>(reply: Reply<'a>, components: &mut Components<'a>) -> (Value, &'static [&'static str]) {
    let text = || json!({"type": "string"});
    match reply {
        Reply::Any => (text(), &["*/*"]),
        Reply::List(kind) => (components.list(kind), &STREAM),
        Reply::Log => (text(), &LOG),
        Reply::Meta(name @ "version.Info") => (components.meta(name), &OBJECT[..1]),
        Reply::Meta(name) => (components.meta(name), &OBJECT),
        Reply::Object(of) => (components.reference(of), &OBJECT),
        Reply::Text("application/json") => (text(), &["application/json"]),
        Reply::Text(_) => (text(), &["application/jwk-set+json"]),
        Reply::Watch => (components.meta("WatchEvent"), &STREAM),
    }
}
