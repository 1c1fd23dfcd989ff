//! Whether all is there: every record is read and held against the anchor.

use std::path::Path;

use super::look::{is_full, look_or_open, open_itself};
use super::migrate::migrate;
use super::{FORMAT, Folder, OpenError, Options, Stood, rewrite};
use crate::anchor::AnchorError;
use crate::closed;
use crate::damage::{Trouble, Whole};
use crate::database::{self, Fault};
use crate::folder::{Aside, drop_snapshots, has_snapshot};
use crate::moment::Moment;
use crate::scan::{self, Item, Tally, TreeStates};
use crate::state::State;

/// A database that takes more than so many times what lives in it, and some, is copied.
pub(super) const GROWN: u64 = 3;
/// What a small database may take in any case; on a small disk an eighth of it.
const SPARE: u64 = 32 << 20;

/// Opens the database as its close has left it, or a copy of it, and reads all of it. One of an older format, or one that
/// takes much more room than what lives in it, is replaced.
///
/// sled's snapshot says where its pages are. All that is in it is in sled's file, too: where it is damaged and the file is
/// not, nothing is lost.
pub(super) fn judge(
    folder: &Folder,
    options: &Options,
    anchor: &Result<Option<State>, AnchorError>,
) -> Result<Stood, OpenError> {
    let closed = matches!(anchor, Ok(Some(state)) if closed::holds(folder, state));
    let first = match judge_by(folder, options, anchor, if closed { By::Itself } else { By::Copy }) {
        Err(OpenError::Damaged(first)) if has_snapshot(&folder.sled()).map_err(|e| folder.io(e))? => first,
        judged => return judged,
    };
    folder.clean().map_err(|e| folder.io(e))?;
    let stood = match judge_by(folder, options, anchor, By::FileAlone) {
        Ok(stood) => stood,
        // What is told is what shows more.
        Err(OpenError::Damaged(other)) if other.whole.worth() > first.whole.worth() => {
            return Err(OpenError::Damaged(other));
        }
        Err(_) => return Err(OpenError::Damaged(first)),
    };
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

/// What a database is judged by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Its own files: they are as its close has left them.
    Itself,
    /// A copy of them.
    Copy,
    /// A copy without sled's snapshot.
    FileAlone,
}

/// The same by one of these.
fn judge_by(
    folder: &Folder,
    options: &Options,
    anchor: &Result<Option<State>, AnchorError>,
    by: By,
) -> Result<Stood, OpenError> {
    let snapshot = by != By::FileAlone;
    let broken = |e: Fault| {
        // A disk that is slow or full says nothing of what is on it.
        if matches!(e, Fault::Hangs(_)) || is_full(&e) {
            return folder.unopened(e);
        }
        let troubles = unreadable(anchor).into_iter().chain([Trouble::Database(e.to_string())]);
        folder.damaged(troubles.collect(), Whole::default())
    };
    let mut aside = None;
    let db = match by {
        By::Itself => open_itself(folder, options).map_err(|e| folder.io(e))?,
        By::Copy | By::FileAlone => look_or_open(folder, options, snapshot, &mut aside)?,
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
        return Ok(Stood::new(migrate(folder, options, db, tally, anchor)?, live));
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
    // Not where there was no room for a copy.
    let may = db.is_copy() || by == By::Itself;
    if may && size > (GROWN * live.bytes).saturating_add(SPARE.min(folder.room().total / 8)) {
        tracing::info!(size, live = live.bytes, "the database is copied, to give space back");
        if let Err(e) = rewrite::rewrite(folder, options, db, format, state, live.bytes) {
            // Nothing is lost by it, as long as the old one is in its place.
            if !folder.sled().exists() {
                return Err(e);
            }
            tracing::warn!(error = %e, "the database could not be copied: it stays as it is");
        }
        return Ok(Stood { found: Some(found), ..Stood::new(state, live) });
    }
    let db = (!db.is_copy()).then_some(db);
    Ok(Stood { state, live, found: Some(found), db })
}

pub(super) fn unreadable(anchor: &Result<Option<State>, AnchorError>) -> Option<Trouble> {
    anchor.as_ref().err().map(|e| Trouble::AnchorUnreadable(e.to_string()))
}
