//! A tmpfs for each volume, where it can be had.

use super::super::{Medium, mount};
use super::*;

/// A root whose volumes get a tmpfs, or the reason why none can be had here.
fn tmpfs() -> Option<Scratch> {
    let s = Scratch::with(Tmpfs::Auto);
    match &s.root.facts().medium {
        Medium::Tmpfs => Some(s),
        other => {
            skip(&format!("{other:?}"));
            None
        }
    }
}

fn mounts(s: &Scratch) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let prefix = format!("{}/", s.path().display());
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)?.strip_prefix(&prefix));
    points.map(str::to_owned).collect()
}

fn in_memory(path: &Path) -> bool {
    mount::on_memory(super::super::dir::Dir::open(path).unwrap()).unwrap()
}

#[test]
fn a_volume_is_a_tmpfs_that_outlives_the_agent() {
    let Some(s) = tmpfs() else { return };
    assert_eq!(s.write(&[("token", "t")]).unwrap(), Written::Updated);
    assert!(in_memory(&s.volume.path()));
    assert_eq!(mounts(&s), ["n/p/volumes/v"]);
    let options = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = options.lines().find(|line| line.contains(s.path().to_str().unwrap())).unwrap();
    for option in ["nosuid", "nodev", "noexec", "size=131072k", "mode=755"] {
        assert!(line.contains(option), "{line}");
    }
    let s = s.restart();
    assert_eq!(s.write(&[("token", "t")]).unwrap(), Written::Unchanged);
    assert_eq!(s.write(&[("token", "u")]).unwrap(), Written::Updated);
    assert_eq!(mounts(&s), ["n/p/volumes/v"]);
    assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "u");
    // Without a new one, too.
    let s = s.restart_with(Tmpfs::Never);
    assert_eq!(s.write(&[("token", "u")]).unwrap(), Written::Unchanged);
    assert!(in_memory(&s.volume.path()));
    s.root.remove_pod("n", "p").unwrap();
    assert_eq!(mounts(&s), [""; 0]);
    assert!(!s.path().join("n").exists());
}

#[test]
fn a_volume_on_disk_moves_into_memory_whole() {
    let s = Scratch::new();
    s.write(&[("token", "old")]).unwrap();
    let s = s.restart_with(Tmpfs::Auto);
    if s.root.facts().medium != Medium::Tmpfs {
        return skip(&s.root.facts().to_string());
    }
    let before = std::fs::File::open(s.volume.path()).unwrap();
    s.write(&[("token", "old")]).unwrap();
    assert!(in_memory(&s.volume.path()));
    assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "old");
    // Nothing is left on the disk beneath.
    let beneath = rustix::fs::Dir::read_from(&before).unwrap().count();
    assert_eq!(beneath, 2, "only . and ..");
    s.root.remove_pod("n", "p").unwrap();
}

#[test]
fn a_volume_in_use_is_removed_all_the_same() {
    let Some(s) = tmpfs() else { return };
    s.write(&[("token", "t")]).unwrap();
    let reader = std::fs::File::open(s.in_volume("token")).unwrap();
    s.root.write_state("n", "p", b"{}").unwrap();
    s.root.remove_pod("n", "p").unwrap();
    assert_eq!(mounts(&s), [""; 0]);
    assert_eq!(names(&s.path()), [".lock"]);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "t");
}

#[test]
fn a_tmpfs_that_was_unmounted_is_made_again() {
    let Some(s) = tmpfs() else { return };
    s.write(&[("token", "t")]).unwrap();
    let flags = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(s.volume.path(), flags).unwrap();
    assert!(!s.volume.contains(&local("token")));
    assert_eq!(s.write(&[("token", "t")]).unwrap(), Written::Updated);
    assert!(in_memory(&s.volume.path()));
    s.root.retain("n", "p", &[]).unwrap();
    assert_eq!(mounts(&s), [""; 0]);
}

#[test]
fn somebody_elses_mount_below_a_generation_is_not_entered() {
    let Some(s) = tmpfs() else { return };
    let outside = s.outside();
    s.write(&[("a/token", "t")]).unwrap();
    let generation = std::fs::canonicalize(s.in_volume("..data")).unwrap();
    rustix::mount::mount_bind(&outside.path, generation.join("a")).unwrap();
    // It is not what it should be, and a new set takes its place; the old one cannot be removed.
    s.write(&[("a/token", "t2")]).unwrap();
    assert_eq!(std::fs::read_to_string(s.in_volume("a/token")).unwrap(), "t2");
    s.clock.advance(super::super::GRACE);
    assert!(s.root.sweep().is_some(), "tried again");
    outside.assert_untouched();
    s.root.remove_pod("n", "p").unwrap();
    outside.assert_untouched();
    assert_eq!(mounts(&s), [""; 0]);
}

#[test]
fn a_folder_in_memory_needs_no_mount() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return skip("no /dev/shm") };
    let s = Scratch::at(dir, Tmpfs::Auto);
    assert_eq!(s.root.facts().medium, Medium::Memory);
    s.write(&[("token", "t")]).unwrap();
    assert_eq!(mounts(&s), [""; 0]);
}

#[test]
fn there_is_an_end_to_mounts() {
    let Some(s) = tmpfs() else { return };
    let budget = mount::Budget::new(1999);
    let dir = super::super::dir::Dir::open(&s.path()).unwrap();
    let point = dir.create_dir("x", 0o700).unwrap();
    budget.attach(&mount::tmpfs().unwrap(), &point).unwrap();
    let point = dir.create_dir("y", 0o700).unwrap();
    assert!(budget.attach(&mount::tmpfs().unwrap(), &point).is_err());
    mount::unmount(&dir, "x".as_ref(), &budget).unwrap();
    budget.attach(&mount::tmpfs().unwrap(), &point).unwrap();
    dir.remove("y", super::super::dir::Mounts::Detach(&budget)).unwrap();
}
