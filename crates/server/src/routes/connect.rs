//! What leads through an object to where it runs: `log`, `exec`, `attach`, `portforward`, `proxy`
//! (`registry/core/pod/strategy.go`, `registry/core/pod/rest`). Nothing runs here, so all of it is told, as soon as what
//! an API server itself finds wrong has been.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::Value;
use tokensmith_core::Error;
use tokensmith_core::access::admission::{Operation, Write};
use tokensmith_core::access::request::parameter;
use tokensmith_objects::schema::Kind;
use tokensmith_objects::{FieldError, Object};
use tokensmith_registry::options::number;

use super::objects::{Objects, enter_for, judge_name, query};
use crate::failure::Failure;
use crate::gate::Caller;

pub(super) async fn serve(
    with: &Objects,
    caller: &Caller,
    kind: &Kind,
    parts: &Parts,
) -> Result<Response, Failure> {
    judge_name(caller)?;
    let a = &caller.info.attributes;
    let (sub, query) = (a.subresource.as_str(), query(parts));
    let fits = match sub {
        "log" => parts.method == Method::GET,
        "proxy" => true,
        _ => [Method::GET, Method::POST].contains(&parts.method),
    };
    if !fits {
        return Err(Failure::method_not_allowed());
    }
    if sub == "log" {
        judge_log(&a.name, query)?;
    }
    // A service, and a port of a pod, are named as `SCHEME:NAME:PORT`.
    let named: Vec<_> = a.name.split(':').collect();
    let name = match (sub, &named[..]) {
        ("proxy", [name] | [name, _] | [_, name, _]) => *name,
        ("proxy", _) => {
            return Err(Error::BadRequest(format!("invalid {} request {:?}", a.resource, a.name)).into());
        }
        _ => a.name.as_str(),
    };
    let namespace = if kind.namespaced { a.namespace.as_str() } else { "" };
    let there = with.registry.get(kind, namespace, name)?;
    enter_for(kind, Some(&there)).await;
    let object = there.wire_object(kind);
    if sub != "log" {
        let snapshot = with.registry.snapshot();
        let write = Write {
            subresource: sub,
            name,
            ..Write::of(&caller.user, Operation::Connect, kind, namespace, &snapshot)
        };
        with.registry.admission().admit(&write, None, &mut Vec::new()).await?;
    }
    if sub != "proxy" {
        if sub != "portforward" {
            judge_container(&object, parameter(query, "container").as_deref().unwrap_or(""))?;
        }
        match (object.str_at(&["spec", "nodeName"]), sub) {
            ("", "log") => return Ok((StatusCode::NO_CONTENT, Body::empty()).into_response()),
            ("", _) => {
                return Err(Error::BadRequest(format!("pod {name} does not have a host assigned")).into());
            }
            // Upstream asks for the node by the name of its pods.
            (node, _) if with.registry.snapshot().get("", "nodes", "", node).is_none() => {
                return Err(Error::not_found("", "pods", node).into());
            }
            _ => {}
        }
    } else if kind.kind == "Pod" && object.str_at(&["status", "podIP"]).is_empty() {
        return Err(Error::BadRequest("address not allowed".into()).into());
    }
    Err(Error::Unavailable(nothing_runs(kind, name, sub)).into())
}

/// Whoever comes here mostly looks for a token: it is on disk, where the project command runs.
fn nothing_runs(kind: &Kind, name: &str, sub: &str) -> String {
    let what = kind.singular.as_str();
    match sub {
        "attach" | "exec" | "log" => format!(
            "{what} {name} runs nowhere: tokensmith has no kubelet; `tokensmith project` writes the tokens of its volumes to disk, and runs a command with them"
        ),
        _ => {
            format!("nothing answers behind {what} {name}: tokensmith has no kubelet and no network of pods")
        }
    }
}

/// `PodLogOptions`.
fn judge_log(name: &str, query: &str) -> Result<(), Error> {
    let mut found = Vec::new();
    let since = number(query, "sinceSeconds")?;
    let dated = since.is_some() && parameter(query, "sinceTime").is_some();
    let [lines, bytes] = [number(query, "tailLines")?, number(query, "limitBytes")?];
    for (field, given, least, detail) in [
        ("tailLines", lines, 0, "must be greater than or equal to 0"),
        ("limitBytes", bytes, 1, "must be greater than 0"),
        ("sinceSeconds", since.filter(|_| !dated), 1, "must be greater than 0"),
    ] {
        if let Some(given) = given.filter(|given| *given < least) {
            found.push(FieldError::invalid(field, &given.into(), detail));
        }
    }
    if dated {
        // Upstream names no field, and a path of nothing is written so.
        found.push(FieldError::forbidden(
            "[]",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid("", "PodLogOptions", name, found)),
    }
}

/// The container that is meant has to be there, and is named where there are several.
fn judge_container(pod: &Object, wanted: &str) -> Result<(), Error> {
    let names = |field: &str| -> Vec<String> {
        let all = pod.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten();
        all.map(|container| container["name"].as_str().unwrap_or("").to_owned()).collect()
    };
    let (own, init, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    let all = || own.iter().chain(&init).chain(&ephemeral);
    let name = pod.name();
    let text = match (wanted, own.len()) {
        ("", 1) => return Ok(()),
        ("", 0) => format!("a container name must be specified for pod {name}"),
        ("", _) => {
            let all: Vec<_> = [&init[..], &own[..], &ephemeral[..]].concat();
            format!("a container name must be specified for pod {name}, choose one of: [{}]", all.join(" "))
        }
        (wanted, _) if all().any(|there| there == wanted) => return Ok(()),
        (wanted, _) => format!("container {wanted} is not valid for pod {name}"),
    };
    Err(Error::BadRequest(text))
}
