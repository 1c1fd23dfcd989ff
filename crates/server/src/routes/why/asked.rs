//! What is asked about: as `kubectl auth can-i` names it, made into the request that it would be.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tokensmith_core::Error;
use tokensmith_core::access::request::{encode, encode_value};
use tokensmith_core::access::why::{is_of_requests, like, odd_verb};
use tokensmith_core::access::{Attributes, RequestInfo};
use tokensmith_core::view::Snapshot;
use tokensmith_objects::names;
use tokensmith_objects::schema::{Kind, Schema};

use crate::failure::Failure;

/// What is sent. The token is never shown again, not in errors either.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct WhyBody {
    pub(super) token: String,
    /// Without any token.
    pub(super) anonymous: bool,
    verb: String,
    group: Option<String>,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    /// A path, instead of a resource.
    path: String,
    /// What would be written.
    object: Option<Value>,
}

/// What is asked about.
pub(super) struct Asked {
    pub(super) attributes: Attributes,
    /// The request that it would be, if it is one: a right such as `impersonate` is asked about by others.
    pub(super) info: Option<RequestInfo>,
    /// Its method and target.
    target: Option<(&'static str, String)>,
    pub(super) kind: Option<Arc<Kind>>,
    pub(super) object: Option<Value>,
    /// What is odd about it.
    pub(super) notes: Vec<String>,
    /// Whether no rule could help: there is no such thing.
    pub(super) vain: bool,
}

impl Asked {
    /// Reads what was sent.
    ///
    /// # Errors
    /// It names nothing, or two things.
    pub(super) fn read(schema: &Schema, sent: &WhyBody) -> Result<Asked, Failure> {
        let bad = |text: &str| Err(Error::BadRequest(text.into()).into());
        if sent.anonymous != sent.token.trim().is_empty() {
            return bad("give a token, or say that there is none (anonymous)");
        }
        if sent.verb.is_empty() {
            return bad("verb: must not be empty");
        }
        for (field, text) in
            [("name", &sent.name), ("namespace", &sent.namespace), ("subresource", &sent.subresource)]
        {
            if let [wrong, ..] = names::path_segment(text).as_slice() {
                return Err(Error::BadRequest(format!("{field}: {text:?}: {wrong}")).into());
            }
        }
        match (sent.resource.is_empty(), sent.path.is_empty()) {
            (false, true) => Asked::of_resource(schema, sent),
            (true, false) => Asked::of_path(sent),
            _ => bad("give either a resource or a path"),
        }
    }

    fn of_path(sent: &WhyBody) -> Result<Asked, Failure> {
        let has = [&sent.subresource, &sent.namespace, &sent.name].iter().any(|text| !text.is_empty());
        if !sent.path.starts_with('/') || has || sent.group.is_some() || sent.object.is_some() {
            let text = "path: must begin with / and have no resource's fields beside it";
            return Err(Error::BadRequest(text.into()).into());
        }
        let attributes =
            Attributes { verb: sent.verb.clone(), path: sent.path.clone(), ..Attributes::default() };
        let mut notes = Vec::new();
        if RequestInfo::parse("GET", &sent.path, "").attributes.resource_request {
            notes.push("a request for this path is one for a resource: ask by verb and resource".into());
        }
        let target = Some((method(&sent.verb).unwrap_or("GET"), sent.path.clone()));
        Ok(Asked { attributes, info: None, target, kind: None, object: None, notes, vain: false }.judged())
    }

    fn of_resource(schema: &Schema, sent: &WhyBody) -> Result<Asked, Failure> {
        let mut notes = Vec::new();
        let kind = found(schema, sent.group.as_deref(), &sent.resource);
        if kind.is_none() {
            let all: Vec<&str> = schema.served().map(|kind| kind.plural.as_str()).collect();
            let meant = like(&sent.resource.to_lowercase(), &all);
            let meant = meant.map_or_else(String::new, |meant| format!("; do you mean {meant}?"));
            notes.push(format!("this server has no resource type {:?}{meant}", sent.resource));
        }
        // Rights such as `impersonate` are on what no server serves.
        let vain = kind.is_none() && is_of_requests(&sent.verb) && sent.resource != "*";
        let namespace = match &kind {
            Some(kind) if !kind.namespaced => "",
            _ => &sent.namespace,
        };
        let (group, version, resource) = match &kind {
            Some(kind) => (kind.group.as_str(), kind.version.as_str(), kind.plural.as_str()),
            None => (sent.group.as_deref().unwrap_or_default(), "v1", sent.resource.as_str()),
        };
        if let Some(kind) = kind
            .as_ref()
            .filter(|kind| !sent.subresource.is_empty() && kind.subresource(&sent.subresource).is_none())
        {
            notes.push(format!("this server has no {}/{}", kind.plural, sent.subresource));
        }
        let attributes = Attributes {
            verb: sent.verb.clone(),
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            subresource: sent.subresource.clone(),
            namespace: namespace.into(),
            name: sent.name.clone(),
            resource_request: true,
            ..Attributes::default()
        };
        let target = target(&attributes);
        let mut asked =
            Asked { attributes, info: None, target: None, kind, object: sent.object.clone(), notes, vain };
        if let Some((method, path, query)) = target {
            // As the gate reads it: what stands in no path is not asked for.
            let info = RequestInfo::parse(method, &path, &query);
            if info.attributes.name != asked.attributes.name {
                asked.notes.push(format!(
                    "a {} names nothing in its path, so no rule can allow it by name",
                    sent.verb
                ));
            }
            asked.attributes = Attributes { path: String::new(), ..info.attributes.clone() };
            asked.info = Some(info);
            let query = if query.is_empty() { query } else { format!("?{query}") };
            asked.target = Some((method, format!("{}{query}", encode(&path))));
        }
        if asked.object.is_some() && !asked.writes() {
            return Err(Error::BadRequest("object: goes with create, update and patch".into()).into());
        }
        Ok(asked.judged())
    }

