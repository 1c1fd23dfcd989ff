//! One file of the log.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokensmith_core::store::{Change, Revision};

use crate::checksum::{Place, of_record};
use crate::state::{StoreId, chunk, number};

const MAGIC: &[u8; 16] = b"tokensmith log 2";
/// Magic and identity.
const HEAD: u64 = 32;
/// Length, revision and checksum.
const FRAME: usize = 4 + 8 + 16;

/// A file of consecutive changes.
pub(super) struct Segment {
    pub(super) first: Revision,
    path: PathBuf,
    file: Arc<File>,
    /// Where each change ends.
    ends: Vec<u64>,
    /// Changes that are not in the file yet.
    staged: Vec<u8>,
}

/// Where a change is.
pub(super) struct Frame {
    file: Arc<File>,
    revision: Revision,
    start: u64,
    end: u64,
}

impl Segment {
    pub(super) fn create(dir: &Path, first: Revision, identity: &StoreId) -> io::Result<Self> {
        let path = dir.join(format!("{first:020}"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.write_all_at(&[&MAGIC[..], identity].concat(), 0)?;
        Ok(Segment { first, path, file: Arc::new(file), ends: Vec::new(), staged: Vec::new() })
    }

    /// Finds the changes of a file up to a revision, by their heads alone; what follows is cut off. `None` for a file of
    /// something else, or without any.
    pub(super) fn open(
        path: &Path,
        first: Revision,
        identity: &StoreId,
        until: Revision,
    ) -> io::Result<Option<Self>> {
        let file = File::options().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        let mut head = [0; HEAD as usize];
        if len < HEAD || first == 0 {
            return Ok(None);
        }
        (&file).read_exact(&mut head)?;
        if head[..] != [&MAGIC[..], identity].concat() {
            return Ok(None);
        }
        let (mut ends, mut at, mut next) = (Vec::new(), HEAD, first);
        let mut frame = [0; 12];
        while next <= until && at + FRAME as u64 <= len {
            file.read_exact_at(&mut frame, at)?;
            let mut rest = &frame[..];
            let size = chunk(&mut rest).map_or(0, u32::from_be_bytes);
            let end = at + FRAME as u64 + u64::from(size);
            if number(&mut rest) != Some(next) || end > len {
                break;
            }
            ends.push(end);
            (at, next) = (end, next + 1);
        }
        if ends.is_empty() {
            return Ok(None);
        }
        if at < len {
            file.set_len(at)?;
            // Durably: else a change that takes the place of what was cut off, and a power cut before it is on disk, bring
            // the old one back under its revision.
            file.sync_all()?;
        }
        Ok(Some(Segment { first, path: path.into(), file: Arc::new(file), ends, staged: Vec::new() }))
    }

    /// The revision after its last change.
    pub(super) fn next(&self) -> Revision {
        self.first + self.ends.len() as Revision
    }

    /// Bytes of its changes.
    pub(super) fn len(&self) -> u64 {
        self.ends.last().map_or(0, |end| end - HEAD)
    }

    /// Bytes of its changes up to a revision.
    pub(super) fn passed(&self, until: Revision) -> u64 {
        let count = (until + 1).saturating_sub(self.first) as usize;
        count.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| end - HEAD)
    }

    pub(super) fn frame(&self, revision: Revision) -> Option<Frame> {
        let n = revision.checked_sub(self.first)? as usize;
        let end = *self.ends.get(n)?;
        let start = n.checked_sub(1).map_or(HEAD, |before| self.ends[before]);
        Some(Frame { file: self.file.clone(), revision, start, end })
    }

    pub(super) fn stage(&mut self, frame: Vec<u8>) {
        self.ends.push(self.ends.last().unwrap_or(&HEAD) + frame.len() as u64);
        match self.staged.is_empty() {
            true => self.staged = frame,
            false => self.staged.extend_from_slice(&frame),
        }
    }

    pub(super) fn staged(&self) -> usize {
        self.staged.len()
    }

    /// Writes what is staged.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let staged = std::mem::take(&mut self.staged);
        if staged.is_empty() {
            return Ok(());
        }
        let end = self.ends.last().unwrap_or(&HEAD);
        self.file.write_all_at(&staged, end - staged.len() as u64)
    }

    pub(super) fn remove(self) {
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::warn!(error = %e, path = %self.path.display(), "a file of the log cannot be removed");
        }
    }
}

impl Frame {
    pub(super) fn len(&self) -> u64 {
        self.end - self.start
    }

    /// The change, if it is as it was written.
    pub(super) fn read(&self, identity: &StoreId) -> Option<Change> {
        let mut bytes = vec![0; usize::try_from(self.len()).ok()?];
        self.file.read_exact_at(&mut bytes, self.start).ok()?;
        let bytes = Bytes::from(bytes);
        let payload = bytes.slice(FRAME..);
        let checksum = of_record(Place::Log, identity, self.revision, &payload);
        if bytes[12..FRAME] != checksum[..16] {
            return None;
        }
        let mut rest = payload;
        let (key, value, previous) = (part(&mut rest)?, part(&mut rest)?, part(&mut rest)?);
        let key = std::str::from_utf8(&key?).ok()?.into();
        Some(Change { key, value, previous, revision: self.revision })
    }
}

/// A change as it stands in a file: key, value and previous value, each behind its length; a length of all ones means
/// "none".
pub(super) fn encode(change: &Change, identity: &StoreId) -> Vec<u8> {
    let parts = [Some(change.key.as_bytes()), change.value.as_deref(), change.previous.as_deref()];
    let size: usize = parts.iter().map(|part| 4 + part.map_or(0, <[u8]>::len)).sum();
    let mut out = Vec::with_capacity(FRAME + size);
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(&change.revision.to_be_bytes());
    out.extend_from_slice(&[0; 16]);
    for part in parts {
        out.extend_from_slice(&part.map_or(u32::MAX, |p| p.len() as u32).to_be_bytes());
        out.extend_from_slice(part.unwrap_or_default());
    }
    let checksum = of_record(Place::Log, identity, change.revision, &out[FRAME..]);
    out[12..FRAME].copy_from_slice(&checksum[..16]);
    out
}

/// Takes a part off; the outer `None` where there is no whole one.
fn part(rest: &mut Bytes) -> Option<Option<Bytes>> {
    let len = u32::from_be_bytes(*rest.first_chunk()?);
    let after = rest.slice(4..);
    if len == u32::MAX {
        *rest = after;
        return Some(None);
    }
    let len = usize::try_from(len).ok().filter(|len| *len <= after.len())?;
    *rest = after.slice(len..);
    Some(Some(after.slice(..len)))
}

pub(super) fn make(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// The files in a folder, in the order of their changes.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(Revision, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((first, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
