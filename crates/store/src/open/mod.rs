//! Opening: the lock, the format, whether all is there, what a crash left.
//!
//! ```text
//! STORE/lock      who has it
//! STORE/anchor    what must be there
//! STORE/sled      the database
//! STORE/closed    how the database was left by its close
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
//!
//! Where the files are as their own close has left them ([`closed`](crate::closed)) there is nothing to mend, and they are
//! opened themselves.

mod error;
mod judge;
mod look;
mod migrate;
mod options;
mod rewrite;
#[cfg(test)]
mod tests;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use tokensmith_core::random;
use tokensmith_core::store::Entry;

use crate::anchor::Anchor;
use crate::closed::{self, Said};
use crate::damage::{Trouble, Whole};
use crate::database::Database;
use crate::disk::Live;
pub(crate) use crate::folder::{Folder, remove, take_lock};
use crate::folder::{is_there, put_back};
use crate::log::Log;
use crate::moment::Moment;
use crate::scan::TreeStates;
use crate::state::State;
pub use error::OpenError;
pub(crate) use judge::unproven;
use judge::{judge, unreadable};
pub(crate) use look::look_at;
use look::open_itself;
pub use options::Options;
pub(crate) use rewrite::{begin, install};

/// The version of the layout that this program writes.
pub const FORMAT: u32 = 2;

/// A store that is open.
pub(crate) struct Opened {
    pub(crate) db: Arc<Database>,
    pub(crate) anchor: Arc<Anchor>,
    pub(crate) log: Log,
    pub(crate) lock: Arc<File>,
    pub(crate) live: Live,
    /// All that was read of it.
    pub(crate) found: Option<Vec<Entry>>,
}

/// What was found of a store.
struct Stood {
    /// What it holds.
    state: State,
    /// How large that is.
    live: Live,
    /// All that was read of it.
    found: Option<Vec<Entry>>,
    /// The database itself, where it is open already.
    db: Option<Database>,
}

impl Stood {
    /// One that is not open, and of which nothing was kept.
    fn new(state: State, live: Live) -> Self {
        Stood { state, live, found: None, db: None }
    }
}

/// Opens the store in `dir`, making it if there is none.
pub(crate) fn open(dir: &Path, options: &Options) -> Result<Opened, OpenError> {
    let folder = Folder::with(dir, options);
    // Whatever the umask, nobody else gets to the files in it, whose modes sled leaves to the umask.
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| folder.io(e))?;
    let lock = take_lock(dir)?;
    let lock = Arc::new(lock);
    let Stood { state, live, found, db } = ready(&folder, options)?;
    let db = match db {
        Some(db) => db,
        None => open_alike(&folder, options, &state)?,
    };
    let db = db.saying(Said::of(&folder, lock.clone()));
    closed::forget(&folder);
    folder.point.reach(Moment::AfterOpen);
    let anchor = Anchor::open(dir, state, folder.point.clone()).map_err(|e| folder.fault(e))?;
    let log = Log::open(&folder.log(), state.identity, state.objects.revision, options);
    folder.point.reach(Moment::AfterLog);
    Ok(Opened { db: Arc::new(db), anchor: Arc::new(anchor), log, lock, live, found })
}

/// Opens the database whose copy has shown that all is there; that it opens alike is seen by its state.
fn open_alike(folder: &Folder, options: &Options, state: &State) -> Result<Database, OpenError> {
    let db = open_itself(folder, options).map_err(|e| folder.io(e))?.map_err(|e| folder.unopened(e))?;
    if TreeStates::read(&db).map_err(|e| folder.fault(e))?.state() != Some(*state) {
        db.give_up();
        return Err(folder.damaged(vec![Trouble::Database("it opens in two ways".into())], Whole::default()));
    }
    Ok(db)
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
        return Ok(Stood::new(state, Live::default()));
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
