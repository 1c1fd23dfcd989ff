mod attacks;
mod crash;
pub(super) mod fault;
mod full;
mod measure;
mod mounts;
mod places;
mod readers;
mod rootfs;
mod writer;

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use time::macros::datetime;
use tokensmith_core::clock::ManualClock;
use tokensmith_objects::LocalPath;

use super::{DiskError, Root, Tmpfs, VolumeDir, Written, generation};
use crate::payload::{File, Payload, Secret};
use crate::pod::Ownership;

const NOBODY: Ownership = Ownership { fs_user: None, fs_group: None };

/// An agent's folder with one pod `n/p` and its volume `v`.
struct Scratch {
    clock: Arc<ManualClock>,
    root: Root,
    volume: VolumeDir,
    dir: Folder,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch::with(Tmpfs::Never)
    }

    fn with(tmpfs: Tmpfs) -> Scratch {
        Scratch::at(tempfile::tempdir().unwrap(), tmpfs)
    }

    fn at(dir: TempDir, tmpfs: Tmpfs) -> Scratch {
        Scratch::open(Folder(dir), tmpfs)
    }

    fn open(dir: Folder, tmpfs: Tmpfs) -> Scratch {
        let clock = Arc::new(ManualClock::new(datetime!(2026-01-01 10:00:07 UTC)));
        let root = Root::open(&dir.path().join("root"), tmpfs, clock.clone()).unwrap();
        let volume = root.volume("n", "p", "v").unwrap();
        Scratch { clock, root, volume, dir }
    }

    /// The agent anew, on the same folder.
    fn restart(self) -> Scratch {
        let tmpfs = match self.root.facts().medium {
            super::Medium::Tmpfs => Tmpfs::Auto,
            _ => Tmpfs::Never,
        };
        self.restart_with(tmpfs)
    }

    fn restart_with(self, tmpfs: Tmpfs) -> Scratch {
        let Scratch { root, volume, dir, .. } = self;
        drop((root, volume));
        Scratch::open(dir, tmpfs)
    }

    fn write(&self, files: &[(&str, &str)]) -> Result<Written, DiskError> {
        self.volume.write(&payload(files), &NOBODY)
    }

    /// Where the agent's folder is.
    fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn in_volume(&self, name: &str) -> PathBuf {
        self.volume.path().join(name)
    }

    /// A folder beside the agent's, with a file that nobody may touch.
    fn outside(&self) -> Outside {
        let path = self.dir.path().join("outside");
        std::fs::create_dir_all(path.join("sub")).unwrap();
        for file in ["token", "passwd", "sub/file"] {
            std::fs::write(path.join(file), "outside").unwrap();
        }
        std::fs::set_permissions(path.join("token"), PermissionsExt::from_mode(0o644)).unwrap();
        let before = listing(&path);
        Outside { path, before }
    }
}

/// A folder that goes with all mounts below it, also when a test fails.
struct Folder(TempDir);

impl Folder {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.path())) {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

struct Outside {
    path: PathBuf,
    before: Vec<String>,
}

impl Outside {
    fn assert_untouched(&self) {
        assert_eq!(listing(&self.path), self.before);
        assert_eq!(std::fs::read_to_string(self.path.join("token")).unwrap(), "outside");
    }
}

fn payload(files: &[(&str, &str)]) -> Payload {
    let mut payload = Payload::default();
    for (path, data) in files {
        payload.insert(local(path), file(data, 0o644));
    }
    payload
}

fn file(data: &str, mode: u32) -> File {
    File { data: Secret::new(data.as_bytes().to_vec()), mode, user: None }
}

fn local(path: &str) -> LocalPath {
    LocalPath::try_from(path).unwrap()
}

/// Everything below a folder: path, kind, mode, owner, and where links lead. Generations are called `..TIME`.
fn listing(path: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    list(path, "", &mut lines);
    lines.sort();
    lines
}

fn list(path: &Path, prefix: &str, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let meta = std::fs::symlink_metadata(entry.path()).unwrap();
        let owner = format!("{}:{}", meta.uid(), meta.gid());
        let name = format!("{prefix}{}", plain(entry.file_name()));
        let mode = meta.mode() & 0o7777;
        if meta.is_symlink() {
            let target = plain(std::fs::read_link(entry.path()).unwrap().into());
            lines.push(format!("{name} link {owner} -> {target}"));
        } else if meta.is_dir() {
            lines.push(format!("{name} dir {mode:04o} {owner}"));
            list(&entry.path(), &format!("{name}/"), lines);
        } else {
            lines.push(format!("{name} file {mode:04o} {owner}"));
        }
    }
}

fn plain(name: OsString) -> String {
    if generation::is_one(&name) { "..TIME".into() } else { name.into_string().unwrap() }
}

/// The names in a volume, generations called `..TIME`.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| plain(entry.unwrap().file_name())).collect();
    names.sort();
    names
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test has nothing to do.
fn skip(reason: &str) {
    println!("skipped: {reason}");
}
