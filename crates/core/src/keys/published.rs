//! The keys that an issuer elsewhere publishes: its JWK set (RFC 7517 §5), read with limits.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::jwk::Jwk;
use super::{JwkError, PublicKey};

/// The keys of an issuer, by the names that it gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedKeys {
    by_kid: HashMap<String, Vec<PublicKey>>,
    passed_over: Vec<PassedOver>,
}

/// An entry of a key set that is not used here. Who reports on a token must say so: a signature that could not be checked
/// is neither right nor wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name, if it has one.
    pub kid: Option<String>,
    /// Why it is not used.
    pub why: JwkError,
}

/// Why a key set cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishedError {
    /// No JSON, or no object with a list of `keys`.
    #[error("it is no JWK set")]
    Malformed,
    /// More bytes than any issuer needs.
    #[error("it has {0} bytes, and {max} are taken", max = PublishedKeys::MAX_BYTES)]
    TooLong(usize),
    /// More keys than any issuer needs.
    #[error("it has {0} keys, and {max} are taken", max = PublishedKeys::MAX_KEYS)]
    TooMany(usize),
}

impl PublishedKeys {
    /// How long a key set may be, bytes.
    pub const MAX_BYTES: usize = 1 << 20;
    /// How many entries it may have. What AWS takes of RSA and EC each is half of that.
    pub const MAX_KEYS: usize = 200;

    /// Reads a JWK set. An entry that is not for signatures, of a type unknown here, or broken, is passed over: an
    /// issuer may publish new kinds of keys before its verifiers know them (RFC 7517 §5). So is one without a `kid`,
    /// which no token of Kubernetes could name.
    ///
    /// # Errors
    /// It is no key set, or one beyond all limits.
    pub fn parse(json: &[u8]) -> Result<Self, PublishedError> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        if json.len() > Self::MAX_BYTES {
            return Err(PublishedError::TooLong(json.len()));
        }
        // serde would take a list for a struct as well.
        let object = json.trim_ascii_start().starts_with(b"{");
        let set: Option<Set<'_>> = object.then(|| serde_json::from_slice(json).ok()).flatten();
        let entries = set.ok_or(PublishedError::Malformed)?.keys;
        if entries.len() > Self::MAX_KEYS {
            return Err(PublishedError::TooMany(entries.len()));
        }
        let mut keys = PublishedKeys::default();
        for entry in entries {
            let read = Jwk::parse(entry.get()).and_then(|jwk| {
                let key = jwk.key()?;
                Ok((key, jwk.kid.ok_or(JwkError::Member("kid"))?))
            });
            let (key, kid) = match read {
                Ok(read) => read,
                Err(why) => {
                    keys.passed_over.push(PassedOver { kid: name(entry.get()), why });
                    continue;
                }
            };
            let same = keys.by_kid.entry(kid).or_default();
            // Kubernetes publishes a key twice when it is listed twice.
            if !same.contains(&key) {
                same.push(key);
            }
        }
        Ok(keys)
    }

    /// The keys of a name: one as a rule.
    pub fn candidates(&self, kid: &str) -> &[PublicKey] {
        self.by_kid.get(kid).map_or(&[], Vec::as_slice)
    }

    /// Every key with its name, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        self.by_kid.iter().flat_map(|(kid, keys)| keys.iter().map(|key| (kid.as_str(), key)))
    }

    /// Whether every key of `self` is in `later` under the same name: what was signed with `self` still verifies.
    pub fn all_in(&self, later: &PublishedKeys) -> bool {
        self.iter().all(|(kid, key)| later.candidates(kid).contains(key))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.by_kid.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_kid.is_empty()
    }

    /// How many entries were passed over.
    pub fn skipped(&self) -> usize {
        self.passed_over.len()
    }

    /// The entries that were passed over, in the set's order.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }
}

/// The name of an entry of whatever kind.
fn name(entry: &str) -> Option<String> {
    let entry: serde_json::Value = serde_json::from_str(entry).ok()?;
    Some(entry.get("kid")?.as_str()?.to_owned())
}
