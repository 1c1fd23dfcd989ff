//! What is in a backup.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use tokensmith_core::backup::{Decoder, Finished, ReadError, Record, Sealed};
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{KeyRing, RingError};
use tokensmith_core::ledger::{Marks, Revocation};
use tokensmith_core::store::{Entry, Revision};
use tokensmith_core::view::{REGISTRY, collection_of};
use tokensmith_objects::object::timestamp;

use crate::failure::Failure;
use crate::files::check_given;
use crate::output;

/// So much of a file is read at once.
const PIECE: usize = 256 << 10;

/// What a backup holds, without the values.
#[derive(Debug, Default)]
pub struct Contents {
    /// The latest of each key, and whether there is a value then.
    latest: HashMap<String, (Revision, bool)>,
    ring: Option<Entry>,
    /// What is kept of the marks.
    pub marks: Option<Marks>,
    /// Revocations.
    pub revocations: Vec<Revocation>,
    /// Files from beside the store.
    pub files: Vec<Sealed>,
    /// How many issue records there are.
    pub issued: u64,
}

impl Contents {
    /// Takes the next record in.
    pub fn take(&mut self, record: &Record) {
        match record {
            Record::Entry(entry) => {
                self.note(&entry.key, entry.revision, true);
                if entry.key == RING_KEY && self.ring.as_ref().is_none_or(|r| r.revision < entry.revision) {
                    self.ring = Some(entry.clone());
                }
            }
            Record::Deleted(key, revision) => self.note(key, *revision, false),
            Record::Marks(marks) => self.marks = Some(*marks),
            Record::Revocation(revocation) => self.revocations.push(revocation.clone()),
            Record::Issued(_) => self.issued += 1,
            Record::File(file) => self.files.push(file.clone()),
            Record::Header(_) | Record::Trailer(_) => {}
        }
    }

    fn note(&mut self, key: &str, revision: Revision, there: bool) {
        match self.latest.get_mut(key) {
            Some(known) if known.0 < revision => *known = (revision, there),
            Some(_) => {}
            None => drop(self.latest.insert(key.to_owned(), (revision, there))),
        }
    }

    /// Whether this is the value that counts of its key; says so once.
    pub fn claim(&mut self, entry: &Entry) -> bool {
        let counts = self.latest.get(&entry.key) == Some(&(entry.revision, true));
        if counts {
            self.latest.remove(&entry.key);
        }
        counts
    }

    /// The key ring, if there is one.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn ring(&self) -> Result<Option<KeyRing>, RingError> {
        let there = self.latest.get(RING_KEY).is_some_and(|(_, there)| *there);
        self.ring.as_ref().filter(|_| there).map(|entry| KeyRing::from_json(&entry.value)).transpose()
    }

    /// `3 objects (configmaps 1, secrets 2), 1 revocation, 7 issue records`
    pub fn told(&self) -> String {
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, _) in self.latest.iter().filter(|(_, (_, there))| *there) {
            if let Some(name) = key.strip_prefix(REGISTRY) {
                *kinds.entry(collection_of(name)).or_default() += 1;
            }
        }
        let mut out = count(kinds.values().sum(), "object");
        if !kinds.is_empty() {
            let each: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            let _ = write!(out, " ({})", each.join(", "));
        }
        let revocations = u64::try_from(self.revocations.len()).unwrap_or(u64::MAX);
        format!("{out}, {}, {}", count(revocations, "revocation"), count(self.issued, "issue record"))
    }
}

/// `1 object`, `2 objects`
pub fn count(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Reads a backup to its end, and gives what it holds.
///
/// # Errors
/// It cannot be read, or is not as it was written; a guard's refusal where everyone may write it.
pub fn read(path: &Path) -> Result<(Contents, Finished), Failure> {
    if check_given(path)? {
        output::aside(&format!(
            "Warning: {} holds secrets and may be read by everyone: `chmod 600` it",
            path.display()
        ));
    }
    let mut contents = Contents::default();
    let finished = records(path, |record| {
        contents.take(&record);
        Ok(())
    })?;
    Ok((contents, finished))
}

/// Gives the records of a backup one by one.
///
/// # Errors
/// It cannot be read, or is not as it was written; or `each` fails.
pub fn records(
    path: &Path,
    mut each: impl FnMut(Record) -> Result<(), Failure>,
) -> Result<Finished, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let (mut decoder, mut piece) = (Decoder::default(), vec![0; PIECE]);
    loop {
        let length = file.read(&mut piece).with_context(cannot)?;
        if length == 0 {
            return decoder.finish().map_err(|e| refused(path, &e));
        }
        decoder.push(&piece[..length]);
        while let Some(record) = decoder.record().map_err(|e| refused(path, &e))? {
            each(record)?;
        }
    }
}

fn refused(path: &Path, why: &ReadError) -> Failure {
    Failure::failed(format!("{} cannot be used: {why}", path.display()))
}

/// `of https://issuer, begun 2026-01-01T10:00:00Z, revision 7`
pub fn origin(finished: &Finished) -> String {
    let issuer = finished.header.issuer.as_ref().map(|issuer| format!("of {issuer}, ")).unwrap_or_default();
    format!("{issuer}begun {}, revision {}", timestamp(finished.header.time), finished.trailer.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_revision_of_a_key_counts_and_once() {
        let entry = |key: &str, revision| Entry { key: key.into(), value: "v".into(), revision };
        let mut contents = Contents::default();
        for record in [
            Record::Entry(entry("/registry/secrets/a/b", 9)),
            Record::Entry(entry("/registry/secrets/a/b", 3)),
            Record::Entry(entry("/registry/rbac.authorization.k8s.io/roles/a/b", 4)),
            Record::Entry(entry("/registry/rbac.authorization.k8s.io/roles/a/c", 4)),
            Record::Entry(entry("/tokensmith/issuers", 4)),
            Record::Entry(entry("/registry/nodes/n", 5)),
            Record::Deleted("/registry/nodes/n".into(), 6),
            Record::Deleted("/registry/secrets/a/b".into(), 8),
        ] {
            contents.take(&record);
        }
        assert_eq!(
            contents.told(),
            "3 objects (rbac.authorization.k8s.io/roles 2, secrets 1), 0 revocations, 0 issue records"
        );
        assert!(!contents.claim(&entry("/registry/secrets/a/b", 3)));
        assert!(contents.claim(&entry("/registry/secrets/a/b", 9)));
        assert!(!contents.claim(&entry("/registry/secrets/a/b", 9)), "once");
        assert!(!contents.claim(&entry("/registry/nodes/n", 5)), "it was deleted");
        assert!(contents.ring().unwrap().is_none());
    }
}
