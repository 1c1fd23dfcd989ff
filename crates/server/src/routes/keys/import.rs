//! A key from elsewhere comes in.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokensmith_core::keys::ring::NEVER;
use tokensmith_core::keys::{
    Command, Import, KeyError, NewKey, Origin, Passphrase, PrivateKey, PrivatePem, PublicKey,
};

use super::commands::{algorithm, bad, done};
use super::view::answer;
use crate::app::App;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;

/// The body. `Debug` is left out: it holds a private key.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Wanted {
    pem: String,
    passphrase: Option<String>,
    /// `sign` or `verify`.
    r#use: String,
    algorithm: Option<String>,
    /// For `verify`: no token of the key expires later.
    tokens_until: Option<String>,
    force: bool,
    reason: String,
}

/// `POST /admin/v1/keys/import`
pub(crate) async fn import(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: Wanted = body::json(&app, &headers, body).await?;
    let algorithm = algorithm(wanted.algorithm.as_deref())?;
    let unusable = |e: KeyError| bad(&format!("the key cannot be used: {e}"));
    let import = match wanted.r#use.as_str() {
        "sign" => {
            if wanted.tokens_until.is_some() {
                return Err(bad("tokensUntil is for keys that only verify"));
            }
            let (pem, passphrase) = (PrivatePem::new(wanted.pem), wanted.passphrase.map(Passphrase::new));
            // An encrypted file takes as long as its writer has chosen: not on a task that answers others.
            let read = move || {
                let key = PrivateKey::from_pem_with(&pem, passphrase.as_ref())?;
                match algorithm {
                    Some(algorithm) => key.with_algorithm(algorithm),
                    None => Ok(key),
                }
            };
            let read = tokio::task::spawn_blocking(read).await;
            let key = read.map_err(|_| Failure::internal("the key could not be read"))?.map_err(unusable)?;
            Import::Sign(app.keys.seal(&key))
        }
        "verify" => {
            let until = match &wanted.tokens_until {
                None => NEVER,
                Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                    .map_err(|e| bad(&format!("tokensUntil is a time (RFC 3339): {e}")))?
                    .unix_timestamp(),
            };
            let found = PublicKey::list_from_pem(wanted.pem.as_bytes()).map_err(unusable)?;
            let Ok([public]) = <[PublicKey; 1]>::try_from(found) else {
                return Err(bad("the PEM holds several keys: import them one by one"));
            };
            let public = match algorithm {
                Some(algorithm) => PublicKey::from_spki_for(public.spki(), algorithm).map_err(unusable)?,
                None => public,
            };
            Import::Verify(NewKey { public, sealed: None, origin: Origin::Imported }, until)
        }
        _ => return Err(bad("use says what the key is for: sign or verify")),
    };
    let command = Command::Import(import);
    answer(&done(&app, &caller, "keys.import", &command, wanted.force, wanted.reason).await?, &headers)
}
