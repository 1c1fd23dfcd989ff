//! The moments of a start and of a write at which a test may let the process die. Without debug assertions nothing happens at them.

#[cfg(debug_assertions)]
use std::sync::Arc;

use crate::Options;

/// When it ends. The first two are of steps (`KillAt`); the next five are of the groups that the store's writers bring to
/// disk, objects or revocations; the others are of a start. Each is counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    #[cfg(debug_assertions)]
    Before,
    #[cfg(debug_assertions)]
    After,
    /// Before a group's batch is given to the database.
    BeforeBatch,
    /// The batch is applied, and perhaps on disk.
    AfterBatch,
    /// It is on disk, and the anchor knows nothing of it.
    AfterFlush,
    /// Half of the anchor is written.
    HalfAnchor,
    /// All is on disk, and nobody has been told.
    AfterAnchor,
    /// Before the database is copied to be looked at.
    BeforeCopy,
    /// The copy is there, and was not opened.
    AfterCopy,
    /// All was read, and all is there.
    AfterLook,
    /// There was no room for a copy, and the database's snapshots are set aside to open it without them.
    AfterAside,
    /// All was read so: what was set aside is removed.
    AfterGiveUp,
    /// Before a new database is made: the first one, one of a newer format, one that takes less room.
    BeforeBuild,
    /// Part of it is written.
    HalfBuild,
    /// It is made, and not in its place.
    AfterBuild,
    /// Before an anchor is made for it.
    BeforeNewAnchor,
    /// Half of that anchor is written.
    HalfNewAnchor,
    /// The anchor is there, the database is not.
    AfterNewAnchor,
    /// The old database has been renamed.
    HalfSwap,
    /// The new one is in its place, beside the old one.
    AfterSwap,
    /// Nothing is left of the old one, nor of what was looked at.
    AfterCleaning,
    /// The database itself is open.
    AfterOpen,
    /// The log, too.
    AfterLog,
}

#[cfg(debug_assertions)]
impl Moment {
    pub(crate) const ALL: [(&'static str, Moment); 23] = [
        ("before", Moment::Before),
        ("after", Moment::After),
        ("before-batch", Moment::BeforeBatch),
        ("after-batch", Moment::AfterBatch),
        ("after-flush", Moment::AfterFlush),
        ("half-anchor", Moment::HalfAnchor),
        ("after-anchor", Moment::AfterAnchor),
        ("before-copy", Moment::BeforeCopy),
        ("after-copy", Moment::AfterCopy),
        ("after-look", Moment::AfterLook),
        ("after-aside", Moment::AfterAside),
        ("after-give-up", Moment::AfterGiveUp),
        ("before-build", Moment::BeforeBuild),
        ("half-build", Moment::HalfBuild),
        ("after-build", Moment::AfterBuild),
        ("before-new-anchor", Moment::BeforeNewAnchor),
        ("half-new-anchor", Moment::HalfNewAnchor),
        ("after-new-anchor", Moment::AfterNewAnchor),
        ("half-swap", Moment::HalfSwap),
        ("after-swap", Moment::AfterSwap),
        ("after-cleaning", Moment::AfterCleaning),
        ("after-open", Moment::AfterOpen),
        ("after-log", Moment::AfterLog),
    ];
}

/// Where the process dies; nowhere, unless a test asks for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point {
    #[cfg(debug_assertions)]
    at: Option<Arc<crate::KillAt>>,
}

#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "nothing happens in a release"))]
impl Point {
    /// What the options ask for.
    pub(crate) fn new(options: &Options) -> Self {
        Point {
            #[cfg(debug_assertions)]
            at: options.kill_at.clone(),
        }
    }

    /// A moment has come. Does not return if the process is to end here.
    pub(crate) fn reach(&self, moment: Moment) {
        #[cfg(debug_assertions)]
        if let Some(at) = &self.at {
            at.group(moment);
        }
    }

    /// Whether the process is to end when this moment is reached.
    pub(crate) fn is_next(&self, moment: Moment) -> bool {
        #[cfg(debug_assertions)]
        let is_next = self.at.as_ref().is_some_and(|at| at.is_next(moment));
        #[cfg(not(debug_assertions))]
        let is_next = false;
        is_next
    }
}
