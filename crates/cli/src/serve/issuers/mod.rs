//! Which issuers and API audiences the tokens that are out there name. A start that would refuse them is refused itself:
//! a token's issuer is compared byte for byte, and nothing else would say why every old token has died.

mod audiences;

use anyhow::Context;
use audiences::Past;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokensmith_core::keys::ring::NEVER;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{KeyRing, Origin};
use tokensmith_core::ledger::{Filter, Ledger};
use tokensmith_core::store::{Expect, Store};
use tokensmith_objects::object::timestamp;

use super::flags::ServeArgs;
use crate::failure::Failure;

/// Where the store keeps them.
const KEY: &str = "/tokensmith/issuers";
/// Verifiers take a token for so long after its end, seconds.
const LEEWAY: i64 = 60;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    issuers: Vec<Named>,
    /// The API's audiences that are in force.
    audiences: Vec<Named>,
    /// Lists of audiences of before; absent in what earlier versions have written.
    #[serde(skip_serializing_if = "Option::is_none")]
    audiences_before: Option<Vec<Past>>,
}

/// A name that tokens carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    name: String,
    /// No token with it expires later (Unix seconds); absent while tokens get it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

/// What a start asks for.
pub(super) struct Requested<'a> {
    pub(super) args: &'a ServeArgs,
    pub(super) issuers: &'a [String],
    pub(super) audiences: &'a [String],
    /// The issuer that the data directory has kept, of before the store kept any.
    pub(super) kept: Option<String>,
    /// Whether keys are listed that sign elsewhere.
    pub(super) listed: bool,
    pub(super) now: OffsetDateTime,
}

/// What is to be kept of this start.
pub(super) struct Passed(Option<Record>);

/// Refuses a start after which tokens that are out there would be refused. Changes nothing.
///
/// # Errors
/// A guard's refusal with the flags that keep both; wrong usage; the store cannot be read.
pub(super) async fn check(
    wanted: Requested<'_>,
    store: &dyn Store,
    ledger: &dyn Ledger,
) -> Result<Passed, Failure> {
    let Requested { args, issuers, audiences, .. } = &wanted;
    for (flag, dropped, kept) in [
        ("service-account-issuer", &args.drop_service_account_issuer, issuers),
        ("api-audience", &args.drop_api_audience, audiences),
    ] {
        if let Some(both) = dropped.iter().find(|name| kept.contains(name)) {
            return Err(Failure::usage(format!("--drop-{flag}={both}: it is one of those that are kept")));
        }
    }
    let ring = store.get(RING_KEY).await.context("cannot read the key ring")?;
    let ring = ring.map(|entry| KeyRing::from_json(&entry.value)).transpose();
    let ring = ring.map_err(anyhow::Error::new).context("the key ring cannot be used")?;
    let found = store.get(KEY).await.context("cannot read the issuers")?;
    let stored = match &found {
        Some(entry) => {
            serde_json::from_slice(&entry.value).context("the record of the issuers cannot be read")?
        }
        None => Record {
            issuers: wanted.kept.iter().map(|name| Named { name: name.clone(), until: None }).collect(),
            ..Record::default()
        },
    };
    let last = last_expiry(ring.as_ref(), wanted.listed);
    let now = wanted.now.unix_timestamp();
    let alive = |named: &&Named| named.until.unwrap_or(last).saturating_add(LEEWAY) > now;
    let gone = |named: &&Named, kept: &[String], dropped: &[String]| {
        !kept.contains(&named.name) && !dropped.contains(&named.name)
    };
    let mut issuer = stored.issuers.iter().filter(alive);
    if let Some(lost) = issuer.find(|n| gone(n, issuers, &args.drop_service_account_issuer)) {
        let sole = stored.issuers.len() == 1;
        let count = count(ledger, now).await;
        return Err(issuer_refused(&lost.name, issuers, lost.until.unwrap_or(last), count, sole));
    }
    // Where the audiences are the issuers, whoever lets an issuer go lets its audience go.
    let dropped = [args.drop_api_audience.as_slice(), args.drop_service_account_issuer.as_slice()].concat();
    let in_force: Vec<String> = stored.audiences.iter().map(|n| n.name.clone()).collect();
    let lists = audiences::up_to_now(&in_force, stored.audiences_before.as_deref(), last);
    let before_now = audiences::after(lists, audiences, &dropped, now)
        .map_err(|lost| audience_refused(&lost, audiences))?;
    let before = |name: &String| stored.issuers.iter().find(|n| n.name == *name).and_then(|n| n.until);
    let next = Record {
        issuers: issuers
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let until = (at > 0).then(|| before(name).unwrap_or(last));
                Named { name: name.clone(), until }
            })
            .collect(),
        audiences: audiences.iter().map(|name| Named { name: name.clone(), until: None }).collect(),
        audiences_before: Some(before_now),
    };
    Ok(Passed((found.is_none() || next != stored).then_some(next)))
}

