//! A key from elsewhere comes in.

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use tokensmith_core::keys::ring::NEVER;
use tokensmith_core::keys::{
    Algorithm, Command, Import, KeyError, NewKey, Origin, Passphrase, PrivateKey, PrivatePem, PublicKey,
};
use tokensmith_core::moment;
use tracing::Span;

use super::Ring;
use super::commands::{algorithm, bad, cause, finished, report};
use super::view::answer;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;

/// The body. `Debug` is left out: it holds a private key.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct ImportBody {
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
    State(ring): State<Ring>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let wanted: ImportBody = body::json(ring.limit, &headers, body).await?;
    let algorithm = algorithm(wanted.algorithm.as_deref())?;
    let sign = match wanted.r#use.as_str() {
        "sign" => true,
        "verify" => false,
        _ => return Err(bad("use says what the key is for: sign or verify")),
    };
    let until = tokens_until(&ring, wanted.tokens_until.as_deref(), sign)?;
    let cause = cause(&caller, wanted.reason, wanted.force)?;
    let (pem, passphrase) = (PrivatePem::new(wanted.pem), wanted.passphrase.map(Passphrase::new));
    // An encrypted file takes as long as its writer has chosen: not on a task that answers others.
    let span = Span::current();
    let read = move || span.in_scope(|| read(&pem, passphrase.as_ref(), algorithm, sign));
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|_| Failure::internal("the key could not be read"))?;
    let read = read.map_err(|e| bad(&format!("the key cannot be used: {e}")))?;
    let told = finished(ring.errands.clone(), async move {
        let outcome = match read {
            Read::Private(key) => ring.keys.import(&key, &cause).await,
            Read::Public(public) => {
                let key = NewKey { public, sealed: None, origin: Origin::Imported };
                ring.keys.command(&Command::Import(Import::Verify(key, until)), &cause).await
            }
            Read::Several => return Err(bad("the PEM holds several keys: import them one by one")),
        };
        report(&ring, &caller, "keys.import", "", &cause, outcome)
    });
    answer(&told.await?, &headers)
}

enum Read {
    Private(PrivateKey),
    Public(PublicKey),
    Several,
}

fn read(
    pem: &PrivatePem,
    passphrase: Option<&Passphrase>,
    algorithm: Option<Algorithm>,
    sign: bool,
) -> Result<Read, KeyError> {
    if sign || passphrase.is_some() {
        let key = PrivateKey::from_pem_with(pem, passphrase)?;
        let key = match algorithm {
            Some(algorithm) => key.with_algorithm(algorithm)?,
            None => key,
        };
        return Ok(if sign { Read::Private(key) } else { Read::Public(key.public().clone()) });
    }
    let Ok([public]) = <[PublicKey; 1]>::try_from(PublicKey::list_from_pem(pem.expose())?) else {
        return Ok(Read::Several);
    };
    Ok(Read::Public(match algorithm {
        Some(algorithm) => PublicKey::from_spki_for(public.spki(), algorithm)?,
        None => public,
    }))
}

/// Until when tokens of a key that only verifies may live, Unix seconds.
fn tokens_until(ring: &Ring, text: Option<&str>, sign: bool) -> Result<i64, Failure> {
    let Some(text) = text else { return Ok(NEVER) };
    if sign {
        return Err(bad("tokensUntil is for keys that only verify"));
    }
    let until = moment::parse(text).map_err(|e| bad(&format!("tokensUntil is a time (RFC 3339): {e}")))?;
    match until > ring.clock.now() {
        true => Ok(until.unix_timestamp()),
        false => Err(bad("tokensUntil is over: no token of the key can be valid any more")),
    }
}
