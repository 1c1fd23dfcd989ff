//! `ComponentStatus`: how the parts of a control plane are. Long deprecated, and still asked for (`kubectl get cs`).
//!
//! There is a store here, and neither a scheduler nor a controller manager: these two are told as what nobody runs.

use std::sync::Arc;

use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;
use tokensmith_core::Error;
use tokensmith_core::clock::Clock;
use tokensmith_core::error::Qualified;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{Object, Stored};
use tokensmith_registry::{GetOptions, List, ListOptions};

use super::objects::convertible;
use super::show;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::needs::{Checks, needs};
use crate::reply::Format;

needs! {
    /// What an answer is made of.
    pub(super) struct Needed {
        checks: Checks,
        clock: Arc<dyn Clock>,
    }
}

/// One of them, or all.
pub(super) fn serve(
    with: &Needed,
    caller: &Caller,
    kind: &Arc<Kind>,
    parts: &Parts,
) -> Result<Response, Failure> {
    if parts.method != Method::GET {
        return Err(Failure::method_not_allowed());
    }
    let (query, name) = (parts.uri.query().unwrap_or(""), &caller.info.attributes.name);
    let mut items = all(&with.checks).into_iter().map(|object| Arc::new(Stored::of(kind, &object, 0)));
    if name.is_empty() {
        let format = Format::of_list(&parts.headers, query, convertible)?;
        ListOptions::read(kind, query)?;
        format.judge()?;
        show::fits(&format, kind, true)?;
        let list = List { items: items.collect(), revision: 0, continue_token: None, remaining: None };
        return Ok(show::show_list(&*with.clock, kind, &list, &format));
    }
    let format = Format::of(&parts.headers, query, convertible)?;
    GetOptions::read(query)?;
    let resource = Qualified::new("", &kind.plural);
    let found = items.find(|object| object.name() == name);
    let found = found.ok_or_else(|| Error::NotFound { resource, name: name.clone() })?;
    format.judge()?;
    show::fits(&format, kind, false)?;
    Ok(show::show(&*with.clock, kind, &found, StatusCode::OK, &format))
}

fn all(checks: &Checks) -> Vec<Object> {
    let store = checks.iter().find(|(name, _)| *name == "etcd").and_then(|(_, check)| check());
    let nobody = |what: &str| Some(format!("there is no {what} here"));
    [
        ("controller-manager", nobody("controller manager")),
        ("etcd-0", store),
        ("scheduler", nobody("scheduler")),
    ]
    .into_iter()
    .map(|(name, problem)| one(name, problem))
    .collect()
}

fn one(name: &str, problem: Option<String>) -> Object {
    let mut object = Object::new("v1", "ComponentStatus");
    object.set(&["metadata", "name"], name);
    let condition = match problem {
        None => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Some(problem) => json!({"type": "Healthy", "status": "False", "error": problem}),
    };
    object.set(&["conditions"], vec![condition]);
    object
}
