//! Whether there is room. Asked before each write, because sled must never find out itself: a write of its own that fails
//! leaves it unusable until a restart, and whoever waits for it waiting.
//!
//! ```text
//!   0 ──── 2/8 ─────────────── 3/8 ──────────── 6/8 ───────────────────────── SHARE ──────► free
//!     none  │ revocations, keys │ deletes, too  │ what makes nothing larger    │ everything
//! ```
//!
//! Whatever was let in can be replaced by a value as large, for many deletions begin with that, and can be deleted; and once all
//! is gone, it is let in again. So each step leaves what the next ones take, reckoned for the largest value that there is: a
//! create leaves an update of it, and that leaves the deletes, and a create of it.
//!
//! sled gives little back of what is deleted: it uses the room inside its file again. What is likely to be free there
//! counts ([`Room::likely`], [`Room::sure`]), and yet no write is let through that would not fit on the disk outside of it:
//! nor one that would take there what is kept for revocations and keys.
//!
//! A quota is not seen by this: a write that comes upon one fails, and makes an end of writing until a restart.
//! Nothing is remembered of a refusal: once there is room again, everything is taken again.

use std::fs::File;
use std::path::Path;

/// The disk that a store is on.
pub(crate) struct Space {
    /// Held open: the question is about where the store is, whatever becomes of its path.
    dir: File,
    /// The folder, and how large a test has its disk be.
    #[cfg(debug_assertions)]
    small: Option<(std::path::PathBuf, u64)>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// What frees room, in the end: first it costs some.
    Delete,
    /// What safety needs: revocations, key steps.
    Reserved,
    /// A value that takes the place of one as large: many deletes begin with that, and ends of namespaces.
    Update,
    /// Everything else.
    Usual,
}

/// What there is, as it was when it was asked for; bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// On the disk.
    pub(crate) free: u64,
    pub(crate) total: u64,
    /// What the database takes.
    pub(crate) used: u64,
    /// How much of that is free: so much was deleted since it has grown last.
    pub(crate) likely: u64,
    /// The same, reckoned from what lives in it at most so many times over.
    pub(crate) sure: u64,
    /// How large the largest value in it is, with its key.
    pub(crate) largest: u64,
}

/// So much is left for what is not [`Need::Usual`]; on a small disk an eighth of it. And an eighth of what the database
/// takes: before deletes here and there give back whole segments of sled's file, it grows by as much at most (measured).
const SHARE: u64 = 32 << 20;
/// sled writes a little of its own, in segments of this size.
const SEGMENT: u64 = 512 << 10;
/// A write has sled write a page with the records beside it, now and then.
const PAGE: u64 = 16 << 10;

/// Why nothing is written.
pub(crate) const FULL: &str =
    "no space left on device, but for deletes, revocations and keys: delete something or free some";
/// Why not even that is written.
pub(crate) const FULLER: &str = "no space left on device: free some";

/// What a change costs in the database, at most: a new value with what is written of its pages while it is put together, of an
/// old one the pages that it leaves.
pub(crate) fn cost(new: u64, old: u64) -> u64 {
    new.saturating_mul(5).saturating_add(old).div_ceil(2).saturating_add(PAGE)
}

impl Space {
    /// The disk of a folder.
    pub(crate) fn of(dir: &Path) -> std::io::Result<Self> {
        Ok(Space {
            dir: File::open(dir)?,
            #[cfg(debug_assertions)]
            small: None,
        })
    }

    /// A disk that holds the folder alone.
    #[cfg(debug_assertions)]
    pub(crate) fn small(mut self, dir: &Path, bytes: Option<u64>) -> Self {
        self.small = bytes.map(|bytes| (dir.into(), bytes));
        self
    }

    /// What there is now. A file system that does not say is taken to have enough.
    pub(crate) fn room(&self) -> Room {
        #[cfg(debug_assertions)]
        if let Some((dir, total)) = &self.small {
            let free = total.saturating_sub(crate::database::size(dir));
            return Room { free, total: *total, ..Room::UNKNOWN };
        }
        let Ok(found) = rustix::fs::fstatvfs(&self.dir) else {
            return Room::UNKNOWN;
        };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks), ..Room::UNKNOWN }
    }
}

impl Room {
    /// A file system that does not say.
    pub(crate) const UNKNOWN: Room =
        Room { free: u64::MAX, total: u64::MAX, used: 0, likely: 0, sure: 0, largest: 0 };

    /// The same once a value of this size is there.
    pub(crate) fn with(self, len: u64) -> Self {
        Room { largest: self.largest.max(len), ..self }
    }

