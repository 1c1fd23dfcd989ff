//! The ledger's keys.
//!
//! ```text
//! i EXPIRY JTI   an issue record as JSON; by expiry, so that what has expired is one range
//! m              what is kept of the marks in tokens, as JSON
//! r WHAT         a revocation as JSON, its `What` as JSON in the key
//! s              the tree's state
//! ```
//!
//! Each value stands behind its checksum.

use serde::de::DeserializeOwned;
use tokensmith_core::ledger::{Issued, LedgerError, Marks, Position, Revocation, What};

pub(crate) const ISSUED: &[u8] = b"i";
/// Behind every issue record.
pub(crate) const ISSUED_END: &[u8] = b"j";
pub(crate) const MARKS: &[u8] = b"m";
pub(crate) const REVOCATION: &[u8] = b"r";
pub(crate) const STATE: &[u8] = b"s";

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Issued,
    Marks,
    Revocation,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Issued, Kind::Marks, Kind::Revocation];

    pub(crate) fn prefix(self) -> &'static [u8] {
        match self {
            Kind::Issued => ISSUED,
            Kind::Marks => MARKS,
            Kind::Revocation => REVOCATION,
        }
    }

    /// Whether a value can be read as such a record under such a key.
    pub(crate) fn parses(self, key: &[u8], value: &[u8]) -> bool {
        match self {
            Kind::Issued => serde_json::from_slice::<Issued>(value).is_ok() && position(key).is_ok(),
            Kind::Marks => key == MARKS && serde_json::from_slice::<Marks>(value).is_ok(),
            Kind::Revocation => serde_json::from_slice::<Revocation>(value).is_ok(),
        }
    }
}

/// Where a record stands, for people.
pub(crate) fn shown(kind: Kind, key: &[u8]) -> String {
    match kind {
        Kind::Issued => match position(key) {
            Ok(position) => format!("the issue record of {}", position.jti),
            Err(_) => "an issue record".into(),
        },
        Kind::Marks => "what is kept of the marks of tokens".into(),
        Kind::Revocation => format!("the revocation {}", String::from_utf8_lossy(&key[1..])),
    }
}

/// Where the records that expire at a time begin. Flipping the sign's bit makes bytes sort as numbers do.
pub(crate) fn issued_start(expires_at: i64) -> Vec<u8> {
    [ISSUED, &(expires_at ^ i64::MIN).to_be_bytes()].concat()
}

pub(crate) fn issued_key(position: &Position) -> Vec<u8> {
    [&issued_start(position.expires_at), position.jti.as_bytes()].concat()
}

pub(crate) fn position(key: &[u8]) -> Result<Position, LedgerError> {
    let rest = key.get(ISSUED.len()..).and_then(<[u8]>::split_first_chunk);
    let (expires_at, jti) = rest.ok_or_else(|| corrupt("a key is too short"))?;
    let jti = String::from_utf8(jti.to_vec()).map_err(corrupt)?;
    Ok(Position { expires_at: i64::from_be_bytes(*expires_at) ^ i64::MIN, jti })
}

pub(crate) fn revocation_key(what: &What) -> Result<Vec<u8>, LedgerError> {
    Ok([REVOCATION, &serde_json::to_vec(what).map_err(corrupt)?].concat())
}

pub(crate) fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, LedgerError> {
    serde_json::from_slice(value).map_err(corrupt)
}

pub(crate) fn corrupt(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LedgerError {
    LedgerError::Corrupt(e.into())
}
