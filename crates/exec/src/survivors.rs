//! What a command has started and left running, where nobody keeps its volumes any more.
//!
//! The kernel ends the command itself with its parent (`PR_SET_PDEATHSIG`); its children are known by their mount namespace:
//! a folder that is one command's alone has a random name, and a namespace in which it is mounted was made for that command.
//! A process that has gone to another namespace is not found.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often it is looked whether something lives yet, and how long it is waited in between: five seconds.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// Ends (SIGKILL) all processes in whose mount namespace the folder of that name is, but for this one, again until there is
/// none. Only for the name of a folder whose own process is dead.
pub fn end(name: &str) {
    for _ in 0..LOOKS {
        if look(name) == 0 {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether this process is in such a namespace itself.
pub fn is_among(name: &str) -> bool {
    Member::of(std::process::id()).is_some_and(|me| me.holds(name, None))
}

/// Ends those that there are, and counts them.
fn look(name: &str) -> usize {
    let own_users = inode(Path::new("/proc/self/ns/user"));
    let me = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(u32, Member)> =
        ids.filter(|id| *id != me).filter_map(|id| Some((id, Member::of(id)?))).collect();
    // Of what is mounted in a namespace a process sees what is below its root.
    let mut seen = HashMap::new();
    for (_, member) in &all {
        let root = inode(&member.proc.join("root"));
        seen.entry((member.mounts, root)).or_insert_with(|| member.holds(name, own_users));
    }
    let found: HashSet<Inode> =
        seen.into_iter().filter(|(_, holds)| *holds).map(|((mounts, _), _)| mounts).collect();
    let living = all.into_iter().filter(|(_, member)| found.contains(&member.mounts));
    living.filter(|(id, member)| kill(*id, member.mounts)).count()
}

/// Ends a process, if it is that namespace's; one that has ended since, and whose number another one has, is not.
fn kill(id: u32, mounts: Inode) -> bool {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return false };
    // First held, then looked at: so what is looked at is what is held, or dead.
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    Member::of(id).is_some_and(|now| now.mounts == mounts) && pidfd_send_signal(&held, Signal::KILL).is_ok()
}

type Inode = (u64, u64);

/// What identifies a file, also a namespace.
fn inode(path: &Path) -> Option<Inode> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// A process that lives.
struct Member {
    proc: PathBuf,
    mounts: Inode,
}

impl Member {
    /// `None`: it is dead, or another user's.
    fn of(id: u32) -> Option<Member> {
        let proc = PathBuf::from(format!("/proc/{id}"));
        if let Some(mounts) = inode(&proc.join("ns/mnt")) {
            return Some(Member { proc, mounts });
        }
        // Its first thread may have ended before the others.
        let threads = fs::read_dir(proc.join("task")).ok()?.flatten();
        threads.map(|thread| thread.path()).find_map(|proc| {
            let mounts = inode(&proc.join("ns/mnt"))?;
            Some(Member { proc, mounts })
        })
    }

    /// `users`: the user namespace that is no sign of anything.
    fn holds(&self, name: &str, users: Option<Inode>) -> bool {
        let users =
            users.is_none_or(|users| inode(&self.proc.join("ns/user")).is_some_and(|own| own != users));
        fs::read_to_string(self.proc.join("mountinfo")).is_ok_and(|mounts| is_mounted(&mounts, name, users))
    }
}

/// Whether mounts (proc(5), `/proc/PID/mountinfo`) are those of a namespace that was made for a folder: there is a tmpfs on
/// it, which [`cover`](crate::namespace::cover) puts where nobody else sees it; or, in a user namespace of its `own`, a part
/// of it is somewhere. Without that it may be anybody who has mounted the folder.
fn is_mounted(mounts: &str, name: &str, own: bool) -> bool {
    mounts.lines().any(|line| {
        let (fields, kind) = line.split_once(" - ").unwrap_or((line, ""));
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let covers = root == "/" && point.rsplit('/').next() == Some(name) && kind.starts_with("tmpfs ");
        covers || own && root.split('/').any(|element| element == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_known_by_its_mounts() {
        let name = "tokensmith-exec-AbCdEf";
        let covered = "36 35 0:40 / /tmp/tokensmith-exec-AbCdEf rw,nosuid - tmpfs tokensmith rw,size=8k";
        let bound = "40 35 8:1 /tmp/tokensmith-exec-AbCdEf/default/a/volumes/v /var/run/v ro shared:1 master:2 - ext4 /dev/sda1 rw";
        let others = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /proc rw - proc proc rw";
        for own in [false, true] {
            assert!(is_mounted(&format!("{others}\n{covered}\n"), name, own));
            assert!(!is_mounted(others, name, own));
            assert!(!is_mounted("", name, own));
            // Another command's.
            assert!(!is_mounted(covered, "tokensmith-exec-AbCdE", own));
            assert!(!is_mounted(bound, "tokensmith-exec-AbCdE", own));
            assert_eq!(is_mounted(&format!("{others}\n{bound}\n"), name, own), own);
        }
    }

    #[test]
    fn no_name_ends_nobody_else() {
        assert!(!is_among("tokensmith-exec-nobody"));
        assert_eq!(look("tokensmith-exec-nobody"), 0);
    }
}
