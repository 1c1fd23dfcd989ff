//! Which issuers and API audiences the tokens that are out there name. A start that would refuse them is refused itself:
//! a token's issuer is compared byte for byte, and nothing else would say why every old token has died.

mod audiences;

use std::fmt;

use audiences::Past;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokensmith_core::keys::ring::NEVER;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{KeyRing, Origin, RingError};
use tokensmith_core::ledger::{Filter, Ledger};
use tokensmith_core::store::{Expect, Store, StoreError};
use tokensmith_objects::object::timestamp;

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
pub struct StartIssuers<'a> {
    /// `iss` of new tokens, then those that are accepted besides.
    pub issuers: &'a [String],
    /// What tokens are for that name no audience.
    pub audiences: &'a [String],
    /// Issuers whose tokens may be refused from now on.
    pub dropped_issuers: &'a [String],
    /// Audiences whose tokens may be refused from now on.
    pub dropped_audiences: &'a [String],
    /// The issuer of before the store kept any, if one is known.
    pub kept: Option<String>,
    /// Whether keys are listed that sign elsewhere.
    pub listed: bool,
    /// When it is.
    pub now: OffsetDateTime,
}

/// Why a start would do harm, or cannot tell.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// Tokens for audiences would be refused that are out there.
    #[error(
        "{0}: keep one of them (Options::api_audiences), or let the old tokens go (Options::dropped_audiences)"
    )]
    Audiences(LostAudiences),
    /// An audience is to be kept and to go.
    #[error("the audience {0} is one of those that are kept")]
    DroppedAudience(String),
    /// An issuer is to be kept and to go.
    #[error("the issuer {0} is one of those that are kept")]
    DroppedIssuer(String),
    /// Tokens of an issuer would be refused that are out there.
    #[error(
        "{0}: name it besides, the first signs and all are accepted (Options::issuers), or let the old tokens go (Options::dropped_issuers)"
    )]
    Issuer(LostIssuer),
    /// The record cannot be read.
    #[error("cannot read the issuers")]
    Read(#[source] StoreError),
    /// What is in the record.
    #[error("the record of the issuers cannot be read")]
    Record(#[source] serde_json::Error),
    /// The key ring cannot be read.
    #[error("cannot read the key ring")]
    ReadRing(#[source] StoreError),
    /// What is in the ring.
    #[error("the key ring cannot be used")]
    Ring(#[source] RingError),
    /// The record cannot be written.
    #[error("cannot write the issuers")]
    Write(#[source] StoreError),
}

/// An issuer that would not be accepted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostIssuer {
    /// Its name.
    pub name: String,
    /// No token of it expires later (Unix seconds).
    pub until: i64,
    /// How many tokens live, as the ledger knows, of all issuers.
    pub tokens: Option<usize>,
    /// Whether it is the only one there was.
    pub sole: bool,
}

impl fmt::Display for LostIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The ledger does not say of which issuer a token is.
        let are = if self.sole && self.tokens.is_some() { "are" } else { "may be" };
        let count = self.tokens.map(|n| format!(" (unexpired in the ledger: {n})")).unwrap_or_default();
        let (name, end) = (&self.name, end(self.until));
        write!(f, "tokens of issuer {name} {are} out there{end}{count} and would be refused from now on")
    }
}

/// Audiences of which none would be accepted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostAudiences {
    /// Their names.
    pub names: Vec<String>,
    /// No token for them expires later (Unix seconds).
    pub until: i64,
}

impl fmt::Display for LostAudiences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.names.len() == 1 { "audience" } else { "audiences" };
        let (names, end) = (self.names.join(", "), end(self.until));
        write!(
            f,
            "tokens for the API {what} {names} may be out there{end} and would be no credentials here from now on"
        )
    }
}

/// What is to be kept of this start.
#[must_use = "the next start goes by it"]
pub struct Passed(Option<Record>);

