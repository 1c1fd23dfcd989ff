//! Whether there is room on the disk. Asked before each write, because sled must never find out itself: a write of its own
//! that fails leaves it unusable until a restart, and whoever waits for it waiting.
//!
//! ```text
//!   0 ──── FLOOR ────────────── RESERVE / 2 ──── RESERVE ──────► free
//!     none   │ revocations, keys │ deletes, too  │ everything
//! ```
//!
//! A quota is not seen by this: a write that comes upon one fails, and makes an end of writing until a restart.
//! Nothing is remembered: once there is room again, everything is taken again.

use std::fs::File;
use std::path::Path;

/// The disk that a store is on.
pub(crate) struct Space {
    /// Held open: the question is about where the store is, whatever becomes of its path.
    dir: File,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// What frees space, in the end: first it costs some, for the log of changes keeps what was deleted.
    Delete,
    /// What safety needs: revocations, key steps.
    Reserved,
    /// Everything else.
    Usual,
}

/// What there is, as it was when it was asked for; bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    free: u64,
    total: u64,
}

/// So much is left for what is not [`Need::Usual`]; on a small disk an eighth of it.
const RESERVE: u64 = 32 << 20;
/// So much is never used: sled writes a little of its own, in segments of half a MiB. A 32nd of a small disk.
const FLOOR: u64 = 8 << 20;
/// A value is written to the database and to the log of changes, with what it was before, and both are rewritten when space
/// is gathered.
const TIMES: u64 = 4;

/// Why nothing is written.
pub(crate) const FULL: &str = "no space left on device, but for revocations and keys: free some";

impl Space {
    /// The disk of a folder.
    pub(crate) fn of(dir: &Path) -> std::io::Result<Self> {
        Ok(Space { dir: File::open(dir)? })
    }

    /// What there is now. A file system that does not say is taken to have enough.
    pub(crate) fn room(&self) -> Room {
        let Ok(found) = rustix::fs::fstatvfs(&self.dir) else {
            return Room { free: u64::MAX, total: u64::MAX };
        };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) }
    }
}

impl Room {
    /// Whether so many bytes may be written.
    pub(crate) fn has(&self, bytes: usize, need: Need) -> bool {
        let (most, share) = match need {
            Need::Delete => (RESERVE / 2, 16),
            Need::Reserved => (FLOOR, 32),
            Need::Usual => (RESERVE, 8),
        };
        let kept = most.min(self.total.checked_div(share).unwrap_or(0));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(TIMES);
        self.free >= kept.saturating_add(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn room(free: usize, total: usize) -> Room {
        Room { free: (free * MIB) as u64, total: (total * MIB) as u64 }
    }

    #[test]
    fn what_safety_needs_has_room_when_nothing_else_has() {
        for (free, total, usual, reserved) in [
            (1000, 1000, true, true),
            (36, 1000, true, true),
            (35, 1000, false, true),
            (12, 1000, false, true),
            (11, 1000, false, false),
            (0, 1000, false, false),
            (12, 64, true, true),
            (11, 64, false, true),
            (6, 64, false, true),
            (5, 64, false, false),
        ] {
            let room = room(free, total);
            let found = (room.has(MIB, Need::Usual), room.has(MIB, Need::Reserved));
            assert!(usual <= room.has(MIB, Need::Delete) && room.has(MIB, Need::Delete) <= reserved);
            assert_eq!(found, (usual, reserved), "{free} of {total}");
        }
    }

    #[test]
    fn no_size_overflows() {
        assert!(!room(1000, 1000).has(usize::MAX, Need::Reserved));
        assert!(Room { free: u64::MAX, total: u64::MAX }.has(MIB, Need::Usual));
    }

    #[test]
    fn a_folder_tells_of_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Space::of(dir.path()).unwrap().room().total > 0);
    }
}
