//! `keys list`, `keys history`, `keys policy`.

use clap::Args;
use serde_json::Value;
use time::OffsetDateTime;
use tokensmith_core::clock::SystemClock;
use tokensmith_core::{Clock, Moment, moment};

use super::{PATH, client, refused, text};
use crate::client::flags::ClientFlags;
use crate::failure::Failure;
use crate::output::{self, Output};
use crate::times;

/// Look at the ring.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// In which form
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,

    #[command(flatten)]
    client: ClientFlags,
}

impl ShowArgs {
    /// The keys.
    pub(super) async fn list(self) -> Result<(), Failure> {
        let keys = self.get("", "list keys").await?;
        if let Some(problem) = keys.get("problem").and_then(Value::as_str) {
            output::aside(&format!("Warning: {problem}"));
        }
        // Distances by the server's clock: it may be a test's.
        let now = time(&keys, "now").unwrap_or_else(|| SystemClock::new().now());
        Ok(output::print(self.output, &keys, || list(&keys, now))?)
    }

    /// The journal.
    pub(super) async fn history(self) -> Result<(), Failure> {
        let history = self.get("/history", "show the history").await?;
        if let Some(missing) = history.get("missing").and_then(Value::as_array) {
            let numbers: Vec<_> = missing.iter().map(ToString::to_string).collect();
            output::aside(&format!("Warning: the store has lost these records: {}", numbers.join(", ")));
        }
        Ok(output::print(self.output, &history, || changes(&history))?)
    }

    /// The policy.
    pub(super) async fn policy(self) -> Result<(), Failure> {
        let policy = self.get("/policy", "show the policy").await?;
        Ok(output::print(self.output, &policy, || rules(&policy))?)
    }

    async fn get(&self, path: &str, what: &str) -> Result<Value, Failure> {
        let answer = client(&self.client)?.get(&format!("{PATH}{path}")).await?;
        answer.map_err(|r| refused(what, r))
    }
}

fn time(value: &Value, field: &str) -> Option<OffsetDateTime> {
    moment::parse(text(value, field)).ok()
}

fn list(list: &Value, now: OffsetDateTime) -> String {
    let keys = list.get("keys").and_then(Value::as_array);
    let rows: Vec<_> = keys.into_iter().flatten().map(|key| row(key, now)).collect();
    output::columns(&["ID", "ALGORITHM", "PHASE", "SINCE", "LAST TOKEN EXPIRES", "NEXT"], &rows)
}

fn row(key: &Value, now: OffsetDateTime) -> Vec<String> {
    let age = |field: &str| match (text(key, field), time(key, field)) {
        ("", _) => "-".to_owned(),
        (_, Some(at)) => times::distance(at.since(now)),
        (other, None) => other.to_owned(),
    };
    let default = key.get("default").and_then(Value::as_bool).unwrap_or_default();
    let phase = if default { "active, default".to_owned() } else { text(key, "phase").to_owned() };
    vec![
        text(key, "id").to_owned(),
        text(key, "algorithm").to_owned(),
        phase,
        age("since"),
        age("lastExpiration"),
        next(key, now),
    ]
}

/// What happens next, and when.
fn next(key: &Value, now: OffsetDateTime) -> String {
    let next = key.get("next").map(|n| (text(n, "action"), time(n, "at")));
    let overdue = key.get("next").and_then(|n| n.get("overdue")).and_then(Value::as_bool).unwrap_or_default();
    let at = |at: OffsetDateTime| match at <= now {
        true => "now".to_owned(),
        false => times::distance(at.since(now)),
    };
    match (next, text(key, "phase"), time(key, "maySignFrom")) {
        (Some((action, Some(when))), ..) if overdue => {
            format!("{action}: OVERDUE, was due {}", times::distance(when.since(now)))
        }
        (Some((action, Some(when))), ..) => format!("{action} {}", at(when)),
        (None, "prepared", Some(from)) => format!("stands by, may sign {}", at(from)),
        (None, "active", _) if text(key, "origin") == "file" => "signs while its file is named".to_owned(),
        (None, "retired", _) => "kept until it is revoked".to_owned(),
        (None, "revoked", _) => "never comes back".to_owned(),
        _ => "-".to_owned(),
    }
}

