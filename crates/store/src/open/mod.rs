//! Opening: the lock, the format, whether all is there, what a crash left.
//!
//! ```text
//! STORE/lock      who has it
//! STORE/anchor    what must be there
//! STORE/sled      the database
//! STORE/log       the changes, for watchers
//! STORE/opening-N a copy that is looked at first
//! STORE/copy      a new database that is being made, then put in the place of the other
//! STORE/old       the one that was replaced
//! ```
//!
//! sled mends what it opens: it overwrites what it cannot read. So a copy is opened, and every record of it read and held
//! against the anchor; only when all is there are the files themselves touched. A store that is damaged stays as it is,
//! unless its disk has no room for the copy: then the files themselves are opened, for a full disk must not keep a server
//! from starting that could make room. It is judged alike, but where it is damaged sled may have mended some of it before.

mod rewrite;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokensmith_core::Supervisor;
use tokensmith_core::ledger::LedgerError;
use tokensmith_core::random;
use tokensmith_core::store::{Entry, StoreError};

use crate::anchor::{Anchor, AnchorError};
use crate::damage::{Damage, Trouble, Whole};
use crate::database::{self, Database, Fault};
use crate::disk::Live;
use crate::folder::{Aside, copy, drop_snapshots, drop_unfinished, has_snapshot, is_there, put_back};
pub(crate) use crate::folder::{Folder, remove, take_lock};
use crate::log::Log;
use crate::moment::Moment;
use crate::scan::{self, Item, Tally, TreeStates};
use crate::state::{Objects, State};
pub(crate) use rewrite::{begin, install};

/// The version of the layout that this program writes.
pub const FORMAT: u32 = 2;

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for sled's page cache, bytes.
    pub cache_bytes: u64,
    /// How many changes are kept for watchers, at most.
    pub history: usize,
    /// How many bytes of changes are kept for watchers on disk, at most.
    pub history_bytes: u64,
    /// How many bytes of changes are kept for watchers in memory, at most.
    pub history_memory: usize,
    /// The key of the record whose checksum stands apart, so that its loss is told by name.
    pub ring: &'static str,
    /// What begins so may use the room that is kept for it on a full disk.
    pub reserved: &'static str,
    /// Watches the writers.
    pub supervisor: Arc<Supervisor>,
    /// How large a test has the disk be.
    #[cfg(debug_assertions)]
    pub disk_bytes: Option<u64>,
    /// Where a test lets the process die.
    #[cfg(debug_assertions)]
    pub kill_at: Option<Arc<crate::KillAt>>,
}

impl Default for Options {
    /// 64 MiB of cache (sled's own default is 1 GiB); 10,000 changes, 48 MiB of them on disk and 16 MiB in memory. So the
    /// folder takes no more than three times what lives in it and 64 MiB: sled's file has up to 16 MiB that are free.
    fn default() -> Self {
        Options {
            cache_bytes: 64 << 20,
            history: 10_000,
            history_bytes: 48 << 20,
            history_memory: 16 << 20,
            ring: tokensmith_core::keys::RING_KEY,
            reserved: "/tokensmith/",
            supervisor: Supervisor::alone(),
            #[cfg(debug_assertions)]
            disk_bytes: None,
            #[cfg(debug_assertions)]
            kill_at: None,
        }
    }
}