impl Passed {
    /// Keeps it, once the start has come so far that tokens may be issued.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(super) async fn keep(self, store: &dyn Store) -> Result<(), Failure> {
        let Some(record) = self.0 else { return Ok(()) };
        let value = serde_json::to_vec(&record).context("cannot write the issuers")?;
        store.put(KEY, value.into(), Expect::Any).await.context("cannot write the issuers")?;
        Ok(())
    }
}

/// The latest time at which a token of the ring's keys expires; that of a key from elsewhere nobody knows.
fn last_expiry(ring: Option<&KeyRing>, listed: bool) -> i64 {
    let keys = ring.into_iter().flat_map(KeyRing::keys).filter(|key| key.phase.published());
    let last = keys.map(|key| match key.origin {
        Origin::Imported if key.undated => NEVER,
        // Those that never expire are in Secrets, and name no issuer of ours.
        _ => key.last_exp.unwrap_or(i64::MIN),
    });
    let last = last.max().unwrap_or(i64::MIN);
    if listed && ring.is_some() { NEVER } else { last }
}

/// What the ledger knows: tokens of all issuers.
async fn count(ledger: &dyn Ledger, now: i64) -> Option<usize> {
    let filter = Filter { expires_from: Some(now), ..Filter::default() };
    let counts = ledger.count(&filter).await.ok()?;
    // None is no proof that there are none: records may be off.
    Some(counts.values().sum()).filter(|n| *n > 0)
}

fn issuer_refused(lost: &str, issuers: &[String], until: i64, count: Option<usize>, sole: bool) -> Failure {
    // The ledger does not say of which issuer a token is.
    let are = if sole && count.is_some() { "are" } else { "may be" };
    let count = count.map(|n| format!(" (unexpired in the ledger: {n})")).unwrap_or_default();
    Failure::guard(format!(
        "tokens of issuer {lost} {are} out there{}{count} and would be refused from now on: keep both with `{}`, the first signs and all are accepted, or let the old tokens go with --drop-service-account-issuer={lost}",
        end(until),
        pair("--service-account-issuer", issuers, lost),
    ))
}

fn audience_refused(lost: &Past, audiences: &[String]) -> Failure {
    let names = lost.names.as_slice();
    let (what, keep) = match names {
        [_] => ("audience", "both"),
        _ => ("audiences", "one of them"),
    };
    Failure::guard(format!(
        "tokens for the API {what} {} may be out there{} and would be no credentials here from now on: keep {keep} with `{}`, or let the old tokens go with --drop-api-audience={}",
        names.join(", "),
        end(lost.until),
        pair("--api-audiences", audiences, names.first().map_or("", String::as_str)),
        names.join(","),
    ))
}

fn pair(flag: &str, kept: &[String], lost: &str) -> String {
    let all = kept.iter().map(String::as_str).chain([lost]);
    all.map(|name| format!("{flag} {name}")).collect::<Vec<_>>().join(" ")
}

fn end(until: i64) -> String {
    OffsetDateTime::from_unix_timestamp(until).map_or(String::new(), |at| format!(" until {}", timestamp(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_versions_have_stored_is_read() {
        let stored =
            r#"{"issuers":[{"name":"b"},{"name":"a","until":7}],"audiences":[{"name":"b"},{"name":"a"}]}"#;
        let record: Record = serde_json::from_str(stored).unwrap();
        assert_eq!((record.issuers.len(), record.audiences.len()), (2, 2));
        assert_eq!(record.audiences_before, None);
        let past = Past { names: vec!["a".into()], until: 7 };
        let record = Record { audiences_before: Some(vec![past]), ..record };
        let written = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&written).unwrap(), record);
    }

    #[test]
    fn a_refusal_claims_no_more_than_is_known() {
        let said =
            |count, sole| format!("{:?}", issuer_refused("https://a", &["https://b".into()], 0, count, sole));
        assert!(said(Some(1), true).contains("are out there until 1970-01-01T00:00:00Z"));
        for (count, sole) in [(None, true), (Some(1), false), (None, false)] {
            assert!(said(count, sole).contains("may be out there"), "{count:?} {sole}");
        }
        let lost = Past { names: vec!["a".into(), "b".into()], until: NEVER };
        let said = format!("{:?}", audience_refused(&lost, &["c".into()]));
        for part in [
            "tokens for the API audiences a, b may be out there and would",
            "keep one of them with `--api-audiences c --api-audiences a`",
            "--drop-api-audience=a,b",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
