//! Changing the ring, under its guards. Each change is in the journal and in the audit log.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokensmith_core::keys::{
    Algorithm, Cause, Command, CommandError, CommandReport, Refused, RingError, SealSourceError,
};
use tokensmith_core::ledger::jti::holds_token;
use tokensmith_core::supervise::Errands;
use tokensmith_core::{Error, Moment};

use super::Ring;
use super::view::{answer, described, followers, late, no_such_key};
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;

/// The longest reason, bytes: all of them stay for ever.
const MAX_REASON: usize = 1024;

/// What every command may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct CommandBody {
    pub(super) algorithm: Option<String>,
    pub(super) force: bool,
    pub(super) reason: String,
}

/// `POST /admin/v1/keys/prepare`
pub(crate) async fn prepare(
    State(ring): State<Ring>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let said: CommandBody = body::json(ring.limit, &headers, body).await?;
    let algorithm = match algorithm(said.algorithm.as_deref())? {
        Some(algorithm) => algorithm,
        None => ring.keys.current().ring().default_algorithm(),
    };
    let command = Command::Prepare { algorithm };
    answer(&done(&ring, &caller, "keys.prepare", &command, said.force, said.reason).await?, &headers)
}

/// `POST /admin/v1/keys/rotate`
pub(crate) async fn rotate(
    State(ring): State<Ring>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let said: CommandBody = body::json(ring.limit, &headers, body).await?;
    let command = Command::Rotate { algorithm: algorithm(said.algorithm.as_deref())? };
    answer(&done(&ring, &caller, "keys.rotate", &command, said.force, said.reason).await?, &headers)
}

/// `POST /admin/v1/keys/{id}/activate`
pub(crate) async fn activate(
    State(ring): State<Ring>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let said = unfit(body::json(ring.limit, &headers, body).await?)?;
    let command = Command::Activate { id };
    answer(&done(&ring, &caller, "keys.activate", &command, said.force, said.reason).await?, &headers)
}

/// What a revocation may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Revocation {
    force: bool,
    fresh: bool,
    reason: String,
}

/// `POST /admin/v1/keys/{id}/revoke`
pub(crate) async fn revoke(
    State(ring): State<Ring>,
    Path(id): Path<String>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let Revocation { force, fresh, reason } = body::json(ring.limit, &headers, body).await?;
    let command = Command::Revoke { id: id.clone(), fresh };
    let mut told = done(&ring, &caller, "keys.revoke", &command, force, reason).await?;
    let mut unknown = |why: &str| {
        let text = format!("which accounts had tokens of the key is not known: {why}");
        match told.get_mut("warnings").and_then(Value::as_array_mut) {
            Some(warnings) => warnings.push(text.into()),
            None => told["warnings"] = vec![text].into(),
        }
    };
    // The key is gone by now: what cannot be told of it must not look like a failure.
    match ring.ledger.accounts_with_tokens(&id).await {
        Ok(Some(accounts)) => {
            let accounts = accounts.iter().map(|(name, count)| json!({"account": name, "tokens": count}));
            told["accounts"] = accounts.collect();
        }
        Ok(None) => unknown("only --ledger=full writes issued tokens down"),
        Err(cause) => {
            tracing::error!(%cause, "the ledger cannot be read");
            unknown("the ledger cannot be read");
        }
    }
    answer(&told, &headers)
}

/// What resealing may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Resealing {
    keep_file: bool,
    reason: String,
}

/// `POST /admin/v1/keys/reseal`
pub(crate) async fn reseal(
    State(ring): State<Ring>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let said: Resealing = body::json(ring.limit, &headers, body).await?;
    let cause = cause(&caller, said.reason, false)?;
    let count = finished(ring.errands.clone(), async move {
        let resealed = ring.keys.reseal(!said.keep_file, &cause).await;
        let resealed = resealed.map_err(|e| failure(&ring, "", e));
        audit(&ring, &caller, "keys.reseal", "", &cause.reason, resealed.as_ref().err());
        resealed
    });
    let count = count.await?;
    let text = match said.keep_file {
        true => format!("{count} private keys are sealed under the first key of the sealing-key file"),
        false => format!(
            "{count} private keys are sealed under a new sealing key; the old one opens nothing of the ring any more"
        ),
    };
    answer(&json!({ "text": text, "keys": count }), &headers)
}

/// Carries a command out and tells what has happened.
pub(super) async fn done(
    ring: &Ring,
    caller: &Caller,
    action: &'static str,
    command: &Command,
    forced: bool,
    reason: String,
) -> Result<Value, Failure> {
    let cause = cause(caller, reason, forced)?;
    let about = match command {
        Command::Activate { id } | Command::Revoke { id, .. } => id.as_str(),
        _ => "",
    };
    let (about, command, ring, caller) = (about.to_owned(), command.clone(), ring.clone(), caller.clone());
    let done = finished(ring.errands.clone(), async move {
        let outcome = ring.keys.command(&command, &cause).await;
        report(&ring, &caller, action, &about, &cause, outcome)
    });
    done.await
}

