//! Links and files that somebody has planted. Nothing outside may change, and readers get what is theirs.

use std::os::unix::fs::symlink;

use super::*;

const FILES: &[(&str, &str)] = &[("token", "t"), ("sub/file", "f")];
const NEXT: &[(&str, &str)] = &[("token", "t2"), ("sub/file", "f2")];

/// Plants something in a volume that is in use, and sees what a write makes of it.
fn planted(plant: impl Fn(&Scratch, &Path)) {
    for next in [FILES, NEXT, &[("other", "o")]] {
        let s = Scratch::new();
        let outside = s.outside();
        s.write(FILES).unwrap();
        plant(&s, &outside.path);
        let _ = s.volume.read(&local("token"));
        s.write(next).unwrap();
        for (path, data) in next {
            assert_eq!(std::fs::read_to_string(s.in_volume(path)).unwrap(), *data);
            assert_eq!(s.volume.read(&local(path)).unwrap().unwrap().expose(), data.as_bytes());
        }
        assert!(std::fs::canonicalize(s.in_volume("..data")).unwrap().starts_with(s.volume.path()));
        outside.assert_untouched();
        s.root.remove_pod("n", "p").unwrap();
        assert!(!s.path().join("n").exists());
        outside.assert_untouched();
    }
}

fn current(s: &Scratch) -> PathBuf {
    s.in_volume(std::fs::read_link(s.in_volume("..data")).unwrap().to_str().unwrap())
}

#[test]
fn the_data_link_leads_outside() {
    planted(|s, outside| {
        std::fs::remove_file(s.in_volume("..data")).unwrap();
        symlink(outside, s.in_volume("..data")).unwrap();
    });
    planted(|s, _| {
        std::fs::remove_file(s.in_volume("..data")).unwrap();
        symlink("../../../../../outside", s.in_volume("..data")).unwrap();
    });
}

#[test]
fn the_data_link_is_something_else() {
    planted(|s, _| {
        std::fs::remove_file(s.in_volume("..data")).unwrap();
        std::fs::write(s.in_volume("..data"), "x").unwrap();
    });
    planted(|s, outside| {
        std::fs::remove_file(s.in_volume("..data")).unwrap();
        std::fs::create_dir(s.in_volume("..data")).unwrap();
        symlink(outside, s.in_volume("..data").join("token")).unwrap();
    });
}

#[test]
fn the_generation_is_a_link() {
    planted(|s, outside| {
        let generation = current(s);
        std::fs::remove_dir_all(&generation).unwrap();
        symlink(outside, &generation).unwrap();
    });
}

#[test]
fn another_generation_is_a_link() {
    planted(|s, outside| symlink(outside, s.in_volume("..2020_01_01_00_00_00.1")).unwrap());
}

#[test]
fn a_folder_in_the_generation_is_a_link() {
    planted(|s, outside| {
        let sub = current(s).join("sub");
        std::fs::remove_dir_all(&sub).unwrap();
        symlink(outside.join("sub"), &sub).unwrap();
    });
}

#[test]
fn a_file_in_the_generation_is_a_link_or_a_pipe() {
    planted(|s, outside| {
        let token = current(s).join("token");
        std::fs::remove_file(&token).unwrap();
        symlink(outside.join("token"), &token).unwrap();
    });
    planted(|s, _| {
        let token = current(s).join("token");
        std::fs::remove_file(&token).unwrap();
        let dir = std::fs::File::open(current(s)).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&dir, "token", rustix::fs::FileType::Fifo, mode, 0).unwrap();
    });
}

#[test]
fn a_link_at_the_top_is_something_else() {
    planted(|s, outside| {
        std::fs::remove_file(s.in_volume("token")).unwrap();
        symlink(outside.join("token"), s.in_volume("token")).unwrap();
        std::fs::remove_file(s.in_volume("sub")).unwrap();
        symlink(outside, s.in_volume("sub")).unwrap();
        let _ = symlink(outside.join("passwd"), s.in_volume("other"));
    });
    planted(|s, outside| {
        std::fs::remove_file(s.in_volume("token")).unwrap();
        std::fs::hard_link(outside.join("token"), s.in_volume("token")).unwrap();
        std::fs::remove_file(s.in_volume("sub")).unwrap();
        std::fs::create_dir(s.in_volume("sub")).unwrap();
        symlink(outside, s.in_volume("sub").join("file")).unwrap();
        std::fs::create_dir(s.in_volume("other")).unwrap();
        std::fs::write(s.in_volume("other/x"), "x").unwrap();
    });
}

