//! What this machine lets the agent do, found out once by doing it.

use std::fmt;
use std::io;

use rustix::fs::{Gid, Uid, fchown};

use super::dir::{Dir, Mounts};
use super::layout::SCRATCH;
use super::mount::{self, Budget, Table};

/// Whether volumes get a file system in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tmpfs {
    /// Each volume gets one, unless the agent's folder is in memory already, it is not permitted, others would not
    /// see it (a container's private volume), or there are 2,000 mounts below the folder.
    #[default]
    Auto,
    /// None is made; one that is there is used on.
    Never,
}

/// What is in force below an agent's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Where the volumes' files are.
    pub medium: Medium,
    /// How `rootfs/` shows them.
    pub view: View,
    /// Whether files can be given to the users and groups that a pod names. Otherwise they stay the agent's own, and
    /// `fsGroup` counts only if the agent is a member of it.
    pub gives: bool,
}

/// Where volumes' files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// On a disk.
    Disk {
        /// Why.
        why: String,
    },
    /// In memory, because the agent's folder is.
    Memory,
    /// In memory, a tmpfs for each volume.
    Tmpfs,
}

/// How a container's view is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Read-only bind mounts, which a chroot sees too.
    Bind,
    /// Relative links, which only readers outside a chroot can follow.
    Link {
        /// Why.
        why: String,
    },
}

/// Tries everything in a scratch folder.
pub(super) fn probe(root: &Dir, tmpfs: Tmpfs) -> io::Result<Facts> {
    let no_budget = Budget::new(0);
    root.remove(SCRATCH, Mounts::Detach(&no_budget))?;
    let scratch = root.create_dir(SCRATCH, 0o700)?;
    let gives = gives(&scratch)?;
    let unseen = match Table::read(root) {
        Ok(table) if table.seen_by_others() => None,
        Ok(_) => Some("others would not see a mount that is made here".to_owned()),
        Err(error) => Some(format!("/proc cannot be read: {error}")),
    };
    let obstacle = |made: fn(&Dir) -> io::Result<()>| {
        unseen.clone().or_else(|| Some(format!("mounting failed: {}", made(&scratch).err()?)))
    };
    let medium = match (mount::on_memory(root)?, tmpfs) {
        (true, _) => Medium::Memory,
        (false, Tmpfs::Never) => Medium::Disk { why: "no tmpfs is wanted".into() },
        (false, Tmpfs::Auto) => obstacle(|scratch| try_mount(scratch, "tmpfs", |_| mount::tmpfs()))
            .map_or(Medium::Tmpfs, |why| Medium::Disk { why }),
    };
    let view = obstacle(|scratch| try_mount(scratch, "bind", |scratch| mount::tree(scratch, false)))
        .map_or(View::Bind, |why| View::Link { why });
    drop(scratch);
    root.remove(SCRATCH, Mounts::Detach(&no_budget))?;
    Ok(Facts { medium, view, gives })
}

fn gives(scratch: &Dir) -> io::Result<bool> {
    let file = scratch.create_file("owner", b"")?;
    let other = rustix::process::geteuid().as_raw() ^ 1;
    Ok(fchown(&file, Some(Uid::from_raw(other)), Some(Gid::from_raw(other))).is_ok())
}

fn try_mount(
    scratch: &Dir,
    name: &str,
    made: impl Fn(&Dir) -> io::Result<std::os::fd::OwnedFd>,
) -> io::Result<()> {
    mount::attach(&made(scratch)?, scratch.create_dir(name, 0o700)?)?;
    let mounted = scratch.child(name)?;
    // What cannot be told from a folder later is not made at all.
    if !scratch.is_mounted(&mounted)? {
        return Err(io::Error::other("a mount cannot be told from a folder"));
    }
    if name == "bind" {
        mount::read_only(&mounted)?;
    }
    drop(mounted);
    mount::unmount(scratch, name.as_ref(), &Budget::new(0))
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.medium {
            Medium::Disk { why } => write!(f, "volumes are on disk ({why})")?,
            Medium::Memory => f.write_str("volumes are in memory, as the folder is")?,
            Medium::Tmpfs => f.write_str("each volume is a tmpfs")?,
        }
        match &self.view {
            View::Bind => f.write_str("; bind mounts show them in rootfs")?,
            View::Link { why } => write!(f, "; links show them in rootfs ({why})")?,
        }
        if !self.gives {
            f.write_str("; runAsUser and fsGroup cannot be applied, files stay the agent's own")?;
        }
        Ok(())
    }
}