    /// Whether what costs so much may be written.
    pub(crate) fn has(&self, cost: u64, need: Need) -> bool {
        let eighth = self.eighth();
        let (bare, cost) = (cost, cost.saturating_add(if cost > 0 { SEGMENT } else { 0 }));
        let inside = self.likely.max(self.sure);
        let leaves = |inside: u64, left: u64| self.free.saturating_add(inside) >= left.saturating_add(cost);
        // What must be left on the disk, and with that which is free inside.
        let (disk, enough) = match need {
            Need::Reserved => (eighth * 2, true),
            Need::Delete => (eighth * 3, leaves(inside, eighth * 4)),
            Need::Update => (self.updated(), leaves(inside, self.updated().saturating_add(self.used / 16))),
            Need::Usual => {
                let all = (eighth * 8).saturating_add(self.used / 8);
                (eighth * 8, leaves(inside, all) && self.leaves_update(cost))
            }
        };
        let fits = enough && self.free >= disk.saturating_add(cost);
        // sled's file has no reason to grow. It has, now and then, where much comes at once: not into what safety needs.
        let floor = if need == Need::Reserved { eighth * 2 } else { eighth * 3 };
        let fits_inside =
            self.sure >= cost && self.free >= floor.saturating_add(bare) && (enough || need == Need::Delete);
        fits || fits_inside
    }

    /// Whether an update of the largest value fits after a create that costs so much. What is likely to be free inside counts for
    /// nothing here: once sled's file has grown it was not there, and the update would be refused for good. Of what is sure a
    /// create takes thrice its value, which is a quarter more than its cost.
    fn leaves_update(&self, cost: u64) -> bool {
        let update = self::cost(self.largest, self.largest);
        let takes = cost.saturating_add(cost / 4).saturating_add(update).saturating_add(SEGMENT);
        let left = self.updated().saturating_add(self.used / 16).saturating_add(takes);
        let inside = self.sure >= takes
            && self.free >= (self.eighth() * 3).saturating_add(update)
            && self.free.saturating_add(self.sure) >= left;
        inside || self.free >= left
    }

    /// What an update leaves on the disk beside its share of the file: what the deletes take that follow, and then as much as the
    /// largest value takes once more. However much is free inside by then, a write must fit outside of the file, too.
    fn updated(&self) -> u64 {
        let once_more = (self.eighth() * 3).saturating_add(cost(self.largest, self.largest));
        once_more.max(self.eighth() * 6)
    }

    /// Whether the log may have so much beside a change: it is outside of the database, and nothing that is kept is for it.
    pub(crate) fn has_for_log(&self, cost: u64, bytes: u64) -> bool {
        self.free >= (self.eighth() * 8).saturating_add(cost).saturating_add(bytes)
            && self.has(cost, Need::Usual)
    }

    /// Whether so much is better brought to disk before more is: what is deleted is free only then.
    pub(crate) fn is_enough(&self, cost: u64) -> bool {
        cost > self.eighth() * 2 && (self.is_scarce() || !self.has(cost.saturating_mul(2), Need::Usual))
    }

    /// Whether the file should not grow any more.
    pub(crate) fn is_scarce(&self) -> bool {
        self.free < (self.eighth() * 8).saturating_add(self.used / 8)
    }

    fn eighth(&self) -> u64 {
        SHARE.min(self.total / 8) / 8
    }

