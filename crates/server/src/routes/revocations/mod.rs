//! `POST /admin/v1/tokens/revoke` and `GET /admin/v1/revocations`.

mod request;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use tokensmith_core::ledger::{Revocation, What, jti};
use tokensmith_core::supervise::Errands;
use tokensmith_core::tokens::ledger::{Known, Own, Revoked, shown};
use tokensmith_core::tokens::{LedgerMode, TokenLedger, legacy};
use tokensmith_core::{Clock, Error};

use self::request::{RevocationBody, Target};
use super::tokens;
use crate::audit::Line;
use crate::body;
use crate::failure::Failure;
use crate::gate::Caller;
use crate::heavy;
use crate::needs::{Limit, needs};
use crate::reply::{self, Format};

needs! {
    /// What is revoked with.
    pub(super) struct Revoking {
        clock: Arc<dyn Clock>,
        errands: Arc<Errands>,
        ledger: Arc<TokenLedger>,
        limit: Limit,
    }
}

/// A revocation of what nobody has is as good as one that was misspelt.
const NOTHING: &str = "no unexpired token of that name is in the ledger: check the spelling";

/// Revokes. Durable when answered.
pub(super) async fn create(
    State(with): State<Revoking>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let format = Format::of(&headers, "", |_| false)?;
    let wanted: RevocationBody = body::json(with.limit, &headers, body).await?;
    let target = wanted.target()?;
    let mut line = caller.line(&*with.clock, "revoke");
    let done = revoke(&with, &caller, target, wanted.force, &wanted.reason, &mut line).await;
    let answer = match done.map_err(Failure::from) {
        Ok(answer) => answer,
        Err(failure) => {
            (line.decision, line.code, line.reason) = ("deny", failure.0.code, failure.0.message.clone());
            caller.tell(line);
            return Err(failure);
        }
    };
    (line.decision, line.code, line.reason) = ("allow", 200, wanted.reason);
    caller.tell(line);
    Ok(reply::object(StatusCode::OK, &answer, &format))
}

async fn revoke(
    Revoking { errands, ledger, .. }: &Revoking,
    caller: &Caller,
    target: Target,
    force: Option<bool>,
    reason: &str,
    line: &mut Line,
) -> Result<Value, Error> {
    let (what, own) = match target {
        Target::Name(what) => (what, None),
        Target::Token(token) => {
            let own = ledger.own(&token)?;
            (line.subject, line.kid) = (own.subject.clone(), own.kid.clone());
            (own.what.clone(), Some(own))
        }
    };
    name(line, &what);
    let known = ledger.known(&what).await?;
    // Who gives a token has shown that there is one.
    if own.is_none() && force != Some(true) {
        known.require(&what, force == Some(false))?;
        if let What::Jti(jti) = &what
            && known.on_record != Some(true)
            && !jti::is_usual(jti)
        {
            return Err(Error::BadRequest(format!("jti: {}", jti::NotGiven::Neither)));
        }
    }
    // What has been begun is finished even if the caller goes away: a revocation is in force before it is on disk.
    let (taker, it, by, why) = (ledger.clone(), what.clone(), caller.user.name.clone(), reason.to_owned());
    let done = errands.begin(async move { taker.revoke(it, by, why).await });
    let revoked = done.await.map_err(|e| Error::internal("the revocation did not end", e))??;
    let mut answer = answer(&revoked);
    warn(&mut answer, &known, own.as_ref(), ledger.elsewhere(&what).await);
    Ok(answer)
}

/// A list of more takes milliseconds to make.
const LONG: usize = 200;

/// All that are in force, the latest first.
pub(super) async fn list(
    State(ledger): State<Arc<TokenLedger>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let format = Format::of(&headers, "", |_| false)?;
    if ledger.mode() == LedgerMode::Off {
        return Err(ledger.no_revocations().into());
    }
    let all = ledger.revocations().all();
    if all.len() > LONG {
        heavy::enter().await;
    }
    let all: Vec<_> = all.iter().map(|r| show(r)).collect();
    Ok(reply::object(StatusCode::OK, &json!({ "revocations": all }), &format))
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
    if revoked.unmarked {
        let ahead = revoked.revocation.ahead.map_or(Value::Null, tokens::time);
        out["unmarked"] = json!({"issuedUntil": tokens::time(revoked.revocation.at)});
        // Left out when all of them are.
        if !ahead.is_null() {
            out["unmarked"]["expiringUntil"] = ahead;
        }
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

/// What does not show in the numbers.
fn warn(answer: &mut Value, known: &Known, own: Option<&Own>, elsewhere: usize) {
    let mut warnings: Vec<String> = Vec::new();
    let covered = answer["covered"]["tokens"].as_u64();
    let secret = answer["secretTokens"].as_u64().unwrap_or_default() > 0 || answer.get("sha256").is_some();
    let of_token = own.is_some() || answer.get("jti").is_some();
    if covered == Some(0) && !secret && own.is_none() {
        warnings.push(NOTHING.into());
    }
    let recorded = known.on_record == Some(true);
    if let (Some(why), true) = (&known.unsure, of_token && own.is_none() && !recorded) {
        warnings.push(format!("whether there is a token of that id is not known: {why}"));
    }
    if known.object == Some(false) && covered.is_none() {
        warnings.push("there is none of that name now: this covers what it may have had".into());
    }
    let foreign = own.filter(|own| own.issuer != legacy::ISSUER && !recorded);
    if elsewhere > 0 {
        answer["elsewhere"] = elsewhere.into();
        let them = match elsewhere {
            1 => "1 of these tokens was".to_owned(),
            count => format!("{count} of these tokens were"),
        };
        warnings
            .push(format!("{them} issued by an API server that signs with this server's keys. {ELSEWHERE}"));
    } else if foreign.is_some() {
        let maybe =
            "if an API server that signs with this server's keys has issued it, it is not revoked there";
        warnings.push(format!("this token is not on record: {maybe}. {ELSEWHERE}"));
    }
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
}

const ELSEWHERE: &str = "That server never asks here and goes on taking them: delete the account there, or the pod that \
    they are bound to, or revoke the key that signed them";

/// What an audit line says of it.
fn name(line: &mut Line, what: &What) {
    match what {
        What::Account(a) => line.subject = tokensmith_core::tokens::username(&a.namespace, &a.name),
        What::Jti(jti) => line.jti = shown(jti).to_owned(),
        What::Key(kid) => line.kid.clone_from(kid),
        What::Pod(pod) => line.bound_object = format!("Pod/{pod}"),
        // Its account says whose it is.
        What::Sha256(_) => {}
    }
}