/// The issuer of new tokens as it was last kept.
///
/// # Errors
/// The store cannot be read.
pub async fn recorded(store: &dyn Store) -> Result<Option<String>, IssuersError> {
    Ok(record(store).await?.and_then(|record| record.issuers.into_iter().next()).map(|named| named.name))
}

async fn record(store: &dyn Store) -> Result<Option<Record>, IssuersError> {
    let Some(entry) = store.get(KEY).await.map_err(IssuersError::Read)? else { return Ok(None) };
    serde_json::from_slice(&entry.value).map(Some).map_err(IssuersError::Record)
}

/// Refuses a start after which tokens that are out there would be refused. Changes nothing.
///
/// # Errors
/// The start would do that, says of which tokens; or the store cannot be read.
pub async fn check(
    wanted: StartIssuers<'_>,
    store: &dyn Store,
    ledger: &dyn Ledger,
) -> Result<Passed, IssuersError> {
    let StartIssuers { issuers, audiences, dropped_issuers, dropped_audiences, .. } = wanted;
    let both = |dropped: &[String], kept: &[String]| dropped.iter().find(|name| kept.contains(name)).cloned();
    if let Some(name) = both(dropped_issuers, issuers) {
        return Err(IssuersError::DroppedIssuer(name));
    }
    if let Some(name) = both(dropped_audiences, audiences) {
        return Err(IssuersError::DroppedAudience(name));
    }
    let ring = store.get(RING_KEY).await.map_err(IssuersError::ReadRing)?;
    let ring = ring.map(|entry| KeyRing::from_json(&entry.value)).transpose().map_err(IssuersError::Ring)?;
    let found = record(store).await?;
    let is_new = found.is_none();
    let stored = found.unwrap_or_else(|| Record {
        issuers: wanted.kept.iter().map(|name| Named { name: name.clone(), until: None }).collect(),
        ..Record::default()
    });
    let last = last_expiry(ring.as_ref(), wanted.listed);
    let now = wanted.now.unix_timestamp();
    let alive = |named: &&Named| named.until.unwrap_or(last).saturating_add(LEEWAY) > now;
    let gone = |named: &&Named| !issuers.contains(&named.name) && !dropped_issuers.contains(&named.name);
    if let Some(lost) = stored.issuers.iter().filter(alive).find(gone) {
        return Err(IssuersError::Issuer(LostIssuer {
            name: lost.name.clone(),
            until: lost.until.unwrap_or(last),
            tokens: count(ledger, now).await,
            sole: stored.issuers.len() == 1,
        }));
    }
    // Where the audiences are the issuers, whoever lets an issuer go lets its audience go.
    let dropped = [dropped_audiences, dropped_issuers].concat();
    let in_force: Vec<String> = stored.audiences.iter().map(|n| n.name.clone()).collect();
    let lists = audiences::up_to_now(&in_force, stored.audiences_before.as_deref(), last);
    let before_now = audiences::after(lists, audiences, &dropped, now)
        .map_err(|Past { names, until }| IssuersError::Audiences(LostAudiences { names, until }))?;
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
    Ok(Passed((is_new || next != stored).then_some(next)))
}

impl Passed {
    /// Keeps it, once the start has come so far that tokens may be issued.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn keep(self, store: &dyn Store) -> Result<(), IssuersError> {
        let Some(record) = self.0 else { return Ok(()) };
        let value = serde_json::to_vec(&record).map_err(IssuersError::Record)?;
        store.put(KEY, value.into(), Expect::Any).await.map_err(IssuersError::Write)?;
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
        let said = |tokens, sole| LostIssuer { name: "https://a".into(), until: 0, tokens, sole }.to_string();
        assert!(said(Some(1), true).contains("are out there until 1970-01-01T00:00:00Z"));
        for (tokens, sole) in [(None, true), (Some(1), false), (None, false)] {
            assert!(said(tokens, sole).contains("may be out there"), "{tokens:?} {sole}");
        }
        let lost = LostAudiences { names: vec!["a".into(), "b".into()], until: NEVER };
        assert!(lost.to_string().contains("tokens for the API audiences a, b may be out there and would"));
    }
}
