//! Introspection (RFC 7662): whether a token that this endpoint has issued holds at this moment.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokensmith_core::tokens::Jws;
use tokensmith_core::tokens::access_token::{Checked, NotGood};
use tokensmith_server::Caller;
use tokensmith_server::audit::Line;

use crate::asked::{Asked, finish};
use crate::endpoint::Endpoint;
use crate::oauth::{self, Refusal};
use crate::policy::May;

pub(crate) async fn introspect(here: &Endpoint, caller: &Caller, request: Request<Body>) -> Response {
    let mut line = caller.line(&*here.clock, "introspect");
    let answer = answer(here, caller, request, &mut line).await;
    finish(caller, line, answer)
}

async fn answer(
    here: &Endpoint,
    caller: &Caller,
    request: Request<Body>,
    line: &mut Line,
) -> Result<Response, Refusal> {
    let asked = Asked::read(here, caller, request, May::Introspect, line).await?;
    let checked = Jws::parse(asked.token()).ok_or(NotGood::Foreign).and_then(|jws| here.access.check(&jws));
    let shown = match checked {
        Ok(checked) if asked.asker.is_for(&checked.payload.audiences) => {
            line.jti.clone_from(&checked.payload.id);
            line.subject.clone_from(&checked.payload.subject);
            active(checked)
        }
        // §2.2: no more is said of what is not active, nor of what is not theirs (§4).
        Ok(_) => {
            line.reason = "the token is for none of the client's audiences".into();
            json!({"active": false})
        }
        Err(e) => {
            line.reason = e.to_string();
            json!({"active": false})
        }
    };
    Ok(oauth::json(StatusCode::OK, &shown))
}

/// §2.2: what the token says, and that it is active. What it is bound to is the server's own business.
fn active(checked: Checked) -> Value {
    let mut shown = Map::new();
    shown.insert("active".into(), true.into());
    let hidden = tokensmith_core::tokens::access_token::TIE_CLAIM;
    shown.extend(checked.claims.into_iter().filter(|(name, _)| name != hidden && name != "active"));
    shown.insert("token_type".into(), "Bearer".into());
    Value::Object(shown)
}
