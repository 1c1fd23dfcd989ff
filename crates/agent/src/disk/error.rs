//! What goes wrong on a disk, in one line each, without content.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::fstatvfs;
use rustix::io::Errno;

use super::dir::Dir;

/// Why the disk is not as it was asked to be. What was there before is untouched and readable, but where it says
/// otherwise.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file is in the way of a folder.
    #[error("path {path:?} needs a folder where {file:?} is a file")]
    Conflict {
        /// The path that has no place.
        path: String,
        /// The file.
        file: String,
    },
    /// ENOSPC.
    #[error("no space left on the disk of {}; it stays as it was", path.display())]
    Full {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// ENOSPC because the file system has no inode left.
    #[error("no inode left on the disk of {}; it stays as it was", path.display())]
    Inodes {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else that the system said no to.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// E.g. `write`.
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// What the system said. Part of the text, without which there is nothing to act on, and so no `source`.
        cause: io::Error,
    },
    /// Another agent has the folder.
    #[error("{} is in use by another agent{}: stop that one or choose another --root", root.display(), process(*pid))]
    Locked {
        /// The agent's folder.
        root: PathBuf,
        /// The other agent's process, if it says so.
        pid: Option<u32>,
    },
    /// A name that would be another place.
    #[error("{name:?} cannot be the name of a folder")]
    Name {
        /// The name.
        name: String,
    },
    /// A mount path inside another one: the outer volume would have to hold a folder for it.
    #[error("container {container}: mount path {path:?} is inside {outer:?}, a volume that cannot hold it")]
    Nested {
        /// The container.
        container: String,
        /// What cannot be shown.
        path: String,
        /// The mount around it.
        outer: String,
    },
    /// A link or a file has the name of a folder of the layout. It is somebody's: it is not removed.
    #[error("{} is not a folder of ours: remove it", path.display())]
    NotFolder {
        /// What is in the way.
        path: PathBuf,
    },
    /// EPERM or EINVAL from a change of owner.
    #[error("cannot give {} to the user or group that the pod names: {cause}", path.display())]
    Owner {
        /// What.
        path: PathBuf,
        /// What the system said; part of the text.
        cause: io::Error,
    },
    /// EDQUOT.
    #[error("disk quota exceeded for {}; it stays as it was", path.display())]
    Quota {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// EROFS.
    #[error("{} is on a read-only file system; it stays as it was", path.display())]
    ReadOnly {
        /// What was written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A path with more folders than are followed.
    #[error("path {path:.80?}… has more than {} folders", super::layout::MAX_DEPTH)]
    TooDeep {
        /// The path.
        path: String,
    },
    /// The agent's folder is one that others can turn into something else.
    #[error("{} {reason}", root.display())]
    Untrusted {
        /// The folder.
        root: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

/// A step that failed, before it is known where the volume is.
#[derive(Debug)]
pub(super) struct Failed {
    doing: &'static str,
    what: PathBuf,
    source: io::Error,
}

/// Says what was being done.
pub(super) trait Doing<T> {
    /// E.g. `write`, and what.
    fn doing(self, doing: &'static str, what: impl AsRef<Path>) -> Result<T, Failed>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, what: impl AsRef<Path>) -> Result<T, Failed> {
        self.map_err(|source| Failed { doing, what: what.as_ref().to_owned(), source })
    }
}

/// Steps about owners say so: what to do about them is another thing.
pub(super) const OWN: &str = "change the owner of";

impl Failed {
    /// A step on the place itself.
    pub(super) fn new(doing: &'static str, source: io::Error) -> Failed {
        Failed { doing, what: PathBuf::new(), source }
    }

    /// Whether something that is removed could help.
    pub(super) fn out_of_space(&self) -> bool {
        matches!(errno(&self.source), Some(Errno::NOSPC | Errno::DQUOT))
    }

    /// Whether the agent has made as many mounts as it may, or the kernel says so.
    pub(super) fn out_of_mounts(&self) -> bool {
        self.source.kind() == io::ErrorKind::QuotaExceeded || errno(&self.source) == Some(Errno::NOSPC)
    }

    /// With the place where it happened; the folder tells a lack of space from a lack of inodes.
    pub(super) fn at(self, base: &Path, dir: Option<&Dir>) -> DiskError {
        let Failed { doing, what, source } = self;
        let whole = base.to_owned();
        let path = if what.as_os_str().is_empty() { whole.clone() } else { base.join(what) };
        match errno(&source) {
            Some(Errno::NOSPC) if dir.is_some_and(no_inodes) => DiskError::Inodes { path: whole, source },
            Some(Errno::NOSPC) => DiskError::Full { path: whole, source },
            Some(Errno::DQUOT) => DiskError::Quota { path: whole, source },
            Some(Errno::ROFS) => DiskError::ReadOnly { path: whole, source },
            Some(Errno::PERM | Errno::INVAL) if doing == OWN => DiskError::Owner { path, cause: source },
            _ => DiskError::Io { doing, path, cause: source },
        }
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

fn no_inodes(dir: &Dir) -> bool {
    // Some file systems count none at all.
    fstatvfs(dir).is_ok_and(|found| found.f_files > 0 && found.f_favail == 0 && found.f_bavail > 0)
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
