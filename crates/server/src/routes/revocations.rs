//! `POST /admin/v1/tokens/revoke` and `GET /admin/v1/revocations`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokensmith_core::Error;
use tokensmith_core::ledger::{NamespacedName, Revocation, What};
use tokensmith_core::tokens::LedgerMode;
use tokensmith_core::tokens::ledger::Revoked;

use super::{token, tokens};
use crate::app::App;
use crate::audit::Line;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::reply::{self, Format};

/// Longest texts in a request.
const MAX: usize = 1024;

/// A revocation of what nobody has is as good as one that was misspelt.
const NOTHING: &str = "no unexpired token of that name is in the ledger: check the spelling";

/// Exactly one of the first four.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    account: Option<String>,
    jti: Option<String>,
    key: Option<String>,
    pod: Option<String>,
    reason: String,
}

/// Revokes. Durable when answered.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let format = Format::of(&headers, "", |_| false)?;
    let wanted: Wanted = body::json(&app, &headers, body).await?;
    let what = wanted.what()?;
    let done = app.ledger.revoke(what.clone(), caller.user.name.clone(), wanted.reason.clone()).await;
    let mut line = line(&app, &caller, &what);
    let revoked = match done.map_err(Failure::from) {
        Ok(revoked) => revoked,
        Err(failure) => {
            (line.decision, line.code, line.reason) = ("deny", failure.0.code, failure.0.message.clone());
            app.audit.write(&line);
            return Err(failure);
        }
    };
    (line.decision, line.code, line.reason) = ("allow", 200, wanted.reason);
    app.audit.write(&line);
    Ok(reply::object(StatusCode::OK, &answer(&revoked), &format))
}

/// All that are in force, the latest first.
pub(super) async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    let format = Format::of(&headers, "", |_| false)?;
    if app.ledger.mode() == LedgerMode::Off {
        return Err(app.ledger.no_revocations().into());
    }
    let all: Vec<_> = app.ledger.revocations().all().iter().map(|r| show(r)).collect();
    Ok(reply::object(StatusCode::OK, &json!({ "revocations": all }), &format))
}

impl Wanted {
    fn what(&self) -> Result<What, Failure> {
        let fields = [("account", &self.account), ("jti", &self.jti), ("key", &self.key), ("pod", &self.pod)];
        let mut given = fields.iter().filter_map(|(field, value)| Some((*field, value.as_deref()?)));
        let (Some((field, value)), None) = (given.next(), given.next()) else {
            return Err(bad("name exactly one of account, jti, key and pod"));
        };
        for (field, value) in [(field, value), ("reason", &self.reason)] {
            if value.len() > MAX {
                return Err(bad(format!("{field}: must not be longer than {MAX} bytes")));
            }
        }
        let name = || value.parse::<NamespacedName>().map_err(|e| bad(format!("{field}: {value:?}: {e}")));
        match field {
            "account" => name().map(What::Account),
            "pod" => name().map(What::Pod),
            _ if value.is_empty() => Err(bad(format!("{field}: must not be empty"))),
            "jti" => Ok(What::Jti(value.to_owned())),
            _ => Ok(What::Key(value.to_owned())),
        }
    }
}

fn bad(text: impl Into<String>) -> Failure {
    Error::BadRequest(text.into()).into()
}

fn answer(revoked: &Revoked) -> Value {
    let mut out = show(&revoked.revocation);
    if let Some(covered) = &revoked.covered {
        let accounts = covered.iter().map(|(name, count)| json!({"account": name, "tokens": count}));
        out["covered"] = json!({
            "tokens": covered.iter().map(|(_, count)| count).sum::<usize>(),
            "accounts": accounts.collect::<Vec<_>>(),
        });
    }
    if revoked.covered.as_ref().is_some_and(Vec::is_empty) && revoked.secret_tokens == 0 {
        out["warnings"] = json!([NOTHING]);
    }
    if revoked.secret_tokens > 0 {
        out["secretTokens"] = revoked.secret_tokens.into();
    }
    out
}

fn show(revocation: &Revocation) -> Value {
    let mut out = Map::new();
    let (field, value) = match &revocation.what {
        What::Account(account) => ("account", account.to_string()),
        What::Jti(jti) => ("jti", jti.clone()),
        What::Key(key) => ("key", key.clone()),
        What::Pod(pod) => ("pod", pod.to_string()),
        What::Sha256(digest) => ("sha256", digest.clone()),
    };
    out.insert(field.into(), value.into());
    out.insert("at".into(), tokens::time(revocation.at));
    // Left out when it is kept for ever.
    match tokens::time(revocation.until) {
        Value::Null => {}
        until => drop(out.insert("until".into(), until)),
    }
    out.insert("by".into(), revocation.by.as_str().into());
    if !revocation.reason.is_empty() {
        out.insert("reason".into(), revocation.reason.as_str().into());
    }
    Value::Object(out)
}

fn line(app: &App, caller: &Caller, what: &What) -> Line {
    let mut line = token::line(app, caller, "revoke");
    match what {
        What::Account(a) => line.subject = tokensmith_core::tokens::username(&a.namespace, &a.name),
        What::Jti(jti) => line.jti.clone_from(jti),
        What::Key(kid) => line.kid.clone_from(kid),
        What::Pod(pod) => line.bound_object = format!("Pod/{pod}"),
        // Comes with another, never by itself.
        What::Sha256(_) => {}
    }
    line
}