/// What has been begun is finished even if the caller goes away: nobody changes the ring past the audit log by hanging
/// up.
pub(super) async fn finished<T: Send + 'static>(
    errands: Arc<Errands>,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    errands.begin(work).await.map_err(|_| Failure::internal("the change of the keys did not end"))?
}

/// Who wants it, and why; overruling a guard needs a reason.
pub(super) fn cause(caller: &Caller, reason: String, forced: bool) -> Result<Cause, Failure> {
    check_reason(&reason)?;
    if forced && reason.trim().is_empty() {
        return Err(bad("force overrules a guard and needs a reason: it stays in the journal"));
    }
    let by = match &caller.impersonated_by {
        Some(real) => format!("{real} as {}", caller.user.name),
        None => caller.user.name.clone(),
    };
    Ok(Cause { by, reason, forced, exception: None })
}

/// Writes the audit line, and tells what has happened.
pub(super) fn report(
    ring: &Ring,
    caller: &Caller,
    action: &'static str,
    about: &str,
    cause: &Cause,
    outcome: Result<CommandReport, CommandError>,
) -> Result<Value, Failure> {
    let outcome = outcome.map_err(|e| failure(ring, about, e));
    let key = outcome.as_ref().map_or(about, |done| &done.key).to_owned();
    audit(ring, caller, action, &key, &cause.reason, outcome.as_ref().err());
    Ok(told(ring, &outcome?))
}

fn told(ring: &Ring, outcome: &CommandReport) -> Value {
    let changes: Vec<_> = outcome
        .changes
        .iter()
        .map(|c| json!({"key": c.key, "algorithm": c.algorithm.as_str(), "from": c.from, "to": c.to}))
        .collect();
    let mut out = json!({ "text": outcome.text, "changes": changes });
    if !outcome.warnings.is_empty() {
        out["warnings"] = outcome.warnings.clone().into();
    }
    if !outcome.verifiers.is_empty() {
        out["verifiers"] = followers(&outcome.verifiers);
    }
    if let Some(key) = described(&ring.keys.current(), &outcome.key, late(ring)) {
        out["key"] = key;
    }
    out
}

/// A reason stays in the journal, where people read it in lines.
pub(in crate::routes) fn check_reason(reason: &str) -> Result<(), Failure> {
    match () {
        () if reason.len() > MAX_REASON => {
            Err(bad(&format!("reason: must not be longer than {MAX_REASON} bytes")))
        }
        () if reason.chars().any(char::is_control) => Err(bad("reason: must be one line")),
        () if holds_token(reason) => {
            Err(bad("reason: there is a token in it, and it would be kept: leave it out"))
        }
        () => Ok(()),
    }
}

/// Which algorithm is meant.
pub(super) fn algorithm(name: Option<&str>) -> Result<Option<Algorithm>, Failure> {
    name.map(str::parse)
        .transpose()
        .map_err(|e: tokensmith_core::keys::algorithm::UnknownAlgorithm| bad(&e.to_string()))
}

pub(super) fn bad(text: &str) -> Failure {
    Error::BadRequest(text.into()).into()
}

/// A key has its algorithm: saying one is a mistake.
fn unfit(said: CommandBody) -> Result<CommandBody, Failure> {
    match said.algorithm {
        None => Ok(said),
        Some(_) => Err(bad("the key is named: leave the algorithm out")),
    }
}

/// What a refusal is on the wire.
pub(super) fn failure(ring: &Ring, id: &str, error: CommandError) -> Failure {
    let error = match error {
        CommandError::Refused(Refused::Ring(RingError::Unknown(id))) => return no_such_key(&id),
        CommandError::Refused(Refused::Unsafe { text, safe_at }) => {
            let left = safe_at.map_or(0.0, |at| at.since(ring.clock.now()).as_seconds_f64());
            // Rounded up: who comes back then comes back in time.
            Error::Unsafe { text, safe_at, wait_seconds: left.max(0.0).ceil() as i64 }
        }
        CommandError::Seal(given @ SealSourceError::Given) => Error::Disabled(given.to_string()),
        // Who imports a key learns which one it is.
        CommandError::Refused(Refused::Ring(refused)) => {
            Error::conflict("", "keys", refused.key().unwrap_or(id), refused.to_string())
        }
        CommandError::Refused(refused) => Error::conflict("", "keys", id, refused.to_string()),
        other => Error::internal(other.to_string(), other),
    };
    error.into()
}

/// A line for who looks later.
pub(super) fn audit(
    ring: &Ring,
    caller: &Caller,
    action: &'static str,
    key: &str,
    reason: &str,
    refused: Option<&Failure>,
) {
    let mut line = caller.line(&*ring.clock, action);
    line.kid = key.into();
    (line.decision, line.code, line.reason) = match refused {
        None => ("allow", 200, reason.into()),
        Some(failure) => ("deny", failure.0.code, failure.0.message.clone()),
    };
    caller.tell(line);
}
