//! The moments of a write at which a test may let the process die. Without debug assertions nothing happens at them.

#[cfg(debug_assertions)]
use std::sync::Arc;

use crate::Options;

/// When it ends. The first two are of steps (`KillAt`); the others are of the groups that the store's writers bring to
/// disk, objects or revocations, which are counted from 1 as well.
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
}

#[cfg(debug_assertions)]
impl Moment {
    pub(crate) const ALL: [(&'static str, Moment); 7] = [
        ("before", Moment::Before),
        ("after", Moment::After),
        ("before-batch", Moment::BeforeBatch),
        ("after-batch", Moment::AfterBatch),
        ("after-flush", Moment::AfterFlush),
        ("half-anchor", Moment::HalfAnchor),
        ("after-anchor", Moment::AfterAnchor),
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

    /// A group has come to a moment. Does not return if the process is to end here.
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
