//! What is private is private under any umask, and a data directory that is not is mended or refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::process::{ended, log_of, refused, run, serve, serve_with, tokensmith, with_umask};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(all_below(&path)),
            false => all.push(path),
        }
    }
    all
}

/// All but certificates and addresses, which are for everyone who gets there.
fn is_private(data: &Path, forbidden: u32) {
    for path in all_below(data) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let public = ["address", "ca.crt", "issuer", "serving.crt"].contains(&name.as_str());
        let forbidden = if public { 0o022 } else { forbidden };
        assert_eq!(mode(&path) & forbidden, 0, "{} {:o}", path.display(), mode(&path));
    }
}

#[test]
fn what_is_private_is_private_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tokensmith-data");
    let args = ["--audit-log-path=audit", "--kubeconfig=kubeconfig", "--external-signer-socket=signer.sock"];
    let mut server = serve_with(with_umask(dir.path(), "000"), dir.path(), &args);
    assert!(run(dir.path(), &["token", "create", "default", "--kubeconfig=kubeconfig"]).status.success());
    let token = dir.path().join("kubeconfig");
    let written = ended(with_umask(dir.path(), "000").args([
        "kubeconfig",
        "--kubeconfig=kubeconfig",
        "--write=mine",
        "--namespace=x",
    ]));
    assert!(written.status.success(), "{written:?}");
    for file in ["audit", "kubeconfig", "mine", "signer.sock"] {
        assert_eq!(mode(&dir.path().join(file)), 0o600, "{file}");
    }
    assert!(token.exists());
    assert_eq!((mode(&data), mode(&dir.path().join("ready"))), (0o700, 0o644));
    is_private(&data, 0o077);
    let publish = ["issuer", "publish", "site/keys", "--kubeconfig=kubeconfig"];
    let published = ended(with_umask(dir.path(), "000").args(publish));
    assert!(published.status.success(), "{published:?}");
    for path in all_below(&dir.path().join("site")) {
        let want = if path.is_dir() { 0o755 } else { 0o644 };
        assert_eq!(mode(&path), want, "{}", path.display());
    }
    assert_eq!(server.stop(), Some(0));
    is_private(&data, 0o077);
}

#[test]
fn a_data_directory_that_others_may_read_is_mended_and_one_that_they_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tokensmith-data");
    assert_eq!(serve(dir.path(), &[]).stop(), Some(0));
    set(&data, 0o755);
    for path in all_below(&data.join("store")) {
        set(&path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    assert_eq!(serve(dir.path(), &[]).stop(), Some(0));
    assert_eq!(mode(&data), 0o700);
    is_private(&data, 0o077);
    assert!(log_of(dir.path()).contains("could be read by others (mode 755): it is 700 now"));

    for (open, says) in [
        (0o777, "may be written by everyone (mode 777)"),
        (0o1777, "may be written by everyone (mode 1777)"),
        (0o770, "--allow-group-access"),
    ] {
        set(&data, open);
        refused(&run(dir.path(), &["serve", "--secure-port=0"]), 3, says);
        refused(&run(dir.path(), &["signer", "--socket=s"]), 3, says);
        assert_eq!(mode(&data), open, "it is left as it was");
    }
    for open in ["", "store", "store/sled"] {
        set(&data.join(open), 0o755);
    }
    set(&data.join("store/sled/db"), 0o666);
    refused(&run(dir.path(), &["serve", "--secure-port=0"]), 3, "db may be written by everyone (mode 666)");
    set(&data, 0o700);
    assert_eq!(serve(dir.path(), &[]).stop(), Some(0), "nobody could get there");
    assert_eq!(mode(&data.join("store/sled/db")), 0o600);
}

#[test]
fn a_link_below_the_data_directory_is_refused_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tokensmith-data");
    assert_eq!(serve(dir.path(), &[]).stop(), Some(0));
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "x").unwrap();
    let open = |path: &Path, mode: u32| {
        set(path, mode);
        path.to_owned()
    };
    let targets = [open(&outside.join("file"), 0o664), open(&outside, 0o755), dir.path().join("none")];
    for at in ["store/link", "store/sled/link", "link"] {
        for target in &targets {
            let link = data.join(at);
            std::os::unix::fs::symlink(target, &link).unwrap();
            for args in
                [vec!["serve", "--secure-port=0"], vec!["serve", "--secure-port=0", "--allow-group-access"]]
            {
                refused(&run(dir.path(), &args), 3, "link is a link, and none is followed");
            }
            fs::remove_file(&link).unwrap();
        }
    }
    assert_eq!((mode(&outside.join("file")), mode(&outside)), (0o664, 0o755));
    assert_eq!(serve(dir.path(), &[]).stop(), Some(0));
}

#[test]
fn a_file_in_the_data_directory_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tokensmith-data");
    assert_eq!(serve(dir.path(), &[]).stop(), Some(0));
    for file in ["ca.crt", "issuer", "ca.key", "admin.kubeconfig"] {
        let path = data.join(file);
        let was = mode(&path);
        for (open, says, group_is_refused) in [
            (0o666, "may be written by everyone (mode 666)", true),
            (0o602, "may be written by everyone (mode 602)", true),
            (0o660, "may be written by its group (mode 660)", false),
        ] {
            set(&path, open);
            let says = format!("{file} {says}");
            refused(&run(dir.path(), &["serve", "--secure-port=0"]), 3, &says);
            if group_is_refused {
                refused(&run(dir.path(), &["serve", "--secure-port=0", "--allow-group-access"]), 3, &says);
            }
            assert_eq!(mode(&path), open, "it is left as it was");
        }
        set(&path, was);
    }
    set(&data.join("issuer"), 0o444);
    assert_eq!(serve(dir.path(), &[]).stop(), Some(0), "public ones may be read");
}

#[test]
fn a_group_has_access_when_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tokensmith-data");
    fs::create_dir(&data).unwrap();
    set(&data, 0o2770);
    let mut server = serve(dir.path(), &["--allow-group-access"]);
    assert_eq!(mode(&data), 0o2770);
    is_private(&data, 0o007);
    for file in ["seal.key", "admin.token", "admin.kubeconfig", "ca.key", "store/lock", "store/sled/db"] {
        assert_eq!(mode(&data.join(file)), 0o660, "{file}");
    }
    assert_eq!(server.stop(), Some(0));
    assert_eq!(serve(dir.path(), &["--allow-group-access"]).stop(), Some(0), "and takes it again");
}

/// A directory of somebody else's is theirs, whatever its mode.
#[test]
fn a_data_directory_of_another_user_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tokensmith-data");
    fs::create_dir(&data).unwrap();
    set(&data, 0o700);
    if std::os::unix::fs::chown(&data, Some(12_345), None).is_err() {
        return; // Only root can give a directory away.
    }
    refused(&run(dir.path(), &["serve", "--secure-port=0"]), 3, "belongs to user 12345");
}

#[test]
fn a_file_of_a_flag_that_everyone_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("users"), "one,jane,1,system:masters\n").unwrap();
    set(&dir.path().join("users"), 0o666);
    let done = ended(tokensmith(dir.path()).args(["serve", "--secure-port=0", "--token-auth-file=users"]));
    refused(&done, 3, "users may be written by everyone (mode 666)");
}
