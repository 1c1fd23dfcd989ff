//! An open folder, and what is done in it: always by name relative to it, never through a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::mount::{self, Budget};

/// The largest file that is read back. What the API holds is smaller (1.5 MiB a request); an application that owns
/// its file must not make the agent read gigabytes.
const MAX_FILE: u64 = 16 << 20;
/// How deep a tree is removed: each level holds a descriptor.
const MAX_DEPTH: usize = 200;

/// An open folder.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// Owner, group and permissions (with setgid) of something on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
}

/// What a removal does about mounts in its way. It never enters one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mounts<'a> {
    /// They are unmounted, and may be made again.
    Detach(&'a Budget),
    /// They stop it.
    Refuse,
}

impl Dir {
    const OPEN: OFlags =
        OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

    /// Opens a folder by its path. Only its last element must be no link.
    pub fn open(path: &Path) -> io::Result<Dir> {
        Ok(Dir(fs::open(path, Self::OPEN, Mode::empty())?))
    }

    /// Opens a folder in this one.
    pub fn child(&self, name: impl AsRef<OsStr>) -> io::Result<Dir> {
        Ok(Dir(fs::openat(&self.0, name.as_ref(), Self::OPEN, Mode::empty())?))
    }

    /// The folder at the root of a mount that is not attached yet.
    pub fn of_mount(mount: &OwnedFd) -> io::Result<Dir> {
        Ok(Dir(fs::openat(mount, ".", Self::OPEN, Mode::empty())?))
    }

