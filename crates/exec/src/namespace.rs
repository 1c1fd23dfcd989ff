//! Volumes at their real mount paths, for one command: in a mount namespace of its own.
//!
//! [`enter`] is for a fresh process that then executes the command. Nothing outside that process changes: no folder is
//! made on the machine for a mount path that does not exist. Instead the deepest folder that does exist is made anew in
//! the namespace: a tmpfs that shows, by bind mounts, everything that the folder holds, and the missing folders beside
//! it. Two things follow. What comes into that one folder later is not seen by the command, and what the command puts
//! directly into it stays in the namespace; what is in folders below it is the machine's.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change};
use rustix::thread::UnshareFlags;
use tokensmith_agent::disk::{self, Dir, mount};
use tokensmith_objects::LocalPath;

/// The most entries of a folder that is made anew: each is a mount.
const MAX_ENTRIES: usize = 1000;

/// A volume, or a part of it, and where the command is to find it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The volume's folder; absolute.
    pub volume: PathBuf,
    /// The part of it, if not all. It stays as it is now: a bind mount of a part sees no update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// The mount path; absolute.
    pub target: PathBuf,
}

/// Why a command cannot have its volumes where it expects them.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Neither as it is nor in a user namespace of its own.
    #[error("no mount namespace can be had here: {0}")]
    Denied(io::Error),
    /// Mounting failed.
    #[error("cannot mount at {}: {cause}", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// There is no such place, and none can be made.
    #[error("there is no {} and it cannot be made: {reason}", path.display())]
    MountPoint {
        /// The mount path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The process has threads: a namespace would be one thread's.
    #[error("a process with several threads cannot have a mount namespace of its own")]
    Threads,
    /// There is no such volume, or no such part.
    #[error("cannot open volume {}: {cause}", path.display())]
    Volume {
        /// The volume.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Gives this process a mount namespace of its own and puts volumes at their mount paths, read-only. Root needs nothing
/// else; an ordinary user gets a user namespace too, in which he is who he was.
///
/// To be called by a process that has one thread and does nothing else before it executes the command. After an error
/// the process may be half-way: start another one without.
///
/// # Errors
/// [`NamespaceError`], one line each.
pub fn enter(placements: &[Placement]) -> Result<(), NamespaceError> {
    // `unshare` moves one thread only; the kernel refuses user namespaces to a process with several.
    if fs::read_dir("/proc/self/task").map_err(NamespaceError::Denied)?.count() != 1 {
        return Err(NamespaceError::Threads);
    }
    let here = std::env::current_dir();
    unshare().map_err(NamespaceError::Denied)?;
    // What the machine mounts later comes in; what is mounted here stays in.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(|error| NamespaceError::Denied(error.into()))?;
    // All volumes before the first mount: a mount path can be above the agent's own folder.
    let mut mounts = Vec::new();
    for placement in placements {
        let source = source(placement)
            .map_err(|cause| NamespaceError::Volume { path: placement.volume.clone(), cause })?;
        mounts.push((placement.target.as_path(), source));
    }
    mounts.sort_by_key(|(target, _)| *target);
    let mut made = Made::default();
    for (target, source) in &mounts {
        made.place(target, source)?;
    }
    // The folder that the command starts in may be behind a mount now.
    if let Ok(here) = here {
        let _ = std::env::set_current_dir(here);
    }
    Ok(())
}

/// Gives this process a mount namespace of its own, where it may have one without a user namespace: what is mounted in it
/// goes with the last process that is in it, however that ends. The machine's later mounts come in.
///
/// To be called by a process that has one thread.
///
/// # Errors
/// It may not, or it has several threads; then nothing has changed.
pub fn alone() -> Result<(), NamespaceError> {
    if fs::read_dir("/proc/self/task").map_err(NamespaceError::Denied)?.count() != 1 {
        return Err(NamespaceError::Threads);
    }
    let denied = |error: Errno| NamespaceError::Denied(error.into());
    unshare_with(UnshareFlags::NEWNS).map_err(denied)?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).map_err(denied)
}

/// Puts a tmpfs on a folder, which is this user's alone. Where [`alone`] has been called, nobody else sees it.
///
/// # Errors
/// What the system says.
pub fn cover(folder: &Path) -> io::Result<()> {
    let (tmpfs, below) = (mount::tmpfs()?, Dir::open(folder)?);
    Dir::of_mount(&tmpfs)?.set_mode(0o700)?;
    mount::attach(&tmpfs, &below)
}

/// Takes it away again, and what is in it.
///
/// # Errors
/// What the system says.
pub fn uncover(folder: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(folder, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?)
}

fn unshare() -> io::Result<()> {
    match unshare_with(UnshareFlags::NEWNS) {
        Err(Errno::PERM) => {}
        done => return Ok(done?),
    }
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    unshare_with(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)?;
    // Without this the kernel takes no group map from an ordinary user.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

#[expect(deprecated, reason = "unsafe only for CLONE_FILES, which is not among the flags here")]
fn unshare_with(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// A volume or a part of it, ready to be mounted.
#[derive(Debug)]
struct Source {
    tree: OwnedFd,
    folder: bool,
}

fn source(placement: &Placement) -> io::Result<Source> {
    let volume = Dir::open(&placement.volume)?;
    let Some(sub_path) = &placement.sub_path else {
        return Ok(Source { tree: mount::tree(&volume, false)?, folder: true });
    };
    let path = LocalPath::try_from(sub_path.as_str()).map_err(io::Error::other)?;
    let (_, mut dir) = disk::current(&volume)?.ok_or(io::ErrorKind::NotFound)?;
    let elements: Vec<&str> = path.elements().collect();
    let Some((leaf, folders)) = elements.split_last() else { return Err(io::ErrorKind::NotFound.into()) };
    for folder in folders {
        dir = dir.child(folder)?;
    }
    let found = inode(&dir, leaf)?;
    let folder = kind(&found)? == FileType::Directory;
    Ok(Source { tree: mount::tree(found, false)?, folder })
}

/// Folders that were made anew, by their devices: in there a folder can simply be made.
#[derive(Debug, Default)]
struct Made(BTreeSet<u64>);

impl Made {
    fn place(&mut self, target: &Path, source: &Source) -> Result<(), NamespaceError> {
        let point = match self.existing(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(target, source.folder)?,
            found => found.map_err(|cause| NamespaceError::Mount { path: target.to_owned(), cause })?,
        };
        let mount = || -> io::Result<()> {
            if (kind(&point)? == FileType::Directory) != source.folder {
                return Err(Errno::NOTDIR.into());
            }
            mount::attach(&source.tree, &point)?;
            mount::read_only(self.existing(target)?)
        };
        mount().map_err(|cause| NamespaceError::Mount { path: target.to_owned(), cause })
    }

    /// What a path leads to, through links too: `/var/run` is one.
    fn existing(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// A new folder or file for a mount, that only this namespace has.
    fn make(&mut self, target: &Path, folder: bool) -> Result<OwnedFd, NamespaceError> {
        let no = |reason: String| NamespaceError::MountPoint { path: target.to_owned(), reason };
        let failed = |error: io::Error| no(error.to_string());
        let (above, missing) = deepest(target).ok_or_else(|| no("no folder above it exists".into()))?;
        let mut dir = Dir::open(&above).map_err(failed)?;
        if !self.0.contains(&dir.stat().map_err(failed)?.st_dev) {
            if above == Path::new("/") {
                return Err(no("the root folder cannot be made anew".into()));
            }
            let anew = anew(&above, &dir).map_err(|error| no(format!("{}: {error}", above.display())))?;
            self.0.insert(anew.stat().map_err(failed)?.st_dev);
            dir = anew;
        }
        let Some((leaf, folders)) = missing.split_last() else { return Err(no("it exists".into())) };
        for name in folders {
            dir = dir.create_dir(name, 0o755).map_err(failed)?;
        }
        if folder {
            dir.create_dir(leaf, 0o755).map_err(failed)?;
        } else {
            dir.create_file(leaf, b"").map_err(failed)?;
        }
        inode(&dir, leaf).map_err(failed)
    }
}

/// The deepest folder above a path that exists, without links, and the names that are missing below it.
fn deepest(target: &Path) -> Option<(PathBuf, Vec<OsString>)> {
    let mut missing = Vec::new();
    let mut at = target;
    loop {
        missing.push(at.file_name()?.to_owned());
        at = at.parent()?;
        match fs::canonicalize(at) {
            Ok(found) => {
                missing.reverse();
                return Some((found, missing));
            }
            // A link that leads nowhere: what it means is not for us to make up.
            Err(_) if fs::symlink_metadata(at).is_ok() => return None,
            Err(_) => {}
        }
    }
}

/// Puts a tmpfs in a folder's place that shows all that the folder holds.
fn anew(path: &Path, old: &Dir) -> io::Result<Dir> {
    let names = old.names()?;
    if names.len() > MAX_ENTRIES {
        return Err(io::Error::other("too many entries"));
    }
    let tmpfs = mount::tmpfs()?;
    let new = Dir::of_mount(&tmpfs)?;
    let mut trees = Vec::new();
    for name in names {
        let found = inode(old, &name)?;
        match kind(&found)? {
            FileType::Symlink => {
                let target = old.link_target(&name)?.unwrap_or_default();
                new.create_link(target, &name)?;
                continue;
            }
            FileType::Directory => drop(new.create_dir(&name, 0o755)?),
            _ => drop(new.create_file(&name, b"")?),
        }
        // With what is mounted below: the kernel would not let an ordinary user look beneath.
        trees.push((mount::tree(&found, true)?, name));
    }
    new.set_mode(old.stat()?.st_mode & 0o7777)?;
    mount::attach(&tmpfs, old)?;
    let new = Dir::open(path)?;
    for (tree, name) in trees {
        mount::attach(&tree, inode(&new, &name)?)?;
    }
    Ok(new)
}

/// A name in a folder, whatever it is, only to be pointed at.
fn inode(dir: &Dir, name: impl AsRef<std::ffi::OsStr>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name.as_ref(), flags, Mode::empty())?)
}

fn kind(found: &OwnedFd) -> io::Result<FileType> {
    let stat = rustix::fs::statat(found, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}
