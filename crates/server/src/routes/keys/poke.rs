//! A token that opens nothing and makes verifiers fetch the key set.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use tokensmith_core::keys::verifiers;
use tokensmith_objects::object::timestamp;

use super::Ring;
use super::view::{answer, followers};
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct PokeBody {
    audience: String,
}

/// `POST /admin/v1/keys/poke`. Changes nothing, so nothing is in the journal; who asked is in the audit log.
pub(crate) async fn poke(
    State(ring): State<Ring>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: PokeBody = body::json(ring.limit, &headers, body).await?;
    let poke = ring.tokens.poke(&wanted.audience).await.map_err(Failure::from);
    let mut line = caller.line(&*ring.clock, "keys.poke");
    line.audiences = vec![wanted.audience];
    match &poke {
        Ok(poke) => {
            line.kid = poke.key_id.clone();
            (line.decision, line.code) = ("allow", 200);
        }
        Err(failure) => {
            (line.decision, line.code, line.reason) = ("deny", failure.0.code, failure.0.message.clone());
        }
    }
    caller.tell(line);
    let poke = poke?;
    let told = json!({
        "token": poke.token,
        "kid": poke.key_id,
        "algorithm": poke.algorithm.as_str(),
        "expiresAt": timestamp(poke.expires_at),
        "text": "the token opens nothing: show it to each verifier of its audience, as a bearer token, and expect a refusal",
        "verifiers": followers(&verifiers::poked(ring.keys.policy())),
    });
    answer(&told, &headers)
}