/// Why a database cannot be opened. Nothing has been changed then, but for what sled mends where the disk has no room for a
/// copy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is there is not what was written.
    #[error(transparent)]
    Damaged(Box<Damage>),
    /// It is open, in another process or in this one.
    #[error("{} is in use by {}", dir.display(), holder(*pid))]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who, if the lock file says so.
        pid: Option<u32>,
    },
    /// The directory cannot be made or read.
    #[error("cannot use {}", dir.display())]
    Io {
        /// The directory or file.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A newer version of this program wrote it.
    #[error("{} has store format {found}, this program knows {FORMAT}: use the newer tokensmith that wrote it", dir.display())]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// There is no room for a new database beside the old one.
    #[error("no room in {} for a copy of the database: {needed} MiB must be free, {free} MiB are", dir.display())]
    NoRoom {
        /// The directory.
        dir: PathBuf,
        /// What a copy takes at most, MiB.
        needed: u64,
        /// What there is, MiB.
        free: u64,
    },
    /// There is one already.
    #[error("there is a store in {} already", .0.display())]
    NotEmpty(PathBuf),
    /// A record cannot be written.
    #[error("a record cannot be written")]
    Record(#[source] LedgerError),
    /// The disk does not answer, or is much too slow.
    #[error("cannot open the database in {}; it is not known to be damaged: look at the disk and try again", dir.display())]
    Slow {
        /// The directory.
        dir: PathBuf,
        /// How long it was waited for.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database itself does not open.
    #[error("cannot open the database in {}", dir.display())]
    Database {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is in it cannot be read.
    #[error("cannot read the database")]
    Store(#[from] StoreError),
    /// No thread for the writer.
    #[error("cannot start the store's writer")]
    Thread(#[source] io::Error),
}

/// Who has it.
fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => {
            "a server of this very process, which runs or is being closed: `stop` it, and wait for that"
                .into()
        }
        Some(pid) => format!("another process (pid {pid})"),
        None => "another process".into(),
    }
}

/// A store that is open.
pub(crate) struct Opened {
    pub(crate) db: Arc<Database>,
    pub(crate) anchor: Arc<Anchor>,
    pub(crate) log: Log,
    pub(crate) lock: File,
    pub(crate) live: Live,
    /// All that was read of it.
    pub(crate) found: Option<Vec<Entry>>,
}

/// What a store holds, how large it is, and what was read of it.
type Stood = (State, Live, Option<Vec<Entry>>);

/// Opens the store in `dir`, making it if there is none.
pub(crate) fn open(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    let folder = Folder::with(dir, options);
    // Whatever the umask, nobody else gets to the files in it, whose modes sled leaves to the umask.
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| folder.io(e))?;
    let lock = take_lock(dir)?;
    let (state, live, found) = ready(&folder, options)?;
    drop_unfinished(&folder.sled()).map_err(|e| folder.io(e))?;
    let db = Database::open(&folder.sled(), options.cache_bytes).map_err(|e| folder.unopened(e))?;
    // The copy has shown that all is there; that these files open alike is seen by their state.
    if TreeStates::read(&db).map_err(|e| folder.fault(e))?.state() != Some(state) {
        db.give_up();
        return Err(folder.damaged(vec![Trouble::Database("it opens in two ways".into())], Whole::default()));
    }
    folder.point.reach(Moment::AfterOpen);
    let anchor = Anchor::open(dir, state, folder.point.clone()).map_err(|e| folder.fault(e))?;
    let log = Log::open(&folder.log(), state.identity, state.objects.revision, options);
    folder.point.reach(Moment::AfterLog);
    Ok(Opened { db: Arc::new(db), anchor: Arc::new(anchor), log, lock, live, found })
}

/// Sees to it that there is a database that can be opened, and says what it holds.
fn ready(folder: &Folder, options: &Options) -> Result<Stood, OpenError> {
    let anchor = Anchor::read(&folder.dir);
    // A crash between the two renames of a swap.
    if !folder.sled().exists() && folder.copy().exists() && folder.old().exists() {
        fs::rename(folder.copy(), folder.sled()).map_err(|e| folder.io(e))?;
    }
    folder.clean().map_err(|e| folder.io(e))?;
    if !is_there(&folder.sled()) {
        // A store in which nothing has been written yet may have been cut off while it was made.
        let begun = match &anchor {
            Ok(None) if is_there(&folder.log()) || folder.old().exists() => None,
            Ok(None) => Some(random::bytes()),
            Ok(Some(state)) if *state == (State { identity: state.identity, ..State::default() }) => {
                Some(state.identity)
            }
            _ => None,
        };
        let Some(identity) = begun else {
            let mut troubles = vec![Trouble::DatabaseMissing];
            troubles.extend(unreadable(&anchor));
            return Err(folder.damaged(troubles, Whole::default()));
        };
        remove(&folder.sled()).map_err(|e| folder.io(e))?;
        let builder = begin(folder, identity, options)?;
        let state = builder.end(0, 0).map_err(|e| folder.build(e))?;
        install(folder, state)?;
        return Ok((state, Live::default(), None));
    }
    put_back(&folder.sled()).map_err(|e| folder.io(e))?;
    let done = judge(folder, options, &anchor);
    // Whatever came of it, the copy has served.
    let cleaned = folder.clean();
    let stood = done?;
    cleaned
        .and_then(|()| remove(&folder.copy()))
        .and_then(|()| remove(&folder.old()))
        .map_err(|e| folder.io(e))?;
    folder.point.reach(Moment::AfterCleaning);
    Ok(stood)
}

/// Opens a copy of the database and reads all of it. One of an older format, or one that takes much more room than what
/// lives in it, is replaced.
///
/// sled's snapshot says where its pages are. All that is in it is in sled's file, too: where it is damaged and the file is
/// not, nothing is lost.
fn judge(
    folder: &Folder,
    options: &Options,
    anchor: &Result<Option<State>, AnchorError>,
) -> Result<Stood, OpenError> {
    let first = judge_by(folder, options, anchor, true);
    if !matches!(first, Err(OpenError::Damaged(_)))
        || !has_snapshot(&folder.sled()).map_err(|e| folder.io(e))?
    {
        return first;
    }
    folder.clean().map_err(|e| folder.io(e))?;
    let Ok(stood) = judge_by(folder, options, anchor, false) else { return first };
    tracing::warn!(
        "the database's snapshot was damaged and is removed: all was read without it, and nothing that was acknowledged is \
         lost but, perhaps, issue records, which are not counted"
    );
    Ok(stood)
}

/// What keeps a database from being taken for whole that was read without its snapshot. None has it whose records can be
/// held against an anchor.
pub(crate) fn unproven(sled: &Path) -> Option<Trouble> {
    let damaged = "its snapshot cannot be read, and in format 1 nothing else shows that all is there";
    has_snapshot(sled).unwrap_or(true).then(|| Trouble::Database(damaged.into()))
}

/// The same with sled's snapshot, or without.
fn judge_by(
    folder: &Folder,
    options: &Options,
    anchor: &Result<Option<State>, AnchorError>,
    snapshot: bool,
) -> Result<Stood, OpenError> {
    let broken = |e: Fault| {
        // A disk that is slow or full says nothing of what is on it.
        if matches!(e, Fault::Hangs(_)) || is_full(&e) {
            return folder.unopened(e);
        }
        let troubles = unreadable(anchor).into_iter().chain([Trouble::Database(e.to_string())]);
        folder.damaged(troubles.collect(), Whole::default())
    };
    let mut aside = None;
    folder.point.reach(Moment::BeforeCopy);
    let db = match look(folder, options.cache_bytes, snapshot) {
        Err(OpenError::Io { source, .. }) if ends(&source) => {
            // First the room back, then the word: the log may go to the same disk.
            folder.clean().map_err(|e| folder.io(e))?;
            tracing::warn!("there is no room for a copy of the database: it is opened itself");
            drop_unfinished(&folder.sled()).map_err(|e| folder.io(e))?;
            if !snapshot {
                aside = Some(Aside::begin(&folder.sled()).map_err(|e| folder.io(e))?);
                folder.point.reach(Moment::AfterAside);
            }
            Database::open(&folder.sled(), options.cache_bytes)
        }
        looked => looked?,
    };
    let db = db.map_err(broken)?;
    let format = scan::format(&db).map_err(broken)?;
    let Some(format) = format.filter(|f| *f > 0) else {
        // Each store says its format from the first moment on: what was here is gone.
        let troubles = unreadable(anchor).into_iter().chain([Trouble::Database("it holds nothing".into())]);
        return Err(folder.damaged(troubles.collect(), Whole::default()));
    };
    if format > FORMAT {
        return Err(OpenError::NewerFormat { dir: folder.dir.clone(), found: format });
    }
    let mut tally = Tally::default();
    let mut found = Vec::new();
    let read = scan::all(&db, format, &mut |item| {
        tally.count(&item, options.ring);
        if let Item::Object(entry, _) = item {
            found.push(entry);
        }
    });
    if let Err(e) = read {
        tally.troubles.push(Trouble::Database(e.to_string()));
    }
    let (live, damaged) = (tally.live, tally.whole.issued_damaged);
    if damaged > 0 {
        tracing::warn!(count = damaged, "issue records that cannot be read are left out");
    }
    if format == 1 {
        if let Some(trouble) = (!snapshot).then(|| unproven(&folder.sled())).flatten() {
            return Err(folder.damaged(vec![trouble], tally.whole));
        }
        folder.point.reach(Moment::AfterLook);
        return Ok((migrate(folder, options, db, tally, anchor)?, live, None));
    }
    let said = TreeStates::read(&db).map_err(broken)?;
    let mut troubles: Vec<_> = unreadable(anchor).into_iter().collect();
    if matches!(anchor, Ok(None)) {
        troubles.push(Trouble::AnchorMissing);
    }
    let anchor = anchor.as_ref().ok().copied().flatten();
    let (more, whole) = tally.judge(&said, anchor.as_ref());
    troubles.extend(more);
    let Some(state) = said.state().filter(|_| troubles.is_empty()) else {
        if troubles.is_empty() {
            troubles.push(Trouble::OtherStore);
        }
        return Err(folder.damaged(troubles, whole));
    };
    if let Some(anchor) = anchor.filter(|a| *a != state) {
        // A crash between flush and anchor. The records verify, so the anchor follows.
        tracing::warn!(
            revision = state.objects.revision,
            anchor = anchor.objects.revision,
            "the store was not closed: its anchor is brought forward"
        );
    }
    folder.point.reach(Moment::AfterLook);
    if !snapshot {
        aside.map_or(Ok(()), Aside::give_up).map_err(|e| folder.io(e))?;
        folder.point.reach(Moment::AfterGiveUp);
        drop_snapshots(&folder.sled()).map_err(|e| folder.io(e))?;
    }
    let size = database::size(&folder.sled());
    // Not while the database itself is open.
    if db.is_copy() && size > (GROWN * live.bytes).saturating_add(SPARE.min(folder.room().total / 8)) {
        tracing::info!(size, live = live.bytes, "the database is copied, to give space back");
        if let Err(e) = rewrite::rewrite(folder, options, db, format, state, live.bytes) {
            // Nothing is lost by it, as long as the old one is in its place.
            if !folder.sled().exists() {
                return Err(e);
            }
            tracing::warn!(error = %e, "the database could not be copied: it stays as it is");
        }
    }
    Ok((state, live, Some(found)))
}

/// A database that takes more than so many times what lives in it, and some, is copied.
const GROWN: u64 = 3;
/// What a small database may take in any case; on a small disk an eighth of it.
const SPARE: u64 = 32 << 20;
/// What is left free beside a copy.
const MARGIN: u64 = 4 << 20;

/// The disk takes no more.
fn ends(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn is_full(e: &Fault) -> bool {
    matches!(e, Fault::Sled(sled::Error::Io(e)) if ends(e))
}

/// Brings a store of format 1, which has neither checksums nor an anchor, to this one.
fn migrate(
    folder: &Folder,
    options: &Options,
    db: Database,
    mut tally: Tally,
    anchor: &Result<Option<State>, AnchorError>,
) -> Result<State, OpenError> {
    let revision = scan::revision_1(&db).map_err(|e| folder.fault(e))?;
    let state = State { objects: tally.state.objects, ledger: tally.state.ledger, ..State::default() };
    let mut troubles = std::mem::take(&mut tally.troubles);
    if tally.whole.revision > revision {
        let (anchor, found) = (tally.whole.revision, revision);
        troubles.push(Trouble::Behind { what: crate::damage::What::Objects, anchor, found });
    }
    let identity = match anchor {
        Ok(None) => random::bytes(),
        // Cut off after its anchor was made: the same must come of it again.
        Ok(Some(found)) => {
            let found = *found;
            let again = State { identity: found.identity, ..state };
            let again = State { objects: Objects { revision, ..again.objects }, ..again };
            // An older tokensmith, which knows no anchor, may have gone on from there: it is done again. Not if a server has
            // run on format 2 since, which begins with a log, and writes revocations in numbered groups: this would be
            // an older database put beside it.
            let unused = found.ledger.sequence == 0 && !folder.log().exists();
            let later = revision > found.objects.revision
                || again.objects == found.objects && again.ledger.sum.count > found.ledger.sum.count;
            if again != found && !(unused && later) {
                troubles.push(Trouble::OtherStore);
            }
            found.identity
        }
        Err(e) => {
            troubles.push(Trouble::AnchorUnreadable(e.to_string()));
            random::bytes()
        }
    };
    if !troubles.is_empty() {
        return Err(folder.damaged(troubles, tally.whole));
    }
    tracing::info!(revision, "the store is brought to format {FORMAT}");
    let state = State { identity, objects: Objects { revision, ..state.objects }, ledger: state.ledger };
    rewrite::rewrite(folder, options, db, 1, state, tally.live.bytes)?;
    Ok(state)
}

/// Opens a copy of the database, so that the files stay as they are. sled's snapshot saves it reading its whole file. What
/// a copy takes shows only when it is made: file systems that share blocks have room for any.
pub(crate) fn look(
    folder: &Folder,
    cache_bytes: u64,
    snapshot: bool,
) -> Result<Result<Database, Fault>, OpenError> {
    let opening = folder.opening();
    copy_of(&folder.sled(), &opening, snapshot).map_err(|e| folder.io(e))?;
    folder.point.reach(Moment::AfterCopy);
    // sled writes a little where it opens, and must not find the disk full by it.
    if folder.room().free < MARGIN {
        return Err(folder.io(io::ErrorKind::StorageFull.into()));
    }
    match Database::open_copy(&opening, cache_bytes) {
        Err(e) if is_full(&e) => Err(folder.io(io::ErrorKind::StorageFull.into())),
        opened => Ok(opened),
    }
}

/// The same of a copy at a place of the caller's, who removes it.
pub(crate) fn look_at(
    sled: &Path,
    opening: &Path,
    cache_bytes: u64,
    snapshot: bool,
) -> io::Result<Result<Database, Fault>> {
    copy_of(sled, opening, snapshot)?;
    Ok(Database::open_copy(opening, cache_bytes))
}

fn copy_of(sled: &Path, to: &Path, snapshot: bool) -> io::Result<()> {
    copy(sled, to)?;
    put_back(to)?;
    if snapshot { drop_unfinished(to) } else { drop_snapshots(to) }
}

fn unreadable(anchor: &Result<Option<State>, AnchorError>) -> Option<Trouble> {
    anchor.as_ref().err().map(|e| Trouble::AnchorUnreadable(e.to_string()))
}

#[cfg(test)]
mod tests;
