//! The names of everything below an agent's folder, and how deep it may go.

use std::fmt;
use std::time::Duration;

/// What was seen of key set and reviews, for those who ask without the lock.
pub const CHECKS: &str = ".checks.json";
pub(super) const CHECKS_TMP: &str = ".checks.json.tmp";
/// The agent's lock.
pub const LOCK: &str = ".lock";
/// Where it is found out what is permitted.
pub(super) const SCRATCH: &str = ".probe";

/// What the agent remembers of a pod, in the pod's folder.
pub const STATE: &str = "state.json";
pub(super) const STATE_TMP: &str = ".state.json.tmp";
/// A pod's volumes as its containers see them, in the pod's folder.
pub(super) const ROOTFS: &str = "rootfs";
/// A pod's volumes, in the pod's folder.
pub const VOLUMES: &str = "volumes";
/// In a container's folder: volumes that are shown in parts.
pub(super) const WHOLE: &str = "..volumes";

/// In a volume: the link that says which generation counts.
pub(super) const DATA: &str = "..data";
/// The link that is about to become it.
pub(super) const DATA_TMP: &str = "..data_tmp";
/// A link that is about to get its name.
pub(super) const LINK_TMP: &str = "..link_tmp";

/// How many elements a path may have. A descriptor is held for each when a set is compared or removed.
pub(super) const MAX_DEPTH: usize = 100;
/// How long a generation that no longer counts is kept for those who are reading it. The kubelet keeps none, so that
/// who has opened `..data` may find it empty.
pub const GRACE: Duration = Duration::from_secs(5);

/// A volume's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) volume: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.namespace, self.pod, VOLUMES, self.volume)
    }
}

/// The folders that a path needs: `a`, `a/b` for `a/b/c`.
pub(super) fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
