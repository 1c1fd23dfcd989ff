//! What a crash leaves behind, and generations that no longer count.

use std::ffi::OsString;

use super::current;
use super::dir::{Dir, Mounts};
use super::generation;
use super::layout::{DATA_TMP, LINK_TMP};

/// Removes them, but for generations that are to be kept a while. What cannot be removed is not worth stopping a
/// refresh for, and is tried again with the next one.
pub(super) fn clear(volume: &Dir, kept: &[OsString]) {
    let (Ok(current), Ok(names)) = (current::current(volume), volume.names()) else { return };
    let current = current.map(|(name, _)| name);
    for name in names {
        let generation =
            generation::is_one(&name) && current.as_ref() != Some(&name) && !kept.contains(&name);
        if generation || name == DATA_TMP || name == LINK_TMP {
            let _ = volume.remove(&name, Mounts::Refuse);
        }
    }
}