    /// With what is to be said of its verb.
    fn judged(mut self) -> Asked {
        let odd = odd_verb(&self.attributes.verb, self.attributes.resource_request);
        self.vain |= odd.is_some();
        self.notes.extend(odd);
        self
    }

    /// Says so where its namespace is not there. It is told to who may read that.
    pub(super) fn look_for_namespace(&mut self, objects: &Snapshot, may_read: impl FnOnce(&str) -> bool) {
        let namespace = &self.attributes.namespace;
        if namespace.is_empty()
            || objects.get("", "namespaces", "", namespace).is_some()
            || !may_read(namespace)
        {
            return;
        }
        self.notes
            .push(format!("there is no namespace {namespace:?}: a role in it can be made when there is"));
        self.vain = true;
    }

    /// Whether it changes something, so that admission is asked.
    pub(super) fn writes(&self) -> bool {
        matches!(self.attributes.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && self.attributes.resource_request
    }

    /// Its method and target.
    pub(super) fn target(&self) -> Option<(&'static str, &str)> {
        self.target.as_ref().map(|(method, target)| (*method, target.as_str()))
    }

    /// As people read it.
    pub(super) fn text(&self) -> String {
        match &self.target {
            Some((method, target)) => format!("{method} {target}"),
            None => {
                let a = &self.attributes;
                let sub =
                    if a.subresource.is_empty() { String::new() } else { format!("/{}", a.subresource) };
                let name = if a.name.is_empty() { String::new() } else { format!(" {}", a.name) };
                format!("{} {}{sub}{name}", a.verb, a.resource)
            }
        }
    }
}

/// The kind that is meant: by its plural, its singular or a short name, of the first group that has one (kubectl's `RESTMapper`).
fn found(schema: &Schema, group: Option<&str>, resource: &str) -> Option<Arc<Kind>> {
    let wanted = resource.to_lowercase();
    let of_group = || schema.served().filter(|kind| group.is_none_or(|group| kind.group == group));
    let plural = of_group().find(|kind| kind.plural == wanted);
    let named = || of_group().find(|kind| kind.singular == wanted || kind.short_names.contains(&wanted));
    plural.or_else(named).cloned()
}

fn method(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "create" | "post" => "POST",
        "get" | "list" | "watch" => "GET",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" | "deletecollection" => "DELETE",
        _ => return None,
    })
}

/// Method, path and query of the request that asks for it; `None` for what no request is, as `bind`, or a get of no name.
fn target(a: &Attributes) -> Option<(&'static str, String, String)> {
    let collection = matches!(a.verb.as_str(), "list" | "watch" | "deletecollection")
        || (a.verb == "create" && a.subresource.is_empty());
    if !collection && a.name.is_empty() {
        return None;
    }
    if collection && !a.subresource.is_empty() {
        return None;
    }
    let method = method(&a.verb)?;
    let mut path = match a.group.as_str() {
        "" => format!("/api/{}", a.version),
        group => format!("/apis/{group}/{}", a.version),
    };
    if !a.namespace.is_empty() {
        path.push_str(&format!("/namespaces/{}", a.namespace));
    }
    path.push_str(&format!("/{}", a.resource));
    if !collection {
        path.push_str(&format!("/{}", a.name));
    }
    if !a.subresource.is_empty() {
        path.push_str(&format!("/{}", a.subresource));
    }
    let mut query = Vec::new();
    if a.verb == "watch" {
        query.push("watch=1".to_owned());
    }
    if matches!(a.verb.as_str(), "list" | "watch") && !a.name.is_empty() {
        query.push(format!("fieldSelector=metadata.name%3D{}", encode_value(&a.name)));
    }
    Some((method, path, query.join("&")))
}