    /// Why it may not.
    pub(crate) fn refusal(need: Need) -> &'static str {
        match need {
            Need::Delete | Need::Reserved => FULLER,
            Need::Update | Need::Usual => FULL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(free: u64, total: u64, used: u64, likely: u64, sure: u64) -> Room {
        let [free, total, used, likely, sure] = [free, total, used, likely, sure].map(|n| n * MIB);
        Room { free, total, used, likely, sure, largest: 0 }
    }

    #[test]
    fn what_safety_needs_has_room_when_nothing_else_has() {
        let needs = [Need::Usual, Need::Update, Need::Delete, Need::Reserved];
        for (room, taken) in [
            (room(1000, 1000, 0, 0, 0), 4),
            (room(34, 1000, 0, 0, 0), 4),
            (room(33, 1000, 0, 0, 0), 3),
            (room(25, 1000, 0, 0, 0), 2),
            (room(17, 1000, 0, 0, 0), 1),
            (room(10, 1000, 0, 0, 0), 1),
            (room(9, 1000, 0, 0, 0), 0),
            // On a small disk.
            (room(10, 64, 0, 0, 0), 4),
            (room(9, 64, 0, 0, 0), 3),
            (room(7, 64, 0, 0, 0), 2),
            (room(5, 64, 0, 0, 0), 1),
            (room(3, 64, 0, 0, 0), 0),
            // Deletes need the more the larger the database is.
            (room(158, 1000, 1000, 0, 0), 3),
            (room(160, 1000, 1000, 0, 0), 4),
            // What is likely to be free inside counts, as long as the disk has its share and an update fits without it,
            (room(13, 64, 64, 5, 0), 4),
            (room(13, 64, 64, 4, 0), 3),
            (room(13, 64, 64, 5, 0).with(MIB), 3),
            (room(10, 64, 32, 4, 0), 3),
            (room(9, 64, 32, 20, 0), 3),
            (room(7, 64, 32, 20, 0), 2),
            // and what is free for sure counts almost to the end.
            (room(4, 64, 32, 0, 20), 4),
            // and leaves what an update needs.
            (room(5, 64, 32, 0, 8), 3),
            (room(5, 64, 32, 0, 4), 2),
            (room(3, 64, 32, 20, 20), 1),
            (room(2, 64, 32, 20, 20), 0),
        ] {
            let found = needs.map(|need| room.has(MIB, need));
            let wanted = [taken > 3, taken > 2, taken > 1, taken > 0];
            assert_eq!(found, wanted, "{room:?}");
        }
    }

    /// They were let in where room was likely to be inside; the file grew all the same, and an update was refused for good. Or so
    /// little was left outside, once all was deleted, that no create was let in again.
    #[test]
    fn what_is_let_in_can_be_updated_and_deleted_and_then_let_in_again() {
        let mut let_in = 0;
        for total in [48, 64, 256, 1000, 10_000] {
            for len in [1_000, 60_000, 300_000, 900_000, 1_500_000_u64] {
                let (create, update, delete) = (cost(len, 0), cost(len, len), cost(0, len));
                for (likely, sure) in [(0, 0), (2, 0), (20, 0), (0, 1), (20, 3), (0, 5), (20, 8), (0, 30)] {
                    for free in (0..60 * MIB).step_by(100 << 10).filter(|free| *free < total * MIB) {
                        let used = (total * MIB - free) / MIB;
                        let before = Room { free, ..room(0, total, used, likely, sure) }.with(len);
                        if !before.has(create, Need::Usual) {
                            continue;
                        }
                        let_in += 1;
                        // It goes inside where that is sure to have room for it, else the file grows.
                        let sure = before.sure.saturating_sub(3 * len);
                        let mut now = Room { sure, likely: 0, ..before };
                        if before.sure < create + SEGMENT {
                            now = grown(now, create + SEGMENT);
                        }
                        assert!(now.has(update, Need::Update), "{before:?} {now:?} {len}");
                        match now.sure >= update + SEGMENT {
                            true => now.sure -= update + SEGMENT,
                            false => now = grown(now, update + SEGMENT),
                        }
                        // Until deletes give back whole segments.
                        let by = if now.sure > 0 { 0 } else { now.used / 16 };
                        for now in [now, grown(now, by)] {
                            assert!(now.has(delete, Need::Delete), "{before:?} {now:?} {len}");
                            let empty = Room { sure: now.used, ..now };
                            assert!(empty.has(create, Need::Usual), "{before:?} {empty:?} {len}");
                        }
                    }
                }
            }
        }
        assert!(let_in > 10_000, "{let_in}");
    }

    fn grown(room: Room, by: u64) -> Room {
        Room { free: room.free.saturating_sub(by), used: room.used + by, ..room }
    }

    /// However much is free inside: sled's file grows now and then all the same.
    #[test]
    fn what_is_taken_leaves_what_safety_needs() {
        for total in [48, 64, 1000] {
            for free in (0..40 * MIB).step_by(100 << 10) {
                for (need, cost) in
                    [Need::Usual, Need::Update, Need::Delete].map(|n| [(n, MIB), (n, cost(1, 0))]).concat()
                {
                    let before = Room { free, ..room(0, total, 32, 20, 20) };
                    if before.has(cost, need) {
                        // It grows by what was written, and by a segment of its own.
                        let after =
                            Room { free: free - cost.max(SEGMENT), likely: 0, sure: 1 << 20, ..before };
                        assert!(after.has(super::cost(1, 0), Need::Reserved), "{before:?} {need:?} {cost}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_size_overflows() {
        assert!(!room(1000, 1000, 0, 0, 0).has(cost(u64::MAX, u64::MAX), Need::Reserved));
        let all = Room { used: u64::MAX, likely: u64::MAX, ..Room::UNKNOWN };
        assert!(all.has(MIB, Need::Usual));
    }

    #[test]
    fn little_is_deleted_at_once_where_there_is_little_room() {
        assert!(!room(500, 1000, 0, 0, 0).is_enough(100 * MIB));
        assert!(room(100, 1000, 0, 0, 0).is_enough(100 * MIB));
        assert!(!room(40, 1000, 0, 0, 0).is_enough(8 * MIB));
        assert!(room(10, 48, 30, 0, 0).is_enough(2 * MIB));
    }

    #[test]
    fn a_folder_tells_of_its_disk() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Space::of(dir.path()).unwrap().room().total > 0);
    }
}
