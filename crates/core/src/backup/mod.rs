//! A backup: everything that a store and its ledger hold, as one stream of bytes.
//!
//! ```text
//! tokensmith backup 1\n
//! header    format, when, which server
//! entry, deleted …             the store: first as it was read, with the changes of meanwhile between; the latest revision counts
//! marks, revocation, issued …  the ledger: read after the store, so it is newer
//! file …                       what stands beside the store, sealed
//! trailer   how much of each there is, up to which revision, and a proof
//! ```
//!
//! Each record carries a checksum that goes on from the one before it, so a stream that was cut, or in which a bit or an
//! order was changed, is refused at that place; one without its trailer is no backup. The proof is that checksum, sealed
//! under the sealing key: who can write to where backups lie, and has not that key, cannot add an object or take a
//! revocation out. Private halves stay sealed as they are in the ring. It knows no files and no database.

mod frame;
mod read;
mod restored;
mod write;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use read::{Decoder, Finished, ReadError};
pub use restored::Bump;
pub use write::{Source, WriteError, write};

use crate::ledger::{Issued, Marks, Revocation};
use crate::store::{Entry, Revision};

/// The version of the form that is written.
pub const FORMAT: u32 = 1;
/// What a backup begins with.
pub const MAGIC: &[u8; 20] = b"tokensmith backup 1\n";
/// What sealed bytes of a backup are for ([`SealKeys::seal_bytes`](crate::keys::SealKeys::seal_bytes)).
const PROOF: &str = "backup proof";

/// What a backup says of itself at its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The version of the form.
    pub format: u32,
    /// The version of the program.
    pub version: String,
    /// When it was begun: what was written before is in it.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The store's revision then.
    pub revision: Revision,
    /// The issuer of tokens; absent where the server did not know one (`tokensmith signer`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The store that it is of, if that has an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// What a backup says of itself at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trailer {
    /// The revision that it shows.
    pub revision: Revision,
    /// How much there is.
    pub counts: Counts,
    /// The checksum of all that comes before, sealed.
    #[serde(with = "crate::keys::ring::base64_bytes")]
    pub proof: Vec<u8>,
}

/// How many records of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Values, some perhaps twice: as they were listed, and as they changed meanwhile.
    pub entries: u64,
    /// Deletions of meanwhile.
    pub deleted: u64,
    /// Revocations.
    pub revocations: u64,
    /// Issue records.
    pub issued: u64,
    /// Files.
    pub files: u64,
}

/// A file from beside the store. Whatever it is, it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Its name.
    pub name: String,
    /// Its bytes, sealed.
    #[serde(with = "crate::keys::ring::base64_bytes")]
    pub sealed: Vec<u8>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The first.
    Header(Header),
    /// A value.
    Entry(Entry),
    /// A key whose value was deleted.
    Deleted(String, Revision),
    /// What must never be forgotten of the marks in tokens.
    Marks(Marks),
    /// A revocation.
    Revocation(Revocation),
    /// An issue record.
    Issued(Box<Issued>),
    /// A file.
    File(Sealed),
    /// The last.
    Trailer(Trailer),
}

impl Counts {
    fn count(&mut self, record: &Record) {
        match record {
            Record::Entry(_) => self.entries += 1,
            Record::Deleted(..) => self.deleted += 1,
            Record::Revocation(_) => self.revocations += 1,
            Record::Issued(_) => self.issued += 1,
            Record::File(_) => self.files += 1,
            Record::Header(_) | Record::Marks(_) | Record::Trailer(_) => {}
        }
    }
}

/// What a file of this name is sealed for.
fn purpose(name: &str) -> String {
    format!("backup file {name}")
}
