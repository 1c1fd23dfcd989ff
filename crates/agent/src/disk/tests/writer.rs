use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::*;

fn text(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_volume_looks_as_the_kubelet_makes_it() {
    let s = Scratch::new();
    assert_eq!(s.write(&[("token", "t"), ("a/b/c", "c"), ("a/d", "d")]).unwrap(), Written::Updated);
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let want = [
        "..TIME dir 0755 O",
        "..TIME/a dir 0755 O",
        "..TIME/a/b dir 0755 O",
        "..TIME/a/b/c file 0644 O",
        "..TIME/a/d file 0644 O",
        "..TIME/token file 0644 O",
        "..data link O -> ..TIME",
        "a link O -> ..data/a",
        "token link O -> ..data/token",
    ];
    let want: Vec<_> = want.iter().map(|line| line.replace('O', &format!("{user}:{group}"))).collect();
    assert_eq!(listing(&s.volume.path()), want);
    let data = std::fs::read_link(s.in_volume("..data")).unwrap().into_os_string().into_string().unwrap();
    assert!(data.starts_with("..2026_01_01_10_00_07."), "{data}");
    assert_eq!(text(s.in_volume("a/b/c")), "c");
}

#[test]
fn what_is_equal_is_not_written_again() {
    let s = Scratch::new();
    s.write(&[("token", "t"), ("a/b", "b")]).unwrap();
    let before = std::fs::read_link(s.in_volume("..data")).unwrap();
    std::fs::remove_file(s.in_volume("token")).unwrap();
    assert!(!s.volume.contains(&local("token")));
    assert_eq!(s.write(&[("token", "t"), ("a/b", "b")]).unwrap(), Written::Unchanged);
    assert_eq!(std::fs::read_link(s.in_volume("..data")).unwrap(), before);
    assert_eq!(text(s.in_volume("token")), "t");
    assert!(s.volume.contains(&local("token")) && s.volume.contains(&local("a/b")));
    assert!(!s.volume.contains(&local("a/c")) && !s.volume.contains(&local("b")));
}

#[test]
fn every_difference_makes_a_new_generation() {
    let s = Scratch::new();
    let base: &[(&str, &str)] = &[("token", "t"), ("a/b", "b")];
    for other in [
        payload(&[("token", "u"), ("a/b", "b")]),
        payload(&[("token", "tt"), ("a/b", "b")]),
        payload(&[("token", "t")]),
        payload(&[("token", "t"), ("a/b", "b"), ("a/c", "c")]),
        payload(&[("token", "t"), ("a", "b")]),
        payload(&[]),
        {
            let mut modes = payload(base);
            modes.insert(local("token"), file("t", 0o600));
            modes
        },
    ] {
        s.write(base).unwrap();
        assert_eq!(s.volume.write(&other, &NOBODY).unwrap(), Written::Updated, "{other:?}");
        assert_eq!(s.volume.write(&other, &NOBODY).unwrap(), Written::Unchanged, "{other:?}");
        let current = s.volume.current().unwrap().unwrap();
        let found: Vec<_> = current.files().map(|(p, f)| (p.clone(), f.mode, f.data.clone())).collect();
        let want: Vec<_> = other.files().map(|(p, f)| (p.clone(), f.mode, f.data.clone())).collect();
        assert_eq!(found, want);
    }
}

#[test]
fn a_change_from_outside_is_put_right() {
    let s = Scratch::new();
    let files: &[(&str, &str)] = &[("token", "t"), ("a/b", "b")];
    s.write(files).unwrap();
    let data = s.in_volume("..data");
    let changes: [&dyn Fn(); 5] = [
        &|| std::fs::write(data.join("token"), "x").unwrap(),
        &|| std::fs::write(data.join("more"), "x").unwrap(),
        &|| std::fs::create_dir(data.join("a/empty")).unwrap(),
        &|| std::fs::remove_file(data.join("a/b")).unwrap(),
        &|| {
            std::fs::set_permissions(data.join("token"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
                .unwrap()
        },
    ];
    for change in changes {
        change();
        assert_eq!(s.write(files).unwrap(), Written::Updated);
        assert_eq!(s.write(files).unwrap(), Written::Unchanged);
        assert_eq!((text(s.in_volume("token")), text(s.in_volume("a/b"))), ("t".into(), "b".into()));
    }
}

#[test]
fn obsolete_links_go_and_strange_ones_stay() {
    let s = Scratch::new();
    s.write(&[("token", "t"), ("ca.crt", "c"), ("a/b", "b")]).unwrap();
    std::os::unix::fs::symlink("..data/token", s.in_volume("theirs")).unwrap();
    std::fs::write(s.in_volume("note"), "x").unwrap();
    s.write(&[("token", "t2")]).unwrap();
    s.clock.advance(Duration::from_secs(5));
    s.root.sweep();
    assert_eq!(names(&s.volume.path()), ["..TIME", "..data", "note", "theirs", "token"]);
}

#[test]
fn the_set_before_stays_until_it_is_swept() {
    let s = Scratch::new();
    s.write(&[("token", "1")]).unwrap();
    let first = std::fs::canonicalize(s.in_volume("..data")).unwrap();
    assert_eq!(s.root.sweep(), None);
    s.write(&[("token", "2")]).unwrap();
    s.clock.advance(Duration::from_secs(3));
    s.write(&[("token", "3")]).unwrap();
    assert_eq!(text(first.join("token")), "1");
    assert_eq!(s.root.sweep(), Some(Duration::from_secs(2)));
    s.clock.advance(Duration::from_secs(2));
    assert_eq!(s.root.sweep(), Some(Duration::from_secs(3)));
    assert!(!first.exists());
    assert_eq!(names(&s.volume.path()), ["..TIME", "..TIME", "..data", "token"]);
    s.clock.advance(Duration::from_secs(3));
    assert_eq!(s.root.sweep(), None);
    assert_eq!(names(&s.volume.path()), ["..TIME", "..data", "token"]);
    assert_eq!(text(s.in_volume("token")), "3");
}

#[test]
fn not_more_than_64_sets_are_kept() {
    let s = Scratch::new();
    for n in 0..100 {
        s.write(&[("token", &n.to_string())]).unwrap();
    }
    assert_eq!(names(&s.volume.path()).iter().filter(|name| *name == "..TIME").count(), 65);
    // A new agent knows of none of them.
    let s = s.restart();
    assert_eq!(s.write(&[("token", "99")]).unwrap(), Written::Unchanged);
    assert_eq!(names(&s.volume.path()), ["..TIME", "..data", "token"]);
}

#[test]
fn what_is_served_can_be_read_back() {
    let s = Scratch::new();
    assert_eq!(s.volume.read(&local("token")).unwrap(), None);
    assert_eq!(s.volume.current().unwrap(), None);
    assert!(!s.path().join("n").exists(), "reading makes nothing");
    s.write(&[("token", "t"), ("a/b", "b")]).unwrap();
    let s = s.restart();
    assert_eq!(s.volume.read(&local("a/b")).unwrap(), Some(Secret::new("b")));
    assert_eq!(s.volume.read(&local("a")).ok(), None, "a folder is no file");
    assert_eq!(s.volume.read(&local("a/b/c")).unwrap(), None);
    assert_eq!(s.volume.read(&local("x")).unwrap(), None);
}

#[test]
fn a_file_in_the_way_of_a_folder_is_refused() {
    let s = Scratch::new();
    s.write(&[("token", "t")]).unwrap();
    for (files, want) in [
        (&[("a", "x"), ("a!", "x"), ("a/b", "y")][..], "path \"a/b\" needs a folder where \"a\" is a file"),
        (&[("x/y", "x"), ("x/y/z/w", "y")][..], "path \"x/y/z/w\" needs a folder where \"x/y\" is a file"),
    ] {
        assert_eq!(s.write(files).unwrap_err().to_string(), want);
    }
    let deep = format!("{}x", "d/".repeat(100));
    let error = s.write(&[(&deep, "x")]).unwrap_err().to_string();
    assert!(error.ends_with("has more than 100 folders"), "{error}");
    assert_eq!(s.write(&[(&deep[2..], "x"), ("token", "t")]).unwrap(), Written::Updated);
    assert_eq!(text(s.in_volume("token")), "t");
    s.root.remove_pod("n", "p").unwrap();
    assert!(!s.path().join("n").exists());
}

#[test]
fn the_umask_has_no_say_and_links_follow_a_new_owner() {
    if !is_root() {
        return skip("only root can give files away");
    }
    let s = Scratch::new();
    let mut files = payload(&[("token", "t"), ("a/b", "b")]);
    files.insert(local("token"), File { user: Some(1000), ..file("t", 0o666) });
    let group = |group| Ownership { fs_user: Some(1000), fs_group: group };
    assert_eq!(s.volume.write(&files, &group(Some(2000))).unwrap(), Written::Updated);
    let meta = std::fs::metadata(s.in_volume("token")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o666, 1000, 2000));
    assert_eq!(s.volume.write(&files, &group(Some(2000))).unwrap(), Written::Unchanged);
    // A new fsGroup: everything follows, the links at the top too, and setgid goes with the last one.
    assert_eq!(s.volume.write(&files, &group(Some(3000))).unwrap(), Written::Updated);
    assert!(
        listing(&s.volume.path())
            .iter()
            .all(|l| l.contains(":3000") || l.contains(":2000") && l.starts_with("..TIME"))
    );
    assert_eq!(s.volume.write(&files, &group(None)).unwrap(), Written::Updated);
    let meta = std::fs::metadata(s.volume.path()).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.gid()), (0o755, 0));
    let link = std::fs::symlink_metadata(s.in_volume("token")).unwrap();
    assert_eq!((link.uid(), link.gid()), (1000, 0));
}
