//! Reading: a record is given only when it is as it was written.

use bytes::{Bytes, BytesMut};

use super::frame::{self, CHECK, Check, HEAD, LONGEST};
use super::{Counts, FORMAT, Header, MAGIC, PROOF, Record, Sealed, Trailer, purpose};
use crate::keys::{SealKeys, UnsealError};

/// Why a stream is not taken for a backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A record is not as it was written.
    #[error("it is damaged: record {record}, at byte {offset}, is not as it was written")]
    Changed {
        /// Which, from 1.
        record: u64,
        /// Where it begins.
        offset: u64,
    },
    /// It ends before its trailer.
    #[error("it is cut off after record {record}, at byte {offset}")]
    Cut {
        /// The last that is whole.
        record: u64,
        /// Where it ends.
        offset: u64,
    },
    /// It was written by a newer version.
    #[error("a newer version of tokensmith wrote it (format {0}): use that one")]
    Newer(u32),
    /// It does not begin as a backup does.
    #[error("it is no backup of tokensmith's")]
    NoBackup,
    /// There is something behind its trailer.
    #[error("there is something behind its end, at byte {offset}")]
    Behind {
        /// Where.
        offset: u64,
    },
}

/// Reads a backup from pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// How many bytes have gone by.
    offset: u64,
    records: u64,
    check: Check,
    /// The checksum before the trailer.
    before: Check,
    begun: bool,
    counts: Counts,
    header: Option<Header>,
    trailer: Option<Trailer>,
}

impl Decoder {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next record; `None` when another piece is needed.
    ///
    /// # Errors
    /// The stream is not as it was written.
    pub fn record(&mut self) -> Result<Option<Record>, ReadError> {
        if !self.begun && !self.begin()? {
            return Ok(None);
        }
        if self.trailer.is_some() {
            return match self.buffer.is_empty() {
                true => Ok(None),
                false => Err(ReadError::Behind { offset: self.offset }),
            };
        }
        let changed = ReadError::Changed { record: self.records + 1, offset: self.offset };
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return Err(changed);
        }
        let whole = HEAD + length + CHECK;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let record = self.buffer.split_to(whole).freeze();
        let payload = record.slice(HEAD..HEAD + length);
        let check = frame::check(&self.check, &record[..HEAD], &payload);
        if record[HEAD + length..] != check {
            return Err(changed);
        }
        let record = self.take(kind, payload).ok_or(changed)?;
        (self.before, self.check) = (self.check, check);
        (self.records, self.offset) = (self.records + 1, self.offset + whole as u64);
        Ok(Some(record))
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    /// It came too early.
    pub fn finish(mut self) -> Result<Finished, ReadError> {
        let left = self.record()?;
        match (self.header.take(), self.trailer.take()) {
            (Some(header), Some(trailer)) if left.is_none() => {
                let check = self.before;
                Ok(Finished { header, trailer, check, digest: hex(&self.check), bytes: self.offset })
            }
            _ if !self.begun && !MAGIC.starts_with(&self.buffer) => Err(ReadError::NoBackup),
            _ => Err(ReadError::Cut { record: self.records, offset: self.offset }),
        }
    }

    /// Whether the trailer has come.
    pub fn is_whole(&self) -> bool {
        self.trailer.is_some()
    }

    /// Reads what a backup begins with, once it is there.
    fn begin(&mut self) -> Result<bool, ReadError> {
        if self.buffer.len() < MAGIC.len() {
            return Ok(false);
        }
        let magic = self.buffer.split_to(MAGIC.len());
        if magic != MAGIC[..] {
            let newer = std::str::from_utf8(&magic).ok().and_then(|text| {
                text.strip_prefix("tokensmith backup ")?.trim_end().parse().ok().filter(|f| *f > FORMAT)
            });
            return Err(newer.map_or(ReadError::NoBackup, ReadError::Newer));
        }
        (self.begun, self.offset) = (true, MAGIC.len() as u64);
        Ok(true)
    }

    /// A record in its right place: the header first, the trailer with the right numbers.
    fn take(&mut self, kind: u8, payload: Bytes) -> Option<Record> {
        let record = frame::decode(kind, payload)?;
        match &record {
            Record::Header(header) if self.header.is_none() => self.header = Some(header.clone()),
            _ if self.header.is_none() => return None,
            Record::Header(_) => return None,
            Record::Trailer(trailer) if trailer.counts == self.counts => {
                self.trailer = Some(trailer.clone());
            }
            Record::Trailer(_) => return None,
            other => self.counts.count(other),
        }
        Some(record)
    }
}

/// A backup that was read to its end, and is as it was written.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its beginning.
    pub header: Header,
    /// Its end.
    pub trailer: Trailer,
    check: Check,
    /// A digest of all of it, in hexadecimal digits.
    pub digest: String,
    /// How long it is.
    pub bytes: u64,
}

impl Finished {
    /// Whether a server that has this sealing key wrote it.
    ///
    /// # Errors
    /// No.
    pub fn prove(&self, seal: &SealKeys) -> Result<(), UnsealError> {
        let proof = seal.open_bytes(PROOF, &self.trailer.proof)?;
        if proof.as_slice() == self.check { Ok(()) } else { Err(UnsealError::Broken) }
    }
}

impl Sealed {
    /// Its bytes.
    ///
    /// # Errors
    /// No key opens it.
    pub fn open(&self, seal: &SealKeys) -> Result<zeroize::Zeroizing<Vec<u8>>, UnsealError> {
        seal.open_bytes(&purpose(&self.name), &self.sealed)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
