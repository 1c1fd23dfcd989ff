//! What a store holds, in a few numbers: in the anchor and, changed in the same batch as the records, in each tree.

use crate::checksum::{Checksum, Place, Sum, of_record};

/// A random number that says which store a file belongs to.
pub(crate) type StoreId = [u8; 16];

/// Of the tree with revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Objects {
    /// The revision of the last change.
    pub(crate) revision: u64,
    /// The record that stands apart ([`Options::ring`](crate::Options)): none or one.
    pub(crate) ring: Sum,
    /// All other records.
    pub(crate) rest: Sum,
}

/// Of the ledger's tree, issue records excepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// How many groups were written.
    pub(crate) sequence: u64,
    /// Revocations, and what is kept of the marks.
    pub(crate) sum: Sum,
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) identity: StoreId,
    pub(crate) objects: Objects,
    pub(crate) ledger: Ledger,
}

impl Objects {
    pub(crate) const LEN: usize = 8 + 2 * Sum::LEN;

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.revision.to_be_bytes()[..], &self.ring.to_bytes(), &self.rest.to_bytes()].concat()
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (revision, ring, rest) = (number(bytes)?, sum(bytes)?, sum(bytes)?);
        Some(Objects { revision, ring, rest })
    }
}

impl Ledger {
    pub(crate) const LEN: usize = 8 + Sum::LEN;

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.sequence.to_be_bytes()[..], &self.sum.to_bytes()].concat()
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (sequence, sum) = (number(bytes)?, sum(bytes)?);
        Some(Ledger { sequence, sum })
    }
}

/// A tree's own record of its state: identity and numbers behind a checksum.
pub(crate) fn sealed(place: Place, key: &[u8], identity: &StoreId, numbers: &[u8]) -> Vec<u8> {
    let body = [identity, numbers].concat();
    [&of_record(place, key, 0, &body)[..], &body].concat()
}

/// The store and the numbers of a record that verifies.
pub(crate) fn unsealed<'a>(place: Place, key: &[u8], stored: &'a [u8]) -> Option<(StoreId, &'a [u8])> {
    let (checksum, body) = stored.split_first_chunk::<32>()?;
    let (identity, numbers) = body.split_first_chunk()?;
    (*checksum == of_record(place, key, 0, body)).then_some((*identity, numbers))
}

/// Takes a number off.
pub(crate) fn number(bytes: &mut &[u8]) -> Option<u64> {
    chunk(bytes).map(u64::from_be_bytes)
}

/// Takes a sum off.
fn sum(bytes: &mut &[u8]) -> Option<Sum> {
    chunk(bytes).map(|b| Sum::from_bytes(&b))
}

/// Takes a checksum off.
pub(crate) fn checksum(bytes: &mut &[u8]) -> Option<Checksum> {
    chunk(bytes)
}

/// Takes so many bytes off.
pub(crate) fn chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
