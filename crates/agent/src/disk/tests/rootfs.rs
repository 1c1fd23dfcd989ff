//! What containers see.

use super::super::View;
use super::*;
use crate::pod::{ContainerKind, ContainerPlan, MountPlan, PodPlan, VolumePlan};

/// `(container, path, volume, sub_path)`
type Mount<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

fn plan(mounts: &[Mount<'_>]) -> PodPlan {
    let mut containers: Vec<ContainerPlan> = Vec::new();
    for (container, path, volume, sub_path) in mounts {
        let mount = MountPlan {
            volume: (*volume).into(),
            path: (*path).into(),
            sub_path: sub_path.map(local),
            read_only: true,
        };
        match containers.iter_mut().find(|c| c.name == *container) {
            Some(container) => container.mounts.push(mount),
            None => containers.push(ContainerPlan {
                name: (*container).into(),
                kind: ContainerKind::Regular,
                mounts: vec![mount],
            }),
        }
    }
    let volume = |name: &str| VolumePlan { name: name.into(), default_mode: 0o644, sources: Vec::new() };
    PodPlan {
        namespace: "n".into(),
        name: "p".into(),
        uid: String::new(),
        account: "default".into(),
        ownership: NOBODY,
        volumes: vec![volume("v"), volume("w")],
        containers,
        ignored: Vec::new(),
    }
}

/// With bind mounts where they can be had, and with links.
fn each(test: impl Fn(&Scratch, bool)) {
    // On tmpfs nothing is shared with others unless somebody made it so: links.
    let link = tempfile::tempdir_in("/dev/shm").map(|dir| Scratch::at(dir, Tmpfs::Never));
    for s in [Some(Scratch::with(Tmpfs::Auto)), link.ok()].into_iter().flatten() {
        s.write(&[("token", "t"), ("sub/file", "f")]).unwrap();
        let other = s.root.volume("n", "p", "w").unwrap();
        other.write(&payload(&[("other", "o")]), &NOBODY).unwrap();
        let bind = s.root.facts().view == View::Bind;
        println!("{}", s.root.facts());
        test(&s, bind);
        let outside = s.outside();
        s.root.remove_pod("n", "p").unwrap();
        assert_eq!(names(&s.path()), [".lock"]);
        outside.assert_untouched();
    }
}

fn text(s: &Scratch, path: &str) -> String {
    std::fs::read_to_string(s.path().join("n/p/rootfs").join(path)).unwrap_or_else(|e| e.to_string())
}

#[test]
fn each_container_sees_its_mounts() {
    each(|s, bind| {
        s.root
            .show(&plan(&[
                ("c", "/var/run/secrets/tokens", "v", None),
                ("c", "/w", "w", None),
                ("d", "/w", "v", None),
            ]))
            .unwrap();
        assert_eq!(text(s, "c/var/run/secrets/tokens/token"), "t");
        assert_eq!(text(s, "c/w/other"), "o");
        assert_eq!(text(s, "d/w/sub/file"), "f");
        assert_eq!(s.path().join("n/p/rootfs/c/w").is_symlink(), !bind);
        // Updates are seen.
        s.write(&[("token", "t2")]).unwrap();
        assert_eq!(text(s, "c/var/run/secrets/tokens/token"), "t2");
        if bind {
            let error = std::fs::write(s.path().join("n/p/rootfs/c/w/new"), "x").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            if is_root() && std::process::Command::new("chroot").arg("--version").output().is_ok() {
                let root = rustix::fs::open(
                    s.path().join("n/p/rootfs/c"),
                    rustix::fs::OFlags::PATH,
                    rustix::fs::Mode::empty(),
                )
                .unwrap();
                // As a chroot resolves it: no link may leave the root.
                let token = rustix::fs::openat2(
                    &root,
                    "/var/run/secrets/tokens/token",
                    rustix::fs::OFlags::RDONLY,
                    rustix::fs::Mode::empty(),
                    rustix::fs::ResolveFlags::IN_ROOT,
                )
                .unwrap();
                let token = std::io::read_to_string(std::fs::File::from(token)).unwrap();
                assert_eq!(token, "t2");
            }
        }
    });
}

#[test]
fn a_part_of_a_volume_sees_updates_too() {
    each(|s, _| {
        let plan = plan(&[("c", "/etc/app/token", "v", Some("token")), ("c", "/sub", "v", Some("sub"))]);
        s.root.show(&plan).unwrap();
        assert_eq!((text(s, "c/etc/app/token"), text(s, "c/sub/file")), ("t".into(), "f".into()));
        s.write(&[("token", "t2"), ("sub/file", "f2")]).unwrap();
        assert_eq!((text(s, "c/etc/app/token"), text(s, "c/sub/file")), ("t2".into(), "f2".into()));
        s.root.show(&plan).unwrap();
        assert_eq!(text(s, "c/etc/app/token"), "t2");
    });
}

#[test]
fn what_an_earlier_plan_left_goes() {
    each(|s, _| {
        let rootfs = s.path().join("n/p/rootfs");
        s.root
            .show(&plan(&[("c", "/a/b", "v", None), ("c", "/x", "v", None), ("old", "/a", "v", None)]))
            .unwrap();
        std::fs::create_dir_all(rootfs.join("c/a/stray/deep")).unwrap();
        let next = plan(&[("c", "/a/b", "w", None), ("c", "/a/c", "v", None), ("c", "/x/y", "v", None)]);
        for _ in 0..2 {
            s.root.show(&next).unwrap();
            assert_eq!((text(s, "c/a/b/other"), text(s, "c/a/c/token")), ("o".into(), "t".into()));
            assert_eq!(text(s, "c/x/y/token"), "t");
            assert_eq!(
                (names(&rootfs), names(&rootfs.join("c/a"))),
                (vec!["c".into()], vec!["b".into(), "c".into()])
            );
        }
        assert_eq!(std::fs::read_to_string(s.in_volume("token")).unwrap(), "t");
        // A volume that was made anew is shown anew.
        s.root.retain("n", "p", &["w"]).unwrap();
        s.write(&[("token", "again")]).unwrap();
        s.root.show(&next).unwrap();
        assert_eq!(text(s, "c/a/c/token"), "again");
    });
}

#[test]
fn a_link_in_the_view_leads_nothing_outside() {
    each(|s, _| {
        let outside = s.outside();
        let plan = plan(&[("c", "/a/b", "v", None)]);
        let rootfs = s.path().join("n/p/rootfs");
        for planted in ["c/a/b", "c/a", "c/stray"] {
            s.root.show(&plan).unwrap();
            s.root.remove_pod("n", "p").unwrap();
            s.write(&[("token", "t")]).unwrap();
            std::fs::create_dir_all(rootfs.join(planted).parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(&outside.path, rootfs.join(planted)).unwrap();
            s.root.show(&plan).unwrap();
            assert_eq!(text(s, "c/a/b/token"), "t");
            assert_eq!(names(&rootfs.join("c")), ["a"]);
            outside.assert_untouched();
        }
        std::fs::remove_dir_all(rootfs.join("d")).ok();
        std::os::unix::fs::symlink(&outside.path, rootfs.join("d")).unwrap();
        let two = super::rootfs::plan(&[("c", "/a/b", "v", None), ("d", "/x", "v", None)]);
        assert!(matches!(s.root.show(&two), Err(DiskError::NotFolder { .. })));
        outside.assert_untouched();
        std::fs::remove_file(rootfs.join("d")).unwrap();
    });
}

#[test]
fn paths_that_have_no_place_are_named() {
    each(|s, _| {
        let error =
            s.root.show(&plan(&[("c", "/a", "v", None), ("c", "/a/b", "w", None), ("d", "/z", "v", None)]));
        assert_eq!(
            error.unwrap_err().to_string(),
            "container c: mount path \"/a/b\" is inside \"/a\", a volume that cannot hold it"
        );
        assert_eq!((text(s, "c/a/token"), text(s, "d/z/token")), ("t".into(), "t".into()));
        for path in ["/", "relative", "/a/../../b", "/..volumes/x", "//"] {
            assert!(
                matches!(s.root.show(&plan(&[("c", path, "v", None)])), Err(DiskError::Name { .. })),
                "{path}"
            );
        }
    });
}
