//! Keys go out: public halves in the forms that others take, private ones only by a path of their own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tokensmith_core::access::request::parameter;
use tokensmith_core::keys::{Passphrase, PublicKey, jwks, jwks_gcp};
use tracing::Span;

use super::Ring;
use super::commands::{audit, bad, check_reason, failure};
use super::view::{answer, no_such_key};
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::reply;

/// `GET /admin/v1/keys/export?format=pem|jwks|gcp[&key=KID]`: what is published, or one key of it.
pub(crate) async fn export(State(ring): State<Ring>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = query.as_deref().unwrap_or("");
    let set = ring.keys.current();
    let keys: Vec<Arc<PublicKey>> = match parameter(query, "key") {
        None => set.published().to_vec(),
        Some(id) => {
            let found = set.published().iter().find(|k| k.key_id() == id);
            vec![found.ok_or_else(|| no_such_key(&id))?.clone()]
        }
    };
    match parameter(query, "format").as_deref().unwrap_or("pem") {
        "pem" => {
            let text: String = keys.iter().map(|k| k.to_pem()).collect();
            Ok(reply::bytes(StatusCode::OK, text, "application/x-pem-file"))
        }
        "jwks" => Ok(reply::bytes(StatusCode::OK, jwks(&keys), "application/jwk-set+json")),
        "gcp" => {
            let upload = jwks_gcp(keys.iter().map(|k| &**k)).map_err(|e| bad(&e.to_string()))?;
            let left_out = |id: &String| format!("GCP takes RSA and EC keys only: key {id} is left out");
            let warnings = upload.left_out.iter().map(left_out).collect();
            Ok(reply::warned(reply::bytes(StatusCode::OK, upload.json, "application/json"), warnings))
        }
        other => Err(bad(&format!("there is no format {other:?}: use pem, jwks or gcp"))),
    }
}

/// The body. `Debug` is left out: it holds a passphrase.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ExportBody {
    passphrase: Option<String>,
    reason: String,
}

/// `POST /admin/v1/private-keys/{id}`, a path that no `/admin/v1/keys/*` of a role covers: the private half, as PKCS#8, under a passphrase if one is given.
pub(crate) async fn private(
    State(ring): State<Ring>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: ExportBody = body::json(ring.limit, &headers, body).await?;
    check_reason(&wanted.reason)?;
    let key = ring.keys.private(&id).map_err(|e| failure(&ring, &id, e));
    audit(&ring, &caller, "keys.export-private", &id, &wanted.reason, key.as_ref().err());
    let (key, passphrase) = (key?, wanted.passphrase.map(Passphrase::new));
    // Deriving a key from a passphrase takes a good part of a second on purpose: not on a task that answers others.
    let span = Span::current();
    let write = move || span.in_scope(|| key.to_pem(passphrase.as_ref()));
    let pem = tokio::task::spawn_blocking(write).await;
    let pem = pem.map_err(|_| Failure::internal("the key could not be written"))?;
    let pem = pem.map_err(|e| bad(&format!("the key cannot be written: {e}")))?;
    answer(&json!({ "pem": pem.as_str() }), &headers)
}
