//! A new database in the place of the old one: the first, one of a newer format, one that takes less room.

use super::judge::GROWN;
use super::{Folder, OpenError, Options, remove};
use crate::anchor::Anchor;
use crate::builder::Builder;
use crate::damage::{Trouble, Whole};
use crate::database::Database;
use crate::moment::Moment;
use crate::scan;
use crate::state::{State, StoreId};

/// What even an empty database takes, and some.
const LEAST: u64 = 1 << 20;

/// Makes a new database with the same records and puts it in the place of the other. That must be closed before: sled
/// removes blobs by their path when it likes, which would be the new one's.
pub(super) fn rewrite(
    folder: &Folder,
    options: &Options,
    db: Database,
    format: u32,
    state: State,
    live: u64,
) -> Result<(), OpenError> {
    let (needed, free) = (live.saturating_mul(GROWN).saturating_add(LEAST), folder.room().free);
    if free < needed {
        return Err(OpenError::NoRoom {
            dir: folder.dir.clone(),
            needed: needed.div_ceil(1 << 20),
            free: free >> 20,
        });
    }
    let mut builder = begin(folder, state.identity, options)?;
    let mut failed = None;
    let read = scan::all(&db, format, &mut |item| {
        if failed.is_none() {
            failed = builder.add(&item).err();
        }
    });
    if let Some(e) = failed.or(read.err()) {
        return Err(folder.fault(e));
    }
    let made = builder.end(state.objects.revision, state.ledger.sequence).map_err(|e| folder.build(e))?;
    if made != state {
        return Err(folder.damaged(vec![Trouble::Database("it reads in two ways".into())], Whole::default()));
    }
    let copy = db.is_copy();
    match db.close() {
        Err(e) if !copy => Err(folder.unopened(e)),
        _ => install(folder, state),
    }
}

/// Begins a new database, where [`install`] looks for it.
pub(crate) fn begin(folder: &Folder, identity: StoreId, options: &Options) -> Result<Builder, OpenError> {
    remove(&folder.copy()).map_err(|e| folder.io(e))?;
    Builder::begin(&folder.copy(), identity, options.ring, folder.point.clone()).map_err(|e| folder.fault(e))
}

/// First the anchor, then the database: a database that has no anchor is taken for damaged.
pub(crate) fn install(folder: &Folder, state: State) -> Result<(), OpenError> {
    folder.point.reach(Moment::BeforeNewAnchor);
    Anchor::open(&folder.dir, state, folder.point.clone()).map_err(|e| folder.fault(e))?;
    folder.point.reach(Moment::AfterNewAnchor);
    folder.swap().map_err(|e| folder.io(e))
}
