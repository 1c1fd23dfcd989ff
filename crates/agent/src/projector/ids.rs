//! What things are called by. None is given again within a process, so that an answer that comes late finds nobody else.

use std::fmt;
use std::sync::Arc;

/// A pod by its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod's incarnation in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PodId(pub(super) u64);

/// A token file of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TokenId {
    pub(super) pod: PodId,
    pub(super) volume: usize,
    pub(super) token: usize,
}

/// A source while it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SourceId(pub(super) u64);

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedId {
    /// One pod that is named.
    Pod(u64),
    /// Pods that are selected.
    Pods,
    Source(SourceId),
}

/// An entry of the agenda. (Tokens are on the refresher's own.)
#[derive(Debug)]
pub(super) enum Task {
    /// A volume may be an alarm.
    Alarm(PodId, usize),
    /// The disk is to be tried again.
    Disk(Arc<PodName>),
    /// A feed is to be read, if it is still its turn.
    Feed(FeedId, u64),
    /// The issuer's key set is to be looked at.
    Keys,
    /// That pods cannot be listed may be an alarm.
    Listing,
    /// All files are to be looked for.
    Look,
    /// A fixed pod's UID is to be asked for.
    Resolve(Arc<PodName>),
    /// A token is to be reviewed.
    Review,
    /// What was kept for readers is to go.
    Sweep,
}
