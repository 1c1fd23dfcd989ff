//! The database is opened, or a copy in its place.

use std::io;
use std::path::Path;

use super::{Folder, OpenError, Options};
use crate::database::{Database, Fault};
use crate::folder::{Aside, copy, drop_snapshots, drop_unfinished, put_back};
use crate::moment::Moment;

/// What is left free beside a copy.
const MARGIN: u64 = 4 << 20;

/// Opens the database itself.
pub(super) fn open_itself(folder: &Folder, options: &Options) -> io::Result<Result<Database, Fault>> {
    drop_unfinished(&folder.sled())?;
    Ok(Database::open(&folder.sled(), options.cache_bytes))
}

/// Opens a copy, or the database itself where there is no room for one: then its snapshots are set aside, if they are not to
/// be read.
pub(super) fn look_or_open(
    folder: &Folder,
    options: &Options,
    snapshot: bool,
    aside: &mut Option<Aside>,
) -> Result<Result<Database, Fault>, OpenError> {
    folder.point.reach(Moment::BeforeCopy);
    match look(folder, options.cache_bytes, snapshot) {
        Err(OpenError::Io { source, .. }) if no_room(&source) => {
            // First the room back, then the word: the log may go to the same disk.
            folder.clean().map_err(|e| folder.io(e))?;
            tracing::warn!("there is no room for a copy of the database: it is opened itself");
            if !snapshot {
                drop_unfinished(&folder.sled()).map_err(|e| folder.io(e))?;
                *aside = Some(Aside::begin(&folder.sled()).map_err(|e| folder.io(e))?);
                folder.point.reach(Moment::AfterAside);
            }
            open_itself(folder, options).map_err(|e| folder.io(e))
        }
        looked => looked,
    }
}

/// Opens a copy of the database, so that the files stay as they are. sled's snapshot saves it reading its whole file. What
/// a copy takes shows only when it is made: file systems that share blocks have room for any.
fn look(folder: &Folder, cache_bytes: u64, snapshot: bool) -> Result<Result<Database, Fault>, OpenError> {
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

/// The disk takes no more.
fn no_room(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn is_full(e: &Fault) -> bool {
    matches!(e, Fault::Sled(sled::Error::Io(e)) if no_room(e))
}
