//! How objects stand in their tree.
//!
//! ```text
//! d KEY               checksum (32 bytes), revision (8, big endian), length (4), value
//! c REVISION NUMBER   a part of a value that is longer than `INLINE`, which is then not in its record
//! m format | state
//! ```
//!
//! Why parts: sled puts a page of more than 128 KiB in a file of its own, which it does not bring to disk, and which it
//! writes again for each change to any of the page's sixteen records. With parts no page is that large: what is flushed
//! is on disk, and what is gone gives its space back while the server runs.

use bytes::{Bytes, BytesMut};
use tokensmith_core::store::Revision;

use crate::checksum::{Checksum, Place, of_record};
use crate::state::{checksum, chunk, number};

/// The layout's version.
pub(crate) const META_FORMAT: &[u8] = b"mformat";
/// The tree's state.
pub(crate) const META_STATE: &[u8] = b"mstate";
/// The revision of the last change, in format 1.
pub(crate) const META_REVISION: &[u8] = b"mrevision";
/// So many bytes of a value are in one record.
pub(crate) const INLINE: usize = 4096;

/// What is said of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) checksum: Checksum,
    pub(crate) revision: Revision,
    len: u32,
}

impl Header {
    /// So many bytes of a record.
    const LEN: usize = 44;

    /// Takes a record apart: the value follows, where it is inside.
    fn parse(stored: &[u8]) -> Option<Self> {
        let mut rest = stored;
        let (checksum, revision) = (checksum(&mut rest)?, number(&mut rest)?);
        let len = u32::from_be_bytes(chunk(&mut rest)?);
        Some(Header { checksum, revision, len })
    }

    /// How many parts stand elsewhere.
    fn parts(&self) -> u32 {
        match self.len as usize > INLINE {
            true => self.len.div_ceil(INLINE as u32),
            false => 0,
        }
    }
}

