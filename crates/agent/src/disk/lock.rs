//! The agent's own folder: whether it can be trusted, and that no other agent has it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};

use super::DiskError;
use super::dir::Dir;
use super::layout::LOCK;

/// The folder, locked.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) dir: Arc<Dir>,
    lock: File,
}

impl Base {
    /// Opens the folder, and makes it when there is none.
    ///
    /// A new folder can be passed through by everybody but not listed (0711), since applications of other users read
    /// their volumes in it; the state of each pod is the agent's alone (0600). One that is made by an ordinary user is
    /// his alone (0700): he cannot give files to others. A folder that exists keeps its permissions: whoever made it
    /// has decided who gets in.
    pub(super) fn open(path: &Path) -> Result<Base, DiskError> {
        let io = |doing| move |cause| DiskError::Io { doing, path: path.to_owned(), cause };
        let user = rustix::process::geteuid().as_raw();
        let untrusted = |reason| Err(DiskError::Untrusted { root: path.to_owned(), reason });
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() && found.uid() != user && found.uid() != 0 => {
                return untrusted(format!(
                    "is a link of user {}, who could make it lead to any place: name the folder itself",
                    found.uid()
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path, if user == 0 { 0o711 } else { 0o700 }).map_err(io("create"))?;
            }
            Err(error) => return Err(io("open")(error)),
        }
        let dir = std::fs::canonicalize(path).and_then(|path| Dir::open(&path)).map_err(io("open"))?;
        let mode = dir.stat().map_err(io("open"))?.st_mode & 0o7777;
        if mode & 0o1002 == 0o002 {
            return untrusted(format!(
                "can be written by everybody (mode {mode:04o}), so anybody could put a folder of his own in a \
                 volume's place: take that away with chmod o-w"
            ));
        }
        Ok(Base { lock: lock(path, &dir)?, dir: Arc::new(dir) })
    }

    /// Whether the folder is still what its path leads to, and locked. It can have been removed meanwhile, and another
    /// agent may have made it anew.
    pub(super) fn is_current(&self, path: &Path) -> bool {
        let same = || -> io::Result<bool> {
            let (found, ours) = (std::fs::metadata(path)?, self.dir.stat()?);
            let (lock, held) = (self.dir.stat_of(LOCK)?, self.lock.metadata()?);
            Ok((found.dev(), found.ino()) == (ours.st_dev, ours.st_ino)
                && (lock.st_dev, lock.st_ino) == (held.dev(), held.ino()))
        };
        same().unwrap_or(false)
    }
}

impl Drop for Base {
    /// A child process that is being started shares the open file until it executes its program: closing it here would
    /// not be enough.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        // Under no umask may others put another folder in the place of this one.
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Dir::open(path)?.set_mode(mode),
    }
}

fn lock(path: &Path, dir: &Dir) -> Result<File, DiskError> {
    let io = |cause| DiskError::Io { doing: "lock", path: path.join(LOCK), cause };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = openat(dir, LOCK, flags, Mode::from_raw_mode(0o600));
    let mut file = File::from(opened.map_err(|error| io(error.into()))?);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
            return Err(DiskError::Locked { root: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    // Only for whoever comes second: on a full disk it stays unsaid.
    let _ = file.set_len(0).and_then(|()| file.rewind());
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}
