//! For tools: what is in a store's folder, whatever its state, and a new store from records.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokensmith_core::random;
use tokensmith_core::store::Revision;

use crate::anchor::{Anchor, FILE};
use crate::builder::{Builder, Record};
use crate::damage::{BadRecord, Trouble, Whole};
use crate::database::{Database, Fault};
use crate::open::{self, FORMAT, Folder, OpenError, Options};
use crate::scan::{self, Item, Tally, TreeStates};

/// What was found in a store's folder.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The layout's version, where the database says it.
    pub format: Option<u32>,
    /// The revision that the anchor has seen, where it can be read.
    pub anchored: Option<Revision>,
    /// What is wrong; empty for a store that starts.
    pub troubles: Vec<Trouble>,
    /// What verifies. Of a store of format 1, which has no checksums, what can be read.
    pub whole: Whole,
}

/// Whether a store that opens is brought to this format by that, as far as its folder tells: format 1 had no anchor.
pub fn is_of_format_1(dir: &Path) -> bool {
    Folder::new(dir).sled().exists() && !dir.join(FILE).exists()
}

/// Reads all that can be read of the store in `dir`, which nobody may have open. Gives each record that verifies, and
/// where those stand that do not. Works on a copy, in the same folder: the files stay as they are.
///
/// # Errors
/// There is no such folder, somebody has the store open, it is of a newer format, or there is no room for a copy. What is
/// damaged is no error: it is in what is given back.
pub fn examine(dir: &Path, each: &mut dyn FnMut(Result<Record, BadRecord>)) -> Result<Examined, OpenError> {
    examine_in(dir, None, each)
}

/// The same with the copy in another folder, if one is given: for a disk that is full or cannot be written.
///
/// # Errors
/// As [`examine`]'s.
pub fn examine_in(
    dir: &Path,
    scratch: Option<&Path>,
    each: &mut dyn FnMut(Result<Record, BadRecord>),
) -> Result<Examined, OpenError> {
    let io = |source| OpenError::Io { dir: dir.into(), source };
    fs::read_dir(dir).map_err(io)?;
    let folder = Folder::new(dir);
    let _lock = match open::take_lock(dir) {
        // Who cannot write there can hold no store there either; one who has it open is seen all the same.
        Err(OpenError::Io { .. }) if scratch.is_some() => held(dir)?,
        taken => Some(taken?),
    };
    if scratch.is_none() {
        // What a look that was killed has left: it may be what fills the disk.
        folder.clean().map_err(io)?;
    }
    let options = Options::default();
    let scratch = Folder::new(scratch.unwrap_or(dir));
    let attempt = |snapshot, each: &mut dyn FnMut(Item)| attempt(&folder, &scratch, &options, snapshot, each);
    // With sled's snapshot, which saves it reading its file, and without: one may show what the other does not. A start does
    // the same, and goes by the one that shows all.
    let mut best = attempt(true, &mut |_| {})?;
    let mut snapshot = true;
    if !best.troubles.is_empty() {
        let other = attempt(false, &mut |_| {})?;
        if other.troubles.is_empty() || other.whole.worth() > best.whole.worth() {
            (best, snapshot) = (other, false);
        }
    }
    attempt(snapshot, &mut |item| {
        if let Some(found) = Record::from_item(item) {
            each(found);
        }
    })?;
    Ok(best)
}

/// Holds a lock that cannot be written; there may be none.
fn held(dir: &Path) -> Result<Option<File>, OpenError> {
    let Ok(file) = File::open(dir.join("lock")) else { return Ok(None) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.into(), pid: None }),
        _ => Ok(Some(file)),
    }
}

/// A copy of the database, gone with this value whatever has come of it.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(e) = open::remove(&self.0) {
            tracing::warn!(cause = %e, "remove {}: it is a copy of the store", self.0.display());
        }
    }
}

