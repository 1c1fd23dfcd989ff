//! What is served: `/api`, `/apis` and below, in the old form and the aggregated one
//! (`apiserver/pkg/endpoints/discovery`).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use tokensmith_api::media::As;
use tokensmith_objects::schema::{Kind, Schema, api_version};

use crate::failure::Failure;
use crate::reply::{self, Format};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn aggregated(to: &As) -> bool {
    to.group == "apidiscovery.k8s.io" && to.version == "v2" && to.kind == "APIGroupDiscoveryList"
}

/// `GET /api`
pub(super) async fn core(State(schema): State<Arc<Schema>>, headers: HeaderMap) -> Result<Response, Failure> {
    let format = Format::of(&headers, "", aggregated)?;
    if format.convert.is_some() {
        return Ok(list_of(&schema, &[""], &format));
    }
    let value = json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []});
    Ok(reply::object(StatusCode::OK, &value, &format))
}

/// `GET /apis`
pub(super) async fn groups(
    State(schema): State<Arc<Schema>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let schema = &*schema;
    let format = Format::of(&headers, "", aggregated)?;
    if format.convert.is_some() {
        return Ok(list_of(schema, &named_groups(schema), &format));
    }
    let groups: Vec<_> = named_groups(schema).into_iter().map(|name| group(schema, name)).collect();
    Ok(reply::object(
        StatusCode::OK,
        &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
        &format,
    ))
}

/// `GET /api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION`
pub(super) fn below(schema: &Schema, request: &Request, path: &str) -> Result<Response, Failure> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    let value = match parts.as_slice() {
        ["api", version] => resources(schema, "", version),
        ["apis", name] => named_groups(schema).contains(name).then(|| {
            let mut value = group(schema, name);
            if let Value::Object(map) = &mut value {
                let mut head = Map::new();
                head.insert("kind".into(), "APIGroup".into());
                head.insert("apiVersion".into(), "v1".into());
                head.append(map);
                *map = head;
            }
            value
        }),
        ["apis", group, version] => resources(schema, group, version),
        _ => None,
    };
    let value = value.ok_or_else(Failure::no_such_path)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Failure::method_not_allowed());
    }
    let format = Format::of(request.headers(), request.uri().query().unwrap_or(""), |_| false)?;
    Ok(reply::object(StatusCode::OK, &value, &format))
}

/// Groups but the core one, in the table's order.
fn named_groups(schema: &Schema) -> Vec<&str> {
    let mut groups: Vec<&str> = Vec::new();
    for kind in schema.served().filter(|k| !k.group.is_empty()) {
        if !groups.contains(&kind.group.as_str()) {
            groups.push(&kind.group);
        }
    }
    groups
}

/// The versions of a group, best first; each kind of the table has one.
fn versions<'a>(schema: &'a Schema, group: &str) -> Vec<&'a str> {
    let mut versions: Vec<&str> = Vec::new();
    for kind in schema.served().filter(|k| k.group == group) {
        if !versions.contains(&kind.version.as_str()) {
            versions.push(&kind.version);
        }
    }
    versions
}

fn group(schema: &Schema, name: &str) -> Value {
    let versions: Vec<_> = versions(schema, name)
        .into_iter()
        .map(|v| json!({"groupVersion": api_version(name, v), "version": v}))
        .collect();
    json!({"name": name, "versions": versions, "preferredVersion": versions.first()})
}

fn resources(schema: &Schema, group: &str, version: &str) -> Option<Value> {
    let of: Vec<&Kind> =
        schema.served().filter(|k| k.group == group && k.version == version).map(|kind| &**kind).collect();
    if of.is_empty() {
        return None;
    }
    let mut list: Vec<Value> = of.iter().flat_map(|kind| resource(kind)).collect();
    list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version), "resources": list,
    }))
}

/// A kind and what is below it, in `metav1.APIResource`'s field order.
fn resource(kind: &Kind) -> Vec<Value> {
    let mut own = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
        "kind": kind.kind, "verbs": kind.verbs,
    });
    for (key, list) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !list.is_empty() {
            own[key] = list.clone().into();
        }
    }
    if !kind.storage_version_hash.is_empty() {
        own["storageVersionHash"] = kind.storage_version_hash.as_str().into();
    }
    let below = kind.subresources.iter().map(|sub| {
        let mut out = Map::new();
        out.insert("name".into(), format!("{}/{}", kind.plural, sub.name).into());
        out.insert("singularName".into(), "".into());
        out.insert("namespaced".into(), kind.namespaced.into());
        for (key, value) in [("group", &sub.group), ("version", &sub.version)] {
            if !value.is_empty() {
                out.insert(key.into(), value.as_str().into());
            }
        }
        out.insert("kind".into(), sub.kind.as_str().into());
        out.insert("verbs".into(), sub.verbs.clone().into());
        Value::Object(out)
    });
    std::iter::once(own).chain(below).collect()
}

fn list_of(schema: &Schema, groups: &[&str], format: &Format) -> Response {
    let items: Vec<_> = groups.iter().map(|g| aggregated_group(schema, g)).collect();
    let value = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    let mut response = reply::object(StatusCode::OK, &value, format);
    // The reply's type is what tells kubectl the form.
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response
}

fn aggregated_group(schema: &Schema, name: &str) -> Value {
    let versions: Vec<_> = versions(schema, name)
        .into_iter()
        .map(|version| {
            let of = schema.served().filter(|k| k.group == name && k.version == version);
            json!({"version": version, "resources": of.map(|kind| aggregated_resource(kind)).collect::<Vec<_>>(), "freshness": "Current"})
        })
        .collect();
    let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let response = |g: &str, v: &str, k: &str| json!({"group": g, "version": v, "kind": k});
    let mut out = json!({
        "resource": kind.plural,
        "responseKind": response(&kind.group, &kind.version, &kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    for (key, list) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !list.is_empty() {
            out[key] = list.clone().into();
        }
    }
    if !kind.subresources.is_empty() {
        let subs: Vec<_> = kind
            .subresources
            .iter()
            .map(|s| {
                let (group, version) = match s.version.as_str() {
                    "" => (&kind.group, &kind.version),
                    _ => (&s.group, &s.version),
                };
                json!({"subresource": s.name, "responseKind": response(group, version, &s.kind), "verbs": s.verbs})
            })
            .collect();
        out["subresources"] = subs.into();
    }
    out
}
