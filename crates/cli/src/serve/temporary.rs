//! The folder of a server that keeps nothing (`--ephemeral`).
//!
//! It is locked for as long as its process lives, and marked once it is: what bears the mark and can be locked is of a server
//! that was killed, and the next start removes it. Nothing else is touched: no folder of another user, none that lacks the mark, as
//! those of file systems without locks, or of other programs, do.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokensmith_core::random;

use super::data_dir::DataDir;
use crate::failure::Failure;
use crate::files::modes::Others;
use crate::files::{self, Access, locked};

/// How its name begins,
const PREFIX: &str = "tokensmith-";
/// and how long the rest is.
const SUFFIX: usize = 12;
/// What is in it from the moment that it is locked.
const MARK: &str = ".ephemeral";

/// Where it can be: a container whose root is read-only has no `/tmp`, but all have shared memory.
pub(super) fn places() -> [PathBuf; 2] {
    [std::env::temp_dir(), PathBuf::from("/dev/shm")]
}

/// Whether it may be one, by its name.
pub(super) fn is_named(path: &Path) -> bool {
    let rest = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PREFIX));
    rest.is_some_and(|rest| rest.len() == SUFFIX && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// A folder, and its lock where there are locks.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    lock: Option<File>,
}

impl Temporary {
    /// Makes one in the first place that takes it, and removes those that killed servers of this user have left.
    pub(super) fn new() -> Result<Self, Failure> {
        Self::new_in(&places())
    }

    fn new_in(places: &[PathBuf]) -> Result<Self, Failure> {
        places.iter().for_each(|place| sweep(place));
        let name = format!("{PREFIX}{}", random::suffix(SUFFIX));
        let mut failed = None;
        for place in places {
            let path = place.join(&name);
            match DataDir::open(&path, Others::Nobody) {
                // Nobody else locks what has no mark.
                Ok(_) => {
                    let lock = locked(&path).ok().flatten();
                    if lock.is_some() {
                        files::write_passing(&path.join(MARK), b"", Access::Owner)?;
                    }
                    return Ok(Temporary { path, lock });
                }
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        Err(failed.unwrap_or_else(|| Failure::failed("there is no place for temporary files")))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left is in the system's temporary directory, and private.
        let _ = fs::remove_dir_all(&self.path);
        // Only now may others have it.
        self.lock.take();
    }
}

/// Removes what killed servers of this user have left in a place. What cannot be removed stays.
fn sweep(place: &Path) {
    let me = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = |found: &fs::Metadata| found.is_dir() && found.uid() == me && found.mode() & 0o077 == 0;
        if !is_named(&path)
            || !entry.metadata().is_ok_and(|found| ours(&found))
            || !path.join(MARK).symlink_metadata().is_ok_and(|found| found.is_file() && found.uid() == me)
        {
            continue;
        }
        if let Ok(Some(lock)) = locked(&path)
            && lock.metadata().is_ok_and(|found| ours(&found))
            && fs::remove_dir_all(&path).is_ok()
        {
            tracing::info!("removed {}, which a server that was killed has left", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_what_a_dead_server_has_left_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let folder = |name: &str, mode: u32, mark: bool| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("admin.token"), "t").unwrap();
            if mark {
                fs::write(at(name).join(MARK), "").unwrap();
            }
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        folder("tokensmith-bcdfghjklmnp", 0o700, true);
        folder("tokensmith-nomarknomark", 0o700, false);
        folder("tokensmith-open2open2op", 0o755, true);
        folder("tokensmith-short", 0o700, true);
        folder("tokensmith-exec-bcdfghj", 0o700, true);
        folder("elsewhere", 0o700, true);
        symlink(at("elsewhere"), at("tokensmith-ssssssssssss")).unwrap();
        fs::write(at("tokensmith-ffffffffffff"), "").unwrap();

        let places = [place.path().to_path_buf()];
        let mut living = Temporary::new_in(&places).unwrap();
        assert!(!at("tokensmith-bcdfghjklmnp").exists());
        for kept in ["nomarknomark", "open2open2op", "short", "exec-bcdfghj", "ffffffffffff"] {
            assert!(at(&format!("tokensmith-{kept}")).exists(), "{kept}");
        }
        assert!(at("elsewhere").join("admin.token").exists());
        assert!(at("tokensmith-ssssssssssss").exists());

        drop(Temporary::new_in(&places).unwrap());
        assert!(living.path().exists(), "it has its lock");
        // As `kill -9` does it: the lock goes, the folder stays.
        living.lock.take();
        drop(Temporary::new_in(&places).unwrap());
        assert!(!living.path().exists());
    }
}
