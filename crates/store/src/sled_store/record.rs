//! How keys and values stand in the tree.

use bytes::Bytes;
use tokensmith_core::store::{Change, Revision, StoreError};

/// The format's version.
pub(super) const META_FORMAT: &[u8] = b"mformat";
/// The revision of the last change.
pub(super) const META_REVISION: &[u8] = b"mrevision";
/// A watch may start after this revision.
pub(super) const META_OLDEST: &[u8] = b"moldest";

pub(super) fn data_key(key: &str) -> Vec<u8> {
    [b"d", key.as_bytes()].concat()
}

pub(super) fn log_key(revision: Revision) -> Vec<u8> {
    [b"l".as_slice(), &revision.to_be_bytes()].concat()
}

/// The store's key behind a tree's key.
pub(super) fn key_of(stored: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(stored.get(1..).unwrap_or_default().to_vec()).map_err(|_| corrupt("a key is not UTF-8"))
}

pub(super) fn encode_data(revision: Revision, value: &[u8]) -> Vec<u8> {
    [&revision.to_be_bytes(), value].concat()
}

pub(super) fn decode_data(stored: &[u8]) -> Result<(Revision, Bytes), StoreError> {
    let (revision, value) = stored.split_first_chunk().ok_or_else(|| corrupt("a value is too short"))?;
    Ok((Revision::from_be_bytes(*revision), Bytes::copy_from_slice(value)))
}

/// Key, value and previous value, each behind its length; a length of all ones means "none".
pub(super) fn encode_change(change: &Change) -> Vec<u8> {
    let mut out = Vec::new();
    for part in [Some(change.key.as_bytes()), change.value.as_deref(), change.previous.as_deref()] {
        match part {
            Some(part) => {
                out.extend_from_slice(&(part.len() as u32).to_be_bytes());
                out.extend_from_slice(part);
            }
            None => out.extend_from_slice(&u32::MAX.to_be_bytes()),
        }
    }
    out
}

pub(super) fn decode_change(key: &[u8], stored: &[u8]) -> Result<Change, StoreError> {
    let revision = key.get(1..).and_then(|k| k.try_into().ok()).map(Revision::from_be_bytes);
    let mut rest = stored;
    let mut part = || -> Result<Option<Bytes>, StoreError> {
        let short = || corrupt("a change is cut short");
        let (len, after) = rest.split_first_chunk().ok_or_else(short)?;
        rest = after;
        match u32::from_be_bytes(*len) {
            u32::MAX => Ok(None),
            len => {
                let (part, after) = rest.split_at_checked(len as usize).ok_or_else(short)?;
                rest = after;
                Ok(Some(Bytes::copy_from_slice(part)))
            }
        }
    };
    let (key, value, previous) = (part()?, part()?, part()?);
    let key =
        key.and_then(|k| String::from_utf8(k.into()).ok()).ok_or_else(|| corrupt("a change has no key"))?;
    Ok(Change {
        key,
        value,
        previous,
        revision: revision.ok_or_else(|| corrupt("a change has no revision"))?,
    })
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Backend(format!("the database is damaged: {what}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back() {
        for (value, previous) in [(None, Some("old")), (Some("new"), None), (Some(""), Some("x"))] {
            let bytes = |v: Option<&'static str>| v.map(|v| Bytes::from_static(v.as_bytes()));
            let change =
                Change { key: "k".into(), value: bytes(value), previous: bytes(previous), revision: 7 };
            assert_eq!(decode_change(&log_key(7), &encode_change(&change)).unwrap(), change);
        }
        assert!(decode_change(&log_key(7), b"\0\0\0\x09k").is_err());
    }
}