fn attempt(
    folder: &Folder,
    scratch: &Folder,
    options: &Options,
    snapshot: bool,
    each: &mut dyn FnMut(Item),
) -> Result<Examined, OpenError> {
    let anchor = Anchor::read(&folder.dir);
    let mut troubles = Vec::new();
    match &anchor {
        Err(e) => troubles.push(Trouble::AnchorUnreadable(e.to_string())),
        Ok(None) => troubles.push(Trouble::AnchorMissing),
        Ok(Some(_)) => {}
    }
    let anchor = anchor.ok().flatten();
    let anchored = anchor.map(|a| a.objects.revision);
    let nothing = |mut troubles: Vec<Trouble>, trouble| {
        troubles.insert(0, trouble);
        Examined { format: None, anchored, troubles, whole: Whole::default() }
    };
    if !folder.sled().exists() {
        return Ok(nothing(troubles, Trouble::DatabaseMissing));
    }
    let again = || {
        let copy = Copy(scratch.opening());
        let looked = open::look_at(&folder.sled(), &copy.0, options.cache_bytes, snapshot);
        looked.map(|db| (copy, db)).map_err(|source| OpenError::Io { dir: scratch.dir.clone(), source })
    };
    // What is opened is closed before its copy goes.
    let (mut copy, db) = again()?;
    let db = match db {
        Ok(db) => db,
        Err(e) => return Ok(nothing(troubles, Trouble::Database(e.to_string()))),
    };
    let format = match scan::format(&db) {
        Ok(format) => format,
        Err(e) => return Ok(nothing(troubles, Trouble::Database(e.to_string()))),
    };
    if let Some(found) = format.filter(|f| *f > FORMAT) {
        return Err(OpenError::NewerFormat { dir: folder.dir.clone(), found });
    }
    let layout = format.unwrap_or(FORMAT);
    let said = TreeStates::read(&db).unwrap_or_default();
    let (mut tally, mut seen) = (Tally::default(), HashSet::new());
    let mut take = |item: Item| {
        // Seen from both ends.
        if !seen.insert(name(&item)) {
            return;
        }
        tally.count(&item, options.ring);
        each(item);
    };
    let mut faults = Vec::new();
    let mut db = Some(db);
    type Part = fn(&Database, u32, bool, scan::Each<'_>) -> Result<(), Fault>;
    for part in [scan::objects as Part, scan::ledger as Part] {
        for backwards in [false, true] {
            let Some(open) = db.as_ref() else { continue };
            let Err(e) = part(open, layout, backwards, &mut take) else { break };
            faults.push(Trouble::Database(e.to_string()));
            // One that has broken off is not asked again; a new copy is, from the other end.
            drop(db.take());
            let (next, opened) = again()?;
            (copy, db) = (next, opened.ok());
        }
    }
    drop(db);
    drop(copy);
    faults.dedup();
    if format.is_none() {
        faults.insert(0, Trouble::Database("it does not say its format".into()));
    }
    if layout == 1 {
        // There was no anchor yet.
        troubles.retain(|t| *t != Trouble::AnchorMissing);
        // One that is there already is of a migration that was cut off, or of a later database.
        troubles.extend(tally.judge_ring_1(anchor.as_ref()));
        troubles.extend((!snapshot).then(|| open::unproven(&folder.sled())).flatten());
        troubles.extend(faults);
        troubles.append(&mut tally.troubles);
        return Ok(Examined { format, anchored, troubles, whole: tally.whole });
    }
    let (found, whole) = tally.judge(&said, anchor.as_ref());
    troubles.extend(faults);
    troubles.extend(found);
    Ok(Examined { format, anchored, troubles, whole })
}

/// What tells records apart.
fn name(item: &Item) -> Vec<u8> {
    match item {
        Item::Bad(bad) => [b"b", bad.place.as_bytes()].concat(),
        Item::Ledger(_, key, _, _) => [b"l", &key[..]].concat(),
        Item::Object(entry, _) => [b"o", entry.key.as_bytes()].concat(),
    }
}

/// A new store from records.
pub struct Create {
    folder: Folder,
    builder: Builder,
    _lock: File,
}

impl Create {
    /// Begins one in `dir`, where no store is.
    ///
    /// # Errors
    /// [`OpenError::NotEmpty`]; or the folder cannot be made, or is somebody's just now.
    pub fn begin(dir: &Path) -> Result<Self, OpenError> {
        let folder = Folder::new(dir);
        let io = |source| OpenError::Io { dir: dir.into(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let lock = open::take_lock(dir)?;
        if folder.sled().exists() || folder.log().exists() || dir.join(FILE).exists() {
            return Err(OpenError::NotEmpty(dir.into()));
        }
        let builder = open::begin(&folder, random::bytes(), &Options::default())?;
        Ok(Create { folder, builder, _lock: lock })
    }

    /// Adds a record, each key once.
    ///
    /// # Errors
    /// The record is none that a store can hold, or the disk does not take it.
    pub fn add(&mut self, record: &Record) -> Result<(), OpenError> {
        self.builder.add(&record.to_item()?).map_err(|e| self.folder.fault(e))
    }

    /// Ends it, durably. It goes on after `revision`, or after the newest of its records if that is later.
    ///
    /// # Errors
    /// The disk does not take it: then there is no store in the folder.
    pub fn finish(self, revision: Revision) -> Result<(), OpenError> {
        let state = self.builder.end(revision, 0).map_err(|e| self.folder.build(e))?;
        open::install(&self.folder, state)
    }
}
