//! Mounts: made from open folders onto open folders, so that no path can lead them elsewhere.
//!
//! The interface of Linux 5.2 (`fsopen`, `move_mount`): a file system can be filled before anybody sees it.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use rustix::fs::{StatVfsMountFlags, fstatfs, fstatvfs};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

/// What a volume may take of the machine's memory. An application that owns a file can make it grow; the limit bounds
/// that. More than a hundred objects of the largest size fit in, and the set before them.
const SIZE: &CStr = c"128m";
/// Mounts below one folder. The kernel bears more, but whoever reads the table of mounts (systemd does at each change)
/// reads all of it. A folder that is on a tmpfs itself needs none for its volumes.
const MAX: i64 = 2000;

const TMPFS_MAGIC: u32 = 0x0102_1994;
const RAMFS_MAGIC: u32 = 0x8584_58f6;

/// How many mounts may still be made.
#[derive(Debug)]
pub(super) struct Budget(AtomicI64);

impl Budget {
    pub(super) fn new(there_are: usize) -> Budget {
        Budget(AtomicI64::new(MAX - i64::try_from(there_are).unwrap_or(MAX)))
    }

    /// Makes a mount, if there may be one more.
    pub(super) fn attach(&self, mount: &OwnedFd, onto: impl AsFd) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::Relaxed) <= 0 {
            self.0.fetch_add(1, Ordering::Relaxed);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many mounts"));
        }
        attach(mount, onto).inspect_err(|_| {
            self.0.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// Whether a folder's files are in memory.
pub(super) fn on_memory(dir: impl AsFd) -> io::Result<bool> {
    // The magic number has 32 bits wherever it comes from.
    Ok(matches!(fstatfs(dir)?.f_type as u32, TMPFS_MAGIC | RAMFS_MAGIC))
}

/// An empty tmpfs that is nowhere yet.
pub fn tmpfs() -> io::Result<OwnedFd> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", "tokensmith")?;
    fsconfig_set_string(&fs, "size", SIZE)?;
    fsconfig_set_string(&fs, "mode", "0755")?;
    // Since Linux 6.4, and not in user namespaces. Without it a token may get into swap, as everywhere.
    let _ = fsconfig_set_flag(&fs, "noswap");
    fsconfig_create(&fs)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// What a folder shows, to be shown elsewhere; with what is mounted below it, if that is asked for.
pub fn tree(dir: impl AsFd, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    Ok(rustix::mount::open_tree(dir, "", flags)?)
}

/// Mounts something on an open folder or file.
pub fn attach(mount: &OwnedFd, onto: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", onto, "", flags)?)
}

/// Makes a bind mount read-only, as the kubelet's are: an application that owns a file cannot change it through there.
/// `mounted` must be open behind the mount.
pub fn read_only(mounted: impl AsFd) -> io::Result<()> {
    let mounted = mounted.as_fd();
    // In a user namespace the flags that are there must stay.
    let there = fstatvfs(mounted)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    flags.set(MountFlags::NOEXEC, there.contains(StatVfsMountFlags::NOEXEC));
    Ok(rustix::mount::mount_remount(proc_path(mounted), flags, "")?)
}

/// Unmounts what is on a folder in this one; if it is in use, for all who come later.
pub(super) fn unmount(parent: impl AsFd, name: &OsStr, budget: &Budget) -> io::Result<()> {
    let path = PathBuf::from(proc_path(parent)).join(name);
    match rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => rustix::mount::unmount(&path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?,
        done => done?,
    }
    budget.0.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// How the kernel reaches an open folder whatever its path leads to.
pub(super) fn proc_path(dir: impl AsFd) -> String {
    format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd())
}

/// What the kernel says about the mounts that this process sees.
pub(super) struct Table {
    text: String,
    /// The mount that a folder is on.
    id: String,
}

impl Table {
    pub(super) fn read(dir: impl AsFd) -> io::Result<Table> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_fd().as_raw_fd()))?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default().trim();
        Ok(Table { text: std::fs::read_to_string("/proc/self/mountinfo")?, id: id.to_owned() })
    }

    /// Whether others see what is mounted below the folder. In a container, a volume of the host is usually private,
    /// and a service of systemd can have a namespace that only receives: who shares the folder would find empty folders
    /// where this process sees a tmpfs. So the folder must be on a mount that is shared or on the one that is this
    /// process's whole world, and nobody may be upstream of it.
    pub(super) fn seen_by_others(&self) -> bool {
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let Some(mount) = self.text.lines().map(fields).find(|mount| mount.first() == Some(&self.id)) else {
            return false;
        };
        let tagged = |tag| mount.iter().skip(6).take_while(|f| *f != "-").any(|f| f.starts_with(tag));
        !tagged("master:") && (tagged("shared:") || mount.get(4).is_some_and(|point| point == "/"))
    }

    /// How many mounts there are below a folder.
    pub(super) fn below(&self, path: &std::path::Path) -> usize {
        let Some(path) = path.to_str() else { return 0 };
        // The table writes a space as \040, and some others too.
        let prefix = format!("{}/", path.replace('\\', "\\134").replace(' ', "\\040"));
        let point = |line: &str| line.split(' ').nth(4).is_some_and(|point| point.starts_with(&prefix));
        self.text.lines().filter(|line| point(line)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
41 27 254:0 /var/lib/docker/volumes/t/_data /tokens rw,relatime - ext4 /dev/vda rw
42 27 254:1 / /srv rw,relatime shared:7 - ext4 /dev/vdb rw
43 42 0:50 / /srv/my\\040root/a rw - tmpfs shared:x rw
44 42 0:51 / /srv/my\\040root/b rw - tmpfs tokensmith rw
45 42 0:52 / /srv/my\\040rooty rw - tmpfs tokensmith rw
46 27 254:1 / /opt rw,relatime shared:9 master:7 - ext4 /dev/vdb rw
47 1 254:0 / / rw,relatime shared:9 master:1 - ext4 /dev/vda rw
";

    #[test]
    fn a_mount_is_made_only_where_it_is_seen() {
        let want = [
            ("27", true),
            ("41", false),
            ("42", true),
            ("43", false),
            ("46", false),
            ("47", false),
            ("99", false),
        ];
        for (id, seen) in want {
            assert_eq!(Table { text: TABLE.into(), id: id.into() }.seen_by_others(), seen, "{id}");
        }
    }

    #[test]
    fn mounts_below_a_folder_are_counted() {
        let table = Table { text: TABLE.into(), id: String::new() };
        assert_eq!(table.below("/srv/my root".as_ref()), 2);
        assert_eq!(table.below("/tokens".as_ref()), 0);
    }
}
