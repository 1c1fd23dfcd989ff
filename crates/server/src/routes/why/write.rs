//! What admission would say of a write: a dry run of it, as who the token is.

use std::sync::Arc;

use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use tokensmith_core::Error;
use tokensmith_core::access::admission::{Operation, Write, watched};
use tokensmith_core::access::{Identity, Step};
use tokensmith_objects::Object;

use super::asked::Asked;
use crate::app::App;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::needs::Shared;

/// The layer.
pub(super) const ADMISSION: &str = "admission";

/// What admission says of a write that is authorized; `None` for what is no write.
pub(super) async fn admitted(
    app: &Arc<App>,
    caller: &Caller,
    asked: &Asked,
    user: &Identity,
) -> Option<Step> {
    if !asked.writes() {
        return None;
    }
    let deletes = asked.attributes.verb == "delete" && !asked.attributes.name.is_empty();
    let (Some(_), Some(kind)) = (&asked.info, &asked.kind) else {
        return Some(Step::silent(ADMISSION, "not asked: this is no request of a kind that is served"));
    };
    if asked.object.is_none() && !deletes {
        let a = &asked.attributes;
        let operation = match a.verb.as_str() {
            "create" => Operation::Create,
            "update" | "patch" => Operation::Update,
            _ => Operation::Delete,
        };
        let objects = app.view.snapshot();
        let write =
            Write { subresource: &a.subresource, ..Write::of(user, operation, kind, &a.namespace, &objects) };
        let members = app.registry.admission().asked(&write);
        let who =
            if members.is_empty() { "quotas".to_owned() } else { format!("{}, quotas", members.join(", ")) };
        return Some(Step::silent(
            ADMISSION,
            format!("it can still refuse ({who}): it judges what is written, which was not given (--object)"),
        ));
    }
    Some(match watched(tried(app, caller, asked, user)).await {
        (Ok(()), _) => Step::holds(ADMISSION, "a dry run of it was taken"),
        // Whether it is allowed is one thing, whether it makes sense another.
        (Err(failure), None) if failure.0.code != 403 => Step::silent(
            ADMISSION,
            format!("it was not reached: a dry run ends with {}: {}", failure.0.code, failure.0.message),
        ),
        (Err(failure), by) => {
            let by = by.unwrap_or_else(|| "the registry".to_owned());
            let step = Step::fails(ADMISSION, format!("{by}: {}", failure.0.message));
            match change(&by) {
                Some(change) => step.or(change),
                None => step,
            }
        }
    })
}

/// What would change a refusal of a member, where it is always the same.
fn change(member: &str) -> Option<&'static str> {
    Some(match member {
        "NamespaceLifecycle" => "use a namespace that is there and not going: kubectl get namespaces",
        "NodeRestriction" => "do it as somebody else than a node: a node writes what is its own alone",
        "RbacEscalation" => {
            "grant no more than the user holds, or give it the verb escalate on the role, or bind on the role that is bound"
        }
        "TokenClaims" => "give the user the verb set-claims on serviceaccounts",
        _ => return None,
    })
}

async fn tried(app: &Arc<App>, caller: &Caller, asked: &Asked, user: &Identity) -> Result<(), Failure> {
    let (Some(info), Some(kind), Some((method, target))) = (&asked.info, &asked.kind, asked.target()) else {
        return Ok(());
    };
    let a = &info.attributes;
    if (a.group.as_str(), a.resource.as_str(), a.subresource.as_str()) == ("", "serviceaccounts", "token") {
        // Its dry run mints a token, which nobody has asked for.
        let object = Object::from_value(asked.object.clone().unwrap_or(Value::Null));
        let object = object.ok_or_else(|| Error::BadRequest("object: is no object".into()))?;
        return Ok(app.tokens.admit(user, (&a.namespace, &a.name), object).await?);
    }
    if !kind.stored {
        return Ok(());
    }
    let media = if a.verb == "patch" { "application/merge-patch+json" } else { "application/json" };
    let body = asked.object.as_ref().map_or_else(Body::empty, |object| Body::from(object.to_string()));
    let request = Request::builder().method(method).uri(format!("{target}?dryRun=All"));
    let request = request.header(CONTENT_TYPE, media).body(body);
    let request = request.map_err(|e| Error::BadRequest(format!("this is no request: {e}")))?;
    let caller = caller.instead(user.clone(), info.clone());
    super::super::of_kind(&Shared(app.clone()), &caller, kind, request).await.map(drop)
}
