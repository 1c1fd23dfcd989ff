//! The agent's folder: lock, trust, states, and folders that were removed under it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn open(path: &Path) -> Result<Root, DiskError> {
    Root::open(path, Tmpfs::Never, Arc::new(ManualClock::new(datetime!(2026-01-01 0:00 UTC))))
}

#[test]
fn the_second_agent_is_told_who_is_first() {
    let s = Scratch::new();
    let error = open(&s.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is in use by another agent (process {}): stop that one or choose another --root",
            s.path().display(),
            std::process::id()
        )
    );
    let clone = s.root.clone();
    let Scratch { root, volume, dir, .. } = s;
    drop((root, volume));
    assert!(matches!(open(&dir.path().join("root")), Err(DiskError::Locked { .. })));
    drop(clone);
    open(&dir.path().join("root")).unwrap();
}

#[test]
fn others_pass_through_and_list_nothing() {
    let s = Scratch::new();
    s.write(&[("token", "t")]).unwrap();
    s.root.write_state("n", "p", b"{}").unwrap();
    assert_eq!(mode(&s.path()), if is_root() { 0o711 } else { 0o700 });
    for (path, want) in [
        ("n", 0o711),
        ("n/p", 0o711),
        ("n/p/volumes", 0o755),
        ("n/p/volumes/v", 0o755),
        ("n/p/state.json", 0o600),
        (".lock", 0o600),
    ] {
        assert_eq!(mode(&s.path().join(path)), want, "{path}");
    }
    assert!(!s.path().join(".probe").exists());
}

#[test]
fn a_folder_that_exists_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    std::fs::set_permissions(dir.path().join("root"), PermissionsExt::from_mode(0o750)).unwrap();
    open(&dir.path().join("root")).unwrap();
    assert_eq!(mode(&dir.path().join("root")), 0o750);
}

#[test]
fn a_folder_that_others_can_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, DiskError::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("can be written by everybody (mode 0777)"), "{error}");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o1777)).unwrap();
    drop(open(&path).unwrap());
    let link = dir.path().join("link");
    symlink(&path, &link).unwrap();
    drop(open(&link).unwrap());
    if !is_root() {
        return skip("only root can make a link of somebody else");
    }
    std::os::unix::fs::lchown(&link, Some(1234), None).unwrap();
    let error = open(&link).unwrap_err();
    assert!(error.to_string().contains("is a link of user 1234"), "{error}");
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("victim"), "precious").unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    symlink(dir.path().join("victim"), dir.path().join("root/.lock")).unwrap();
    assert!(open(&dir.path().join("root")).is_err());
    assert_eq!(std::fs::read_to_string(dir.path().join("victim")).unwrap(), "precious");
}

#[test]
fn what_is_removed_is_made_again() {
    let s = Scratch::new();
    for gone in ["n/p/volumes/v", "n/p/volumes", "n/p", "n", ""] {
        s.write(&[("token", "t")]).unwrap();
        std::fs::remove_dir_all(s.path().join(gone)).unwrap();
        assert!(!s.volume.contains(&local("token")));
        assert_eq!(s.volume.read(&local("token")).unwrap(), None);
        assert_eq!(s.write(&[("token", "t")]).unwrap(), Written::Updated, "{gone}");
        assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "t");
    }
    // The new folder is locked too.
    assert!(matches!(open(&s.path()), Err(DiskError::Locked { .. })));
    // Unless another agent was faster.
    std::fs::remove_dir_all(s.path()).unwrap();
    let other = open(&s.path()).unwrap();
    assert!(matches!(s.write(&[("token", "t")]), Err(DiskError::Locked { .. })));
    drop(other);
    s.write(&[("token", "t")]).unwrap();
}

#[test]
fn pods_are_those_with_a_state() {
    let s = Scratch::new();
    for (namespace, pod) in [("b", "x"), ("a", "y"), ("a", "x")] {
        s.root.write_state(namespace, pod, b"{}").unwrap();
    }
    std::fs::create_dir_all(s.path().join("somebody/elses")).unwrap();
    let pods = s.root.pods().unwrap();
    let want = [("a", "x"), ("a", "y"), ("b", "x")].map(|(n, p)| (n.to_owned(), p.to_owned()));
    assert_eq!(pods, want);
    // What is not ours stays.
    std::fs::write(s.path().join("a/x/note"), "x").unwrap();
    s.root.remove_pod("a", "x").unwrap();
    s.root.remove_pod("a", "y").unwrap();
    s.root.remove_pod("b", "x").unwrap();
    s.root.remove_pod("no", "such").unwrap();
    assert_eq!(names(&s.path()), [".lock", "a", "somebody"]);
    assert_eq!(names(&s.path().join("a")), ["x"]);
    assert_eq!(names(&s.path().join("a/x")), ["note"]);
}

#[test]
fn volumes_that_are_no_longer_wanted_go() {
    let s = Scratch::new();
    for volume in ["a", "b", "v"] {
        s.root.volume("n", "p", volume).unwrap().write(&payload(&[("token", "t")]), &NOBODY).unwrap();
    }
    s.root.retain("n", "p", &["a", "v"]).unwrap();
    assert_eq!(names(&s.path().join("n/p/volumes")), ["a", "v"]);
    s.root.retain("no", "such", &[]).unwrap();
}
