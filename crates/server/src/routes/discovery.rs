//! What is served: `/api`, `/apis` and below, in the old form and the aggregated one
//! (`apiserver/pkg/endpoints/discovery`).

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ring::digest::{SHA512, digest};
use serde_json::{Map, Value, json};
use tokensmith_api::Media;
use tokensmith_api::json::to_vec;
use tokensmith_api::media::As;
use tokensmith_objects::codec::finish;
use tokensmith_objects::schema::{Kind, Schema, api_version};

use super::paths::{is_restful, no_page};
use crate::failure::Failure;
use crate::needs::needs;
use crate::reply::{self, Format};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn aggregated(to: &As) -> bool {
    to.group == "apidiscovery.k8s.io" && to.version == "v2" && to.kind == "APIGroupDiscoveryList"
}

/// The aggregated form of the schema that is served just now, made by the first who asks for it: most clients ask at each of their
/// starts whether it is still what they have.
#[derive(Debug, Default)]
pub struct Discovery(Mutex<Option<(Arc<Schema>, Arc<Lists>)>>);

/// Of the core group, and of the others.
#[derive(Debug, Default)]
struct Lists {
    core: OnceLock<Aggregated>,
    named: OnceLock<Aggregated>,
}

#[derive(Debug)]
struct Aggregated {
    json: Bytes,
    etag: Option<HeaderValue>,
}

impl Discovery {
    fn of(&self, schema: &Arc<Schema>) -> Arc<Lists> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, lists)) if Arc::ptr_eq(of, schema) => lists.clone(),
            _ => {
                let lists = Arc::<Lists>::default();
                *kept = Some((schema.clone(), lists.clone()));
                lists
            }
        }
    }
}

needs! {
    /// What an answer is made of.
    pub(super) struct Needed {
        discovery: Arc<Discovery>,
        schema: Arc<Schema>,
    }
}

/// `GET /api`
pub(super) async fn core(State(needed): State<Needed>, headers: HeaderMap) -> Result<Response, Failure> {
    let format = Format::of(&headers, "", aggregated)?;
    if format.convert.is_some() {
        let lists = needed.discovery.of(&needed.schema);
        let list = lists.core.get_or_init(|| list_of(&needed.schema, &[""]));
        return Ok(show(list, &format, &headers));
    }
    let value = json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []});
    Ok(reply::object(StatusCode::OK, &value, &format))
}

/// `GET /apis`
pub(super) async fn groups(State(needed): State<Needed>, headers: HeaderMap) -> Result<Response, Failure> {
    let schema = &*needed.schema;
    let format = Format::negotiated(&headers, "", aggregated)?;
    if format.convert.is_some() {
        let lists = needed.discovery.of(&needed.schema);
        let list = lists.named.get_or_init(|| list_of(schema, &named_groups(schema)));
        return Ok(show(list, &format, &headers));
    }
    let groups: Vec<_> = named_groups(schema).into_iter().map(|name| group(schema, name)).collect();
    Ok(reply::object(
        StatusCode::OK,
        &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
        &format,
    ))
}

/// `GET /api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION`; what else there may be below them is not there.
pub(super) fn below(schema: &Schema, request: &Request, path: &str) -> Result<Response, Failure> {
    if !is_restful(schema, path) {
        return Ok(no_page());
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // The aggregator answers for groups, and does not look at the method.
    let any = matches!(parts.as_slice(), ["apis", _]);
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
    if !any && *request.method() != Method::GET {
        return Err(Failure::method_not_allowed());
    }
    let query = request.uri().query().unwrap_or("");
    let format = match any {
        true => Format::negotiated(request.headers(), query, |_| false)?,
        false => Format::of(request.headers(), query, |_| false)?,
    };
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
    let mut value = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version), "resources": list,
    });
    // The core group's is encoded without one.
    if let Some(map) = value.as_object_mut().filter(|_| group.is_empty()) {
        map.shift_remove("apiVersion");
    }
    Some(value)
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

fn list_of(schema: &Schema, groups: &[&str]) -> Aggregated {
    let items: Vec<_> = groups.iter().map(|g| aggregated_group(schema, g)).collect();
    let json = to_vec(&json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    }));
    Aggregated { etag: etag(&json), json: finish(json, Media::Json, false).into() }
}

fn show(list: &Aggregated, format: &Format, headers: &HeaderMap) -> Response {
    let Aggregated { json, etag } = list;
    let mut response = match headers.get(IF_NONE_MATCH) == etag.as_ref() && etag.is_some() {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let text = match format.media {
                Media::Json if !format.pretty => json.clone(),
                media => finish(json.trim_ascii_end().to_vec(), media, format.pretty).into(),
            };
            // The reply's type is what tells kubectl the form.
            reply::bytes(StatusCode::OK, text, AGGREGATED)
        }
    };
    // kubectl keeps it on disk and asks whether it is still so.
    let out = response.headers_mut();
    etag.clone().map(|etag| out.insert(ETAG, etag));
    out.insert(VARY, HeaderValue::from_static("Accept"));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// The document's hash in quotes (`discovery/aggregated/etag.go`).
fn etag(json: &[u8]) -> Option<HeaderValue> {
    let hash = digest(&SHA512, json);
    let text: String = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    HeaderValue::from_str(&format!("\"{text}\"")).ok()
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
    // As in the old form a group and a version are said only where they are others than those of the list.
    let response = |g: &str, v: &str, k: &str| json!({"group": g, "version": v, "kind": k});
    let mut out = json!({
        "resource": kind.plural,
        "responseKind": response("", "", &kind.kind),
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
                json!({"subresource": s.name, "responseKind": response(&s.group, &s.version, &s.kind), "verbs": s.verbs})
            })
            .collect();
        out["subresources"] = subs.into();
    }
    out
}