fn changes(history: &Value) -> String {
    let entries = history.get("changes").and_then(Value::as_array);
    let row = |entry: &Value| {
        let at = time(entry, "at").map(tokensmith_objects::object::timestamp).unwrap_or_default();
        let forced = entry.get("forced").and_then(Value::as_bool).unwrap_or_default();
        let why = text(entry, "reason");
        let why = match (forced, text(entry, "exception")) {
            (false, _) => why.to_owned(),
            (true, "") => format!("FORCED: {why}"),
            (true, exception) => format!("FORCED ({exception}): {why}"),
        };
        let change = format!("{} -> {}", text(entry, "from"), text(entry, "to"));
        vec![
            at,
            text(entry, "key").to_owned(),
            text(entry, "algorithm").to_owned(),
            change,
            text(entry, "by").to_owned(),
            why,
        ]
    };
    let rows: Vec<_> = entries.into_iter().flatten().map(row).collect();
    output::columns(&["TIME", "KEY", "ALGORITHM", "CHANGE", "BY", "WHY"], &rows)
}

fn rules(policy: &Value) -> String {
    let span = |field: &str| match policy.get(field).and_then(Value::as_u64) {
        Some(seconds) => tokensmith_api::duration::exact(seconds),
        None => "no bound".to_owned(),
    };
    let algorithms = policy.get("algorithms").and_then(Value::as_array);
    let algorithms: Vec<_> = algorithms.into_iter().flatten().filter_map(Value::as_str).collect();
    let rows = [
        ("a key signs for", span("rotationPeriodSeconds")),
        ("it is published before that for", span("publishBeforeSeconds")),
        ("the longest life of a token", span("maxTokenLifetimeSeconds")),
        ("a retired key stays after its last token for", span("tokenLeewaySeconds")),
        ("and for the key set's max-age", span("keySetMaxAgeSeconds")),
        ("a replica signs without having seen the ring for", span("replicaLagSeconds")),
        ("algorithms", algorithms.join(", ")),
        ("the default one", text(policy, "defaultAlgorithm").to_owned()),
        ("the next change", text(policy, "nextChange").to_owned()),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(rule, value)| vec![rule.to_owned(), value]).collect();
    output::columns(&["RULE", "VALUE"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_row_per_key() {
        let keys = json!({ "keys": [
            { "id": "k1", "algorithm": "RS256", "phase": "active", "default": true, "since": "2026-01-01T10:00:00Z",
              "lastExpiration": "2026-01-01T12:00:00Z", "next": {"action": "retires", "at": "2026-01-31T10:00:00Z"} },
            { "id": "k2", "algorithm": "RS256", "phase": "prepared", "since": "2026-01-01T10:00:00Z",
              "maySignFrom": "2026-01-02T10:00:00Z" },
            { "id": "k3", "algorithm": "RS256", "phase": "retired", "since": "2026-01-01T10:00:00Z", "lastExpiration": "never" },
        ]});
        assert_eq!(
            list(&keys, datetime!(2026-01-01 11:00 UTC)),
            "ID   ALGORITHM   PHASE             SINCE     LAST TOKEN EXPIRES   NEXT\n\
             k1   RS256       active, default   60m ago   in 60m               retires in 29d\n\
             k2   RS256       prepared          60m ago   -                    stands by, may sign in 23h\n\
             k3   RS256       retired           60m ago   never                kept until it is revoked\n"
        );
    }

    #[test]
    fn a_step_that_is_overdue_is_told_as_such() {
        let key = |next: Value| json!({ "id": "k1", "phase": "active", "next": next });
        let now = datetime!(2026-02-10 10:00 UTC);
        let due = json!({"action": "retires", "at": "2026-01-31T10:00:00Z", "overdue": true});
        assert_eq!(next(&key(due), now), "retires: OVERDUE, was due 10d ago");
        let just = json!({"action": "retires", "at": "2026-02-10T09:59:59Z"});
        assert_eq!(next(&key(just), now), "retires now");
    }

    #[test]
    fn a_row_per_change() {
        let history = json!({ "changes": [
            { "number": 1, "at": "2026-01-01T10:00:00.5Z", "by": "start", "reason": "the first start", "key": "k1",
              "algorithm": "RS256", "from": "-", "to": "active" },
            { "number": 2, "at": "2026-01-01T11:00:00Z", "by": "jane", "reason": "stolen", "forced": true, "key": "k1",
              "algorithm": "RS256", "from": "active", "to": "revoked" },
            { "number": 3, "at": "2026-01-01T12:00:00Z", "by": "jane", "reason": "stolen", "forced": true, "key": "k2",
              "exception": "revoke --fresh", "algorithm": "RS256", "from": "-", "to": "active" },
        ]});
        assert_eq!(
            changes(&history),
            "TIME                   KEY   ALGORITHM   CHANGE              BY      WHY\n\
             2026-01-01T10:00:00Z   k1    RS256       - -> active         start   the first start\n\
             2026-01-01T11:00:00Z   k1    RS256       active -> revoked   jane    FORCED: stolen\n\
             2026-01-01T12:00:00Z   k2    RS256       - -> active         jane    FORCED (revoke --fresh): stolen\n"
        );
    }
}
