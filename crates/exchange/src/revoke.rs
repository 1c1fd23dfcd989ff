//! Revocation (RFC 7009) of tokens that this endpoint has issued, through the ledger.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use tokensmith_core::ledger::What;
use tokensmith_core::tokens::access_token::NotGood;
use tokensmith_core::tokens::{Jws, LedgerMode};
use tokensmith_server::Caller;
use tokensmith_server::audit::Line;

use crate::asked::{Asked, Asker, finish};
use crate::endpoint::{Endpoint, failed};
use crate::oauth::{Code, Refusal};
use crate::policy::May;

pub(crate) async fn revoke(here: &Endpoint, caller: &Caller, request: Request<Body>) -> Response {
    let mut line = caller.line(&*here.clock, "revoke");
    let answer = answer(here, caller, request, &mut line).await;
    finish(caller, line, answer)
}

async fn answer(
    here: &Endpoint,
    caller: &Caller,
    request: Request<Body>,
    line: &mut Line,
) -> Result<Response, Refusal> {
    let asked = Asked::read(here, caller, request, May::Revoke, line).await?;
    let unsupported = |told| Refusal::new(Code::UnsupportedTokenType, told);
    if here.ledger.mode() == LedgerMode::Off {
        return Err(unsupported("this server keeps no revocations"));
    }
    let jws = Jws::parse(asked.token());
    let checked = match jws.as_ref().ok_or(NotGood::Foreign).and_then(|jws| here.access.check(jws)) {
        Ok(checked) => checked,
        Err(NotGood::Foreign) if jws.is_some_and(|jws| here.access.is_own(&jws)) => {
            return Err(unsupported("only tokens that this endpoint has issued are revoked here"));
        }
        // §2.2: what is none, or does not hold, is as good as revoked.
        Err(e) => {
            line.reason = format!("there is nothing to revoke: {e}");
            return Ok(done());
        }
    };
    let (id, audiences) = (&checked.payload.id, &checked.payload.audiences);
    line.jti.clone_from(id);
    line.subject.clone_from(&checked.payload.subject);
    let own = match &asked.asker {
        Asker::Caller => true,
        // §2.1: it was issued to this client, or the policy puts it in charge.
        Asker::Client(_, client) => {
            let to = checked.claims.get("client_id").and_then(serde_json::Value::as_str);
            to == Some(client.name.as_str()) || asked.asker.is_for(audiences)
        }
    };
    if !own {
        let told = "the token was not issued to this client";
        return Err(Refusal::new(Code::UnauthorizedClient, told));
    }
    // What has been begun is finished even if the caller goes away.
    let (ledger, what, by) = (here.ledger.clone(), What::Jti(id.clone()), line.user.clone());
    let done_when = here.errands.begin(async move { ledger.revoke(what, by, "RFC 7009".into()).await });
    match done_when.await {
        Ok(Ok(_)) => Ok(done()),
        Ok(Err(e)) => {
            let why = tokensmith_core::error::chain(&e);
            Err(Refusal::because(Code::TemporarilyUnavailable, "the revocation could not be written", why))
        }
        Err(e) => Err(failed(&e)),
    }
}

/// §2.2: the answer has nothing to say.
fn done() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
