//! How records stand in the stream.
//!
//! ```text
//! kind (1) | length (4, big endian) | payload | check (16)
//! check = the first 16 bytes of SHA-256(the check before, or zeros | kind | length | payload)
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Record;
use crate::store::Entry;

/// No record is longer: what claims to be is not read into memory.
pub(super) const LONGEST: usize = 64 << 20;
/// Kind and length.
pub(super) const HEAD: usize = 5;
/// The checksum's length.
pub(super) const CHECK: usize = 16;

/// The checksum of all that has gone by.
pub(super) type Check = [u8; CHECK];

const HEADER: u8 = b'h';
const ENTRY: u8 = b'e';
const DELETED: u8 = b'd';
const MARKS: u8 = b'm';
const REVOCATION: u8 = b'r';
const ISSUED: u8 = b'i';
const FILE: u8 = b'f';
const TRAILER: u8 = b't';

/// The checksum after a record.
pub(super) fn check(before: &Check, head: &[u8], payload: &[u8]) -> Check {
    let mut context = Context::new(&SHA256);
    for part in [before.as_slice(), head, payload] {
        context.update(part);
    }
    let mut check = [0; CHECK];
    check.copy_from_slice(&context.finish().as_ref()[..CHECK]);
    check
}

/// Appends a record; gives the checksum after it, `None` for one that is too long for any reader.
pub(super) fn append(out: &mut BytesMut, before: &Check, record: &Record) -> Option<Check> {
    let (kind, payload) = encode(record);
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= LONGEST)?;
    let mut head = [kind; HEAD];
    head[1..].copy_from_slice(&length.to_be_bytes());
    let check = check(before, &head, &payload);
    out.reserve(HEAD + payload.len() + CHECK);
    out.put_slice(&head);
    out.put_slice(&payload);
    out.put_slice(&check);
    Some(check)
}

fn encode(record: &Record) -> (u8, Bytes) {
    match record {
        Record::Header(header) => (HEADER, json(header)),
        Record::Entry(Entry { key, value, revision }) => {
            let mut out = BytesMut::with_capacity(12 + key.len() + value.len());
            out.put_u64(*revision);
            out.put_u32(u32::try_from(key.len()).unwrap_or(u32::MAX));
            out.put_slice(key.as_bytes());
            out.put_slice(value);
            (ENTRY, out.freeze())
        }
        Record::Deleted(key, revision) => {
            let mut out = BytesMut::with_capacity(8 + key.len());
            out.put_u64(*revision);
            out.put_slice(key.as_bytes());
            (DELETED, out.freeze())
        }
        Record::Marks(marks) => (MARKS, json(marks)),
        Record::Revocation(revocation) => (REVOCATION, json(revocation)),
        Record::Issued(issued) => (ISSUED, json(issued)),
        Record::File(file) => (FILE, json(file)),
        Record::Trailer(trailer) => (TRAILER, json(trailer)),
    }
}

/// The record of a payload that is as it was written; `None` where a newer version wrote it.
pub(super) fn decode(kind: u8, payload: Bytes) -> Option<Record> {
    Some(match kind {
        HEADER => Record::Header(parse(&payload)?),
        ENTRY => {
            let (revision, rest) = payload.split_first_chunk::<8>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (key, value) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            let key = String::from_utf8(key.to_vec()).ok()?;
            Record::Entry(Entry {
                key,
                value: payload.slice_ref(value),
                revision: u64::from_be_bytes(*revision),
            })
        }
        DELETED => {
            let (revision, key) = payload.split_first_chunk::<8>()?;
            Record::Deleted(String::from_utf8(key.to_vec()).ok()?, u64::from_be_bytes(*revision))
        }
        MARKS => Record::Marks(parse(&payload)?),
        REVOCATION => Record::Revocation(parse(&payload)?),
        ISSUED => Record::Issued(parse(&payload)?),
        FILE => Record::File(parse(&payload)?),
        TRAILER => Record::Trailer(parse(&payload)?),
        _ => return None,
    })
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("a record is made of strings, numbers and lists").into()
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}