/// A record, looked at.
#[derive(Debug)]
pub(crate) enum Read {
    /// It is as it was written.
    Whole(Header, Bytes),
    /// It is not.
    Damaged(&'static str),
}

pub(crate) fn data_key(key: &str) -> Vec<u8> {
    [b"d", key.as_bytes()].concat()
}

fn part_key(revision: Revision, number: u32) -> Vec<u8> {
    [b"c".as_slice(), &revision.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// Has a batch put a value; gives its header.
pub(crate) fn put(batch: &mut sled::Batch, key: &str, revision: Revision, value: &[u8]) -> Header {
    let checksum = of_record(Place::Objects, key.as_bytes(), revision, value);
    let inline = if value.len() > INLINE { &[][..] } else { value };
    let record =
        [&checksum[..], &revision.to_be_bytes(), &(value.len() as u32).to_be_bytes(), inline].concat();
    batch.insert(data_key(key), record);
    if inline.is_empty() {
        for (number, part) in (0..).zip(value.chunks(INLINE)) {
            batch.insert(part_key(revision, number), part);
        }
    }
    Header { checksum, revision, len: value.len() as u32 }
}

/// Has a batch take a value's parts away.
pub(crate) fn remove_parts(batch: &mut sled::Batch, header: &Header) {
    (0..header.parts()).for_each(|number| batch.remove(part_key(header.revision, number)));
}

/// Reads what is under a key.
pub(crate) fn get(tree: &sled::Tree, key: &str) -> sled::Result<Option<Read>> {
    match tree.get(data_key(key))? {
        Some(record) => of(tree, key, &record),
        None => Ok(None),
    }
}

/// The same where its record has been found a moment ago.
pub(crate) fn of(tree: &sled::Tree, key: &str, record: &sled::IVec) -> sled::Result<Option<Read>> {
    let mut record = record.clone();
    loop {
        let read = read(tree, key, &record)?;
        if matches!(read, Read::Whole(..)) {
            return Ok(Some(read));
        }
        // Its parts may have gone since it was found: another value is there now, or none.
        match tree.get(data_key(key))? {
            Some(now) if now != record => record = now,
            Some(_) => return Ok(Some(read)),
            None => return Ok(None),
        }
    }
}

/// The value of a record, with its parts. One that is inside stays the bytes that sled's cache has: they are there once.
pub(crate) fn read(tree: &sled::Tree, key: &str, record: &sled::IVec) -> sled::Result<Read> {
    let Some(header) = Header::parse(record) else {
        return Ok(Read::Damaged("it is too short"));
    };
    let value = match header.parts() {
        0 => Bytes::from_owner(record.subslice(Header::LEN, record.len() - Header::LEN)),
        count => {
            // The length may be wrong: memory is taken for what is there alone.
            let mut value = BytesMut::new();
            for (number, item) in (0..count).zip(tree.range(part_key(header.revision, 0)..)) {
                let (at, part) = item?;
                if at != part_key(header.revision, number) {
                    return Ok(Read::Damaged("a part is missing"));
                }
                value.extend_from_slice(&part);
            }
            value.freeze()
        }
    };
    let whole = value.len() == header.len as usize
        && header.checksum == of_record(Place::Objects, key.as_bytes(), header.revision, &value);
    Ok(if whole { Read::Whole(header, value) } else { Read::Damaged("its checksum does not fit") })
}

/// Revision and value of a record of format 1.
pub(crate) fn read_1(record: &[u8]) -> Option<(Revision, Bytes)> {
    let mut rest = record;
    let revision = number(&mut rest)?;
    Some((revision, Bytes::copy_from_slice(rest)))
}

/// A record of the ledger: its checksum, then what it says.
pub(crate) fn seal(key: &[u8], value: &[u8]) -> (Checksum, Vec<u8>) {
    let checksum = of_record(Place::Ledger, key, 0, value);
    (checksum, [&checksum[..], value].concat())
}

/// What a record of the ledger says, if it verifies.
pub(crate) fn unseal<'a>(key: &[u8], stored: &'a [u8]) -> Option<(Checksum, &'a [u8])> {
    let (checksum, value) = stored.split_first_chunk()?;
    (*checksum == of_record(Place::Ledger, key, 0, value)).then_some((*checksum, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> sled::Tree {
        sled::Config::new().temporary(true).open().unwrap().open_tree("t").unwrap()
    }

    fn write(tree: &sled::Tree, key: &str, revision: Revision, value: &[u8]) -> Checksum {
        let mut batch = sled::Batch::default();
        let header = put(&mut batch, key, revision, value);
        tree.apply_batch(batch).unwrap();
        header.checksum
    }

    #[test]
    fn values_of_any_length_come_back_and_leave_nothing() {
        let tree = tree();
        for (revision, len) in (1..).zip([0, 1, INLINE - 1, INLINE, INLINE + 1, 3 * INLINE, 1_000_000]) {
            let value = vec![len as u8; len];
            let checksum = write(&tree, "/k", revision, &value);
            let Some(Read::Whole(header, found)) = get(&tree, "/k").unwrap() else { panic!("{len}") };
            assert_eq!((header.checksum, header.revision, &found[..]), (checksum, revision, &value[..]));
            let mut batch = sled::Batch::default();
            batch.remove(data_key("/k"));
            remove_parts(&mut batch, &header);
            tree.apply_batch(batch).unwrap();
            assert!(tree.is_empty(), "{len}");
        }
    }

    #[test]
    fn what_was_changed_moved_or_cut_does_not_verify() {
        let damaged = |tree: &sled::Tree, key| matches!(get(tree, key).unwrap(), Some(Read::Damaged(_)));
        for len in [10, 20_000] {
            let tree = tree();
            write(&tree, "/a", 1, &vec![1; len]);
            write(&tree, "/b", 2, &vec![2; len]);
            let all: Vec<_> = tree.iter().map(Result::unwrap).collect();
            for (key, value) in &all {
                let owner = if key[..] == data_key("/b") || key.starts_with(b"c\0\0\0\0\0\0\0\x02") {
                    "/b"
                } else {
                    "/a"
                };
                for at in [0, value.len() / 2, value.len() - 1] {
                    let mut changed = value.to_vec();
                    changed[at] ^= 0x10;
                    tree.insert(key, changed).unwrap();
                    assert!(damaged(&tree, owner), "{key:?} {at}");
                }
                tree.insert(key, &value[..value.len() - 1]).unwrap();
                assert!(damaged(&tree, owner), "{key:?}");
                tree.insert(key, value).unwrap();
                if key.starts_with(b"c") {
                    tree.remove(key).unwrap();
                    assert!(damaged(&tree, owner), "{key:?}");
                    tree.insert(key, value).unwrap();
                }
            }
            // In another's place.
            tree.insert(data_key("/a"), tree.get(data_key("/b")).unwrap().unwrap()).unwrap();
            assert!(damaged(&tree, "/a") && !damaged(&tree, "/b"));
        }
    }

    #[test]
    fn a_record_of_the_ledger_verifies_in_its_place_alone() {
        let (checksum, stored) = seal(b"k", b"value");
        assert_eq!(unseal(b"k", &stored), Some((checksum, &b"value"[..])));
        assert_eq!(unseal(b"l", &stored), None);
        assert_eq!(unseal(b"k", &stored[..stored.len() - 1]), None);
        assert_eq!(unseal(b"k", b"{}"), None);
    }
}
