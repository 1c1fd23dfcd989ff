//! Real disks that are full, without inodes, or read-only.

use std::process::Command;

use super::*;

/// A small file system of its own, or the reason why there is none.
struct Small(TempDir);

impl Small {
    fn new(options: &str) -> Result<Small, String> {
        if !is_root() {
            return Err("only root can mount a small file system".into());
        }
        let dir = tempfile::tempdir().unwrap();
        let done = mount(&["-t", "tmpfs", "-o", options, "small", dir.path().to_str().unwrap()]);
        if done { Ok(Small(dir)) } else { Err("mounting is not permitted".into()) }
    }

    fn scratch(&self) -> Scratch {
        Scratch::at(tempfile::tempdir_in(self.0.path()).unwrap(), Tmpfs::Never)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn mount(args: &[&str]) -> bool {
    Command::new("mount").args(args).output().is_ok_and(|out| out.status.success())
}

fn big(n: u8) -> String {
    String::from_utf8(vec![n; 100 << 10]).unwrap()
}

#[test]
fn a_full_disk_keeps_the_old_set() {
    let small = match Small::new("size=256k") {
        Ok(small) => small,
        Err(reason) => return skip(&reason),
    };
    let s = small.scratch();
    s.write(&[("token", &big(b'a'))]).unwrap();
    std::fs::write(small.0.path().join("fill"), vec![0; 100 << 10]).unwrap();
    let error = s.write(&[("token", &big(b'b'))]).unwrap_err();
    assert!(matches!(error, DiskError::Full { .. }), "{error:?}");
    let want = format!("no space left on the disk of {}; it stays as it was", s.volume.path().display());
    assert_eq!(error.to_string(), want);
    assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), big(b'a'));
    assert_eq!(
        names(&s.volume.path()),
        ["..TIME", "..data", "token"],
        "nothing half is left to fill the disk"
    );
    std::fs::remove_file(small.0.path().join("fill")).unwrap();
    s.write(&[("token", &big(b'b'))]).unwrap();
    // Now there is room for two sets, and one of them is kept for readers: it goes first.
    s.write(&[("token", &big(b'c'))]).unwrap();
    assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), big(b'c'));
}

#[test]
fn a_disk_without_inodes_keeps_the_old_set() {
    let small = match Small::new("size=1m,nr_inodes=40") {
        Ok(small) => small,
        Err(reason) => return skip(&reason),
    };
    let s = small.scratch();
    s.write(&[("token", "a")]).unwrap();
    for n in 0..100 {
        if std::fs::write(small.0.path().join(format!("fill{n}")), "").is_err() {
            break;
        }
    }
    let error = s.write(&[("token", "b")]).unwrap_err();
    assert!(matches!(error, DiskError::Inodes { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no inode left on the disk of "), "{error}");
    assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "a");
}

#[test]
fn a_read_only_disk_keeps_the_old_set() {
    // The lock is open for writing, so only what is below the agent's folder can be made read-only.
    let s = Scratch::new();
    let at = s.path().join("n");
    std::fs::create_dir(&at).unwrap();
    if !is_root() || !mount(&["-t", "tmpfs", "-o", "size=1m", "small", at.to_str().unwrap()]) {
        return skip("mounting a small file system is not permitted");
    }
    s.write(&[("token", "a")]).unwrap();
    assert!(mount(&["-o", "remount,ro", at.to_str().unwrap()]));
    let error = s.write(&[("token", "b")]).unwrap_err();
    assert!(matches!(error, DiskError::ReadOnly { .. }), "{error:?}");
    assert_eq!(s.write(&[("token", "a")]).unwrap(), Written::Unchanged);
    assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "a");
    assert!(matches!(s.root.write_state("n", "p", b"x"), Err(DiskError::ReadOnly { .. })));
    assert!(mount(&["-o", "remount,rw", at.to_str().unwrap()]));
    s.write(&[("token", "b")]).unwrap();
    assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "b");
}