    /// Opens a folder in this one; makes it when there is none. A file or a link of that name is an error.
    pub(super) fn child_or_create(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Dir> {
        let name = name.as_ref();
        match self.child(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => return done,
        }
        match self.create_dir(name, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.child(name),
            done => done,
        }
    }

    /// Makes a folder, with exactly these permissions.
    pub fn create_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<Dir> {
        let name = name.as_ref();
        step()?;
        fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o700))?;
        let dir = self.child(name)?;
        // The umask has no say.
        dir.set_mode(mode)?;
        Ok(dir)
    }

    /// Makes a file that only its owner can read, with this content.
    pub fn create_file(&self, name: impl AsRef<OsStr>, data: &[u8]) -> io::Result<File> {
        step()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(fs::openat(&self.0, name.as_ref(), flags, Mode::from_raw_mode(0o600))?);
        step()?;
        file.write_all(data)?;
        Ok(file)
    }

    /// Opens a regular file; anything else of that name is an error, and cannot make this wait (a pipe could).
    pub(super) fn open_file(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&self.0, name.as_ref(), flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// The content of a regular file.
    pub(super) fn read_file(&self, name: impl AsRef<OsStr>) -> io::Result<Vec<u8>> {
        read_to_end(self.open_file(name)?)
    }

    /// Where a link points; `None` when there is nothing of that name, or no link.
    pub fn link_target(&self, name: impl AsRef<OsStr>) -> io::Result<Option<OsString>> {
        match fs::readlinkat(&self.0, name.as_ref(), Vec::new()) {
            Ok(target) => Ok(Some(OsStr::from_bytes(target.as_bytes()).to_owned())),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a link.
    pub fn create_link(&self, target: impl AsRef<OsStr>, name: impl AsRef<OsStr>) -> io::Result<()> {
        step()?;
        Ok(fs::symlinkat(target.as_ref(), &self.0, name.as_ref())?)
    }

    /// Renames within this folder; what has the new name is replaced.
    pub(super) fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> io::Result<()> {
        step()?;
        Ok(fs::renameat(&self.0, from.as_ref(), &self.0, to.as_ref())?)
    }

    /// Everything in here, but for `.` and `..`, sorted.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&self.0)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes a file or a link; that there is none is fine.
    pub(super) fn unlink(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        step()?;
        match fs::unlinkat(&self.0, name.as_ref(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an empty folder.
    pub(super) fn remove_dir(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        step()?;
        Ok(fs::unlinkat(&self.0, name.as_ref(), AtFlags::REMOVEDIR)?)
    }

    /// Removes whatever has this name, with all that is in it. Enters neither a link nor a mount. That there is
    /// nothing is fine.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>, mounts: Mounts<'_>) -> io::Result<()> {
        self.remove_at_depth(name.as_ref(), mounts, 0)
    }

    fn remove_at_depth(&self, name: &OsStr, mounts: Mounts<'_>, depth: usize) -> io::Result<()> {
        let dir = match self.child(name) {
            Ok(dir) => dir,
            Err(error) => {
                return match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::NOENT) => Ok(()),
                    Some(Errno::NOTDIR | Errno::LOOP) => self.unlink(name),
                    _ => Err(error),
                };
            }
        };
        if depth > MAX_DEPTH {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "folders are nested too deeply"));
        }
        if self.is_mounted(&dir)? {
            drop(dir);
            match mounts {
                Mounts::Detach(budget) => mount::unmount(self, name, budget)?,
                Mounts::Refuse => return Err(io::Error::from(Errno::BUSY)),
            }
            return self.remove_at_depth(name, mounts, depth + 1);
        }
        for entry in dir.names()? {
            dir.remove_at_depth(&entry, mounts, depth + 1)?;
        }
        match self.remove_dir(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Whether something is mounted on a folder in this one.
    pub(super) fn is_mounted(&self, child: &Dir) -> io::Result<bool> {
        use rustix::fs::{StatxAttributes, StatxFlags};
        // A bind mount of the same file system has the same device: only the attribute tells.
        if let Ok(found) = fs::statx(&child.0, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
            && found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
        {
            return Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        }
        Ok(self.stat()?.st_dev != child.stat()?.st_dev)
    }

    /// About this folder.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(fs::fstat(&self.0)?)
    }

    /// About what has this name, be it a link.
    pub(super) fn stat_of(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(fs::statat(&self.0, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Whether this is the very same folder, be it reached through a mount.
    pub(super) fn same(&self, other: &Dir) -> io::Result<bool> {
        let (this, that) = (self.stat()?, other.stat()?);
        Ok((this.st_dev, this.st_ino) == (that.st_dev, that.st_ino))
    }

    /// Sets the permissions of this folder.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        step()?;
        Ok(fs::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    /// Makes owner, group and permissions of this folder these.
    pub(super) fn settle(&self, wanted: Meta) -> io::Result<()> {
        settle(&self.0, wanted)
    }

    /// Makes owner and group of a link these. Whatever else has that name in the meantime is left alone: a hard link
    /// to somebody's file must not be given away.
    pub(super) fn settle_link(&self, name: impl AsRef<OsStr>, wanted: Meta) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = fs::openat(&self.0, name.as_ref(), flags, Mode::empty())?;
        let found = fs::fstat(&link)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            return Err(io::Error::from(Errno::LOOP));
        }
        if (found.st_uid, found.st_gid) == (wanted.user, wanted.group) {
            return Ok(());
        }
        step()?;
        let (user, group) = (Uid::from_raw(wanted.user), Gid::from_raw(wanted.group));
        Ok(fs::chownat(&link, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes owner, group and permissions these. The permissions come last: they are meant for the new group, and a
/// change of owner takes setgid away.
pub(super) fn settle(file: impl AsFd, wanted: Meta) -> io::Result<()> {
    let found = Meta::from(&fs::fstat(&file)?);
    let owner = (found.user, found.group) != (wanted.user, wanted.group);
    if owner {
        step()?;
        fs::fchown(&file, Some(Uid::from_raw(wanted.user)), Some(Gid::from_raw(wanted.group)))?;
    }
    if owner || found.mode != wanted.mode {
        step()?;
        fs::fchmod(&file, Mode::from_raw_mode(wanted.mode))?;
    }
    Ok(())
}

/// The content of a file of bounded size.
pub(super) fn read_to_end(file: File) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut data)?;
    if data.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
    }
    Ok(data)
}

impl From<&Stat> for Meta {
    fn from(stat: &Stat) -> Meta {
        Meta { mode: stat.st_mode & 0o7777, user: stat.st_uid, group: stat.st_gid }
    }
}

/// Before everything that changes the disk: where tests crash the writer, or let the disk fail.
#[cfg(not(test))]
fn step() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use super::tests::fault::step;