#[test]
fn our_own_names_lead_outside() {
    for name in ["..data_tmp", "..link_tmp"] {
        planted(|s, outside| symlink(outside, s.in_volume(name)).unwrap());
        planted(|s, outside| {
            std::fs::create_dir(s.in_volume(name)).unwrap();
            symlink(outside, s.in_volume(name).join("x")).unwrap();
        });
        planted(|s, outside| std::fs::hard_link(outside.join("token"), s.in_volume(name)).unwrap());
    }
}

/// Where a folder of the layout should be, a link stands.
#[test]
fn a_folder_of_the_layout_is_a_link() {
    for at in ["n", "n/p", "n/p/volumes", "n/p/volumes/v"] {
        let s = Scratch::new();
        let outside = s.outside();
        s.write(FILES).unwrap();
        s.root.write_state("n", "p", b"state").unwrap();
        let path = s.path().join(at);
        let aside = s.path().join("aside");
        std::fs::rename(&path, &aside).unwrap();
        for deeper in ["p/volumes/v", "volumes/v", "v", "."] {
            std::fs::create_dir_all(outside.path.join(deeper)).unwrap();
        }
        let outside = Outside { before: listing(&outside.path), ..outside };
        symlink(&outside.path, &path).unwrap();
        let error = s.write(NEXT).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is not a folder of ours: remove it", path.display()));
        assert!(s.volume.read(&local("token")).is_err());
        assert!(!s.volume.contains(&local("token")));
        let _ = s.root.retain("n", "p", &[]);
        let _ = s.root.remove_pod("n", "p");
        outside.assert_untouched();
        let _ = std::fs::remove_file(&path);
        if aside.exists() && path.parent().unwrap().exists() {
            std::fs::rename(&aside, &path).unwrap();
        }
        s.write(NEXT).unwrap();
        assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "t2");
    }
}

#[test]
fn the_state_is_a_link() {
    let s = Scratch::new();
    let outside = s.outside();
    s.root.write_state("n", "p", b"state").unwrap();
    let state = s.path().join("n/p/state.json");
    std::fs::remove_file(&state).unwrap();
    symlink(outside.path.join("token"), &state).unwrap();
    symlink(outside.path.join("passwd"), s.path().join("n/p/.state.json.tmp")).unwrap();
    assert_eq!(s.root.read_state("n", "p").unwrap(), None);
    assert_eq!(s.root.pods().unwrap(), []);
    s.root.write_state("n", "p", b"new").unwrap();
    assert_eq!(s.root.read_state("n", "p").unwrap().unwrap(), b"new");
    outside.assert_untouched();
}

#[test]
fn a_folder_that_somebody_else_made_first_is_refused() {
    if !is_root() {
        return skip("only root can make a folder of somebody else");
    }
    let s = Scratch::new();
    std::fs::create_dir_all(s.path().join("n/p")).unwrap();
    std::os::unix::fs::chown(s.path().join("n/p"), Some(1234), None).unwrap();
    assert!(matches!(s.write(FILES), Err(DiskError::NotFolder { .. })));
    // Unless the agent's folder is his.
    std::os::unix::fs::chown(s.path(), Some(1234), None).unwrap();
    s.write(FILES).unwrap();
}

#[test]
fn names_do_not_lead_elsewhere() {
    let s = Scratch::new();
    for name in ["", ".", "..", "a/b", "../x", ".lock", ".probe", "a\0", &"x".repeat(256)] {
        for (n, p, v) in [(name, "p", "v"), ("n", name, "v"), ("n", "p", name)] {
            assert!(matches!(s.root.volume(n, p, v), Err(DiskError::Name { .. })), "{name:?}");
        }
        assert!(matches!(s.root.write_state(name, "p", b""), Err(DiskError::Name { .. })));
        assert!(matches!(s.root.remove_pod("n", name), Err(DiskError::Name { .. })));
    }
}
