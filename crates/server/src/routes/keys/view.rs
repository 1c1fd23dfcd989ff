//! Looking at the ring: keys, journal, policy.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokensmith_core::keys::command::when;
use tokensmith_core::keys::verifiers::VerifierAdvice;
use tokensmith_core::keys::{KeyInfo, KeySet};
use tokensmith_core::{Error, Moment};
use tokensmith_objects::object::timestamp;

use super::Ring;
use crate::failure::Failure;
use crate::reply::{self, Format};

/// `GET /admin/v1/keys`
pub(crate) async fn list(State(ring): State<Ring>, headers: HeaderMap) -> Result<Response, Failure> {
    let set = ring.keys.current();
    let late = late(&ring);
    let keys: Vec<_> = set.infos().iter().map(|info| key(info, late)).collect();
    let mut out = json!({ "keys": keys, "now": timestamp(ring.clock.now()) });
    if let Some(problem) = ring.keys.problem() {
        out["problem"] = problem.into();
    }
    answer(&out, &headers)
}

/// `GET /admin/v1/keys/{id}`
pub(crate) async fn show(
    State(ring): State<Ring>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let found = described(&ring.keys.current(), &id, late(&ring));
    answer(&found.ok_or_else(|| no_such_key(&id))?, &headers)
}

/// `GET /admin/v1/keys/history`
pub(crate) async fn history(State(ring): State<Ring>, headers: HeaderMap) -> Result<Response, Failure> {
    let failed = |e| Error::internal("the journal cannot be read", e);
    let (entries, count) = ring.keys.history().await.map_err(failed)?;
    // Numbers count without gaps: one that is missing was cut from the store.
    let there: std::collections::HashSet<u64> = entries.iter().map(|e| e.number).collect();
    let missing: Vec<u64> = (1..=count).filter(|n| !there.contains(n)).collect();
    let mut out = json!({ "changes": entries });
    if !missing.is_empty() {
        out["missing"] = missing.into();
    }
    answer(&out, &headers)
}

/// `GET /admin/v1/keys/policy`
pub(crate) async fn policy(State(ring): State<Ring>, headers: HeaderMap) -> Result<Response, Failure> {
    let policy = ring.keys.policy();
    let set = ring.keys.current();
    let seconds = |span: Duration| Value::from(span.as_secs());
    let names = |list: &mut dyn Iterator<Item = String>| Value::Array(list.map(Value::from).collect());
    let mut out = json!({
        "rotationPeriodSeconds": seconds(policy.signs_for),
        "publishBeforeSeconds": seconds(policy.publish_before),
        "tokenLeewaySeconds": seconds(policy.leeway),
        "keySetMaxAgeSeconds": seconds(policy.max_age),
        "replicaLagSeconds": seconds(policy.lag),
        "defaultAlgorithm": set.ring().default_algorithm().as_str(),
        "algorithms": names(&mut set.ring().algorithms().iter().map(ToString::to_string)),
    });
    if let Some(max) = policy.max_token_lifetime {
        out["maxTokenLifetimeSeconds"] = seconds(max);
    }
    if let Some(next) = ring.keys.next_change() {
        out["nextChange"] = timestamp(next.max(ring.clock.now())).into();
    }
    answer(&out, &headers)
}

pub(super) fn answer(value: &Value, headers: &HeaderMap) -> Result<Response, Failure> {
    Ok(reply::object(StatusCode::OK, value, &Format::of(headers, "", |_| false)?))
}

/// What verifiers elsewhere do, a line for each family.
pub(super) fn followers(told: &[VerifierAdvice]) -> Value {
    let line = |told: &VerifierAdvice| {
        let mut out = json!({ "verifier": told.verifier, "text": told.text });
        if let Some(until) = told.until {
            out["until"] = when(until).into();
        }
        out
    };
    told.iter().map(line).collect()
}

pub(super) fn no_such_key(id: &str) -> Failure {
    Error::not_found("", "keys", id).into()
}

/// A key as lists show it. What should have happened before `late` is overdue.
pub(super) fn described(set: &KeySet, id: &str, late: OffsetDateTime) -> Option<Value> {
    set.infos().iter().find(|info| info.id == id).map(|info| key(info, late))
}

/// What was due before that should have been done by now.
pub(super) fn late(ring: &Ring) -> OffsetDateTime {
    ring.clock.now().minus(ring.keys.policy().grace())
}

fn key(key: &KeyInfo, late: OffsetDateTime) -> Value {
    let mut out = Map::new();
    out.insert("id".into(), key.id.as_str().into());
    out.insert("algorithm".into(), key.algorithm.as_str().into());
    out.insert("phase".into(), key.phase.into());
    if key.default {
        out.insert("default".into(), true.into());
    }
    if let Some(origin) = key.origin {
        out.insert("origin".into(), origin.name().into());
    }
    let last = key.last_exp.and_then(|exp| OffsetDateTime::from_unix_timestamp(exp).ok());
    let times = [("since", key.since), ("publishedAt", key.published_at), ("lastExpiration", last)];
    for (field, at) in times {
        if let Some(at) = at {
            out.insert(field.into(), timestamp(at).into());
        }
    }
    if let Some(from) = key.may_sign_from {
        out.insert("maySignFrom".into(), when(from).into());
    }
    if key.undated {
        out.insert("lastExpiration".into(), "never".into());
    }
    if let Some((what, at)) = key.next {
        let mut next = json!({ "action": what.as_str(), "at": when(at) });
        if at < late {
            next["overdue"] = true.into();
        }
        out.insert("next".into(), next);
    }
    Value::Object(out)
}
