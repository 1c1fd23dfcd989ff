//! What was lost from a data directory is said, and not made anew; a first start that was killed goes on.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{refused, run, serve};

/// A data directory whose server has stopped, and a token of it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = serve(dir.path(), &[]);
    let minted = run(dir.path(), &["token", "create", "default", "--audience=vault"]);
    fs::write(dir.path().join("token"), minted.stdout).unwrap();
    assert_eq!(server.stop(), Some(0));
    let data = dir.path().join("tokensmith-data");
    (dir, data)
}

fn names(data: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(data).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn accepted(dir: &Path) -> bool {
    run(dir, &["token", "inspect", "--file=token", "--server", "--audience=vault"]).status.success()
}

#[test]
fn a_lost_store_ca_or_token_is_said_and_not_made_anew() {
    let (dir, data) = place();
    let aside = dir.path().join("aside");
    let serving = ["serve", "--secure-port=0", "--signing-algorithm=ES256"];
    for (lost, says) in [
        ("store", "its store is missing"),
        ("ca.crt", "ca.crt is missing"),
        ("ca.key", "ca.key is missing"),
        ("admin.token", "admin.token is missing"),
    ] {
        fs::rename(data.join(lost), &aside).unwrap();
        let before = names(&data);
        // A second try is refused, too.
        for _ in 0..2 {
            refused(&run(dir.path(), &serving), 3, says);
        }
        let mut after = names(&data);
        if lost == "store" {
            let left: Vec<_> = names(&data.join("store"));
            assert!(left.is_empty() || left == ["lock"], "{left:?}");
            fs::remove_dir_all(data.join("store")).unwrap();
            after.retain(|name| name != "store");
        }
        assert_eq!(after, before, "nothing is made");
        fs::rename(&aside, data.join(lost)).unwrap();
    }
    let _server = serve(dir.path(), &[]);
    assert!(accepted(dir.path()), "put back, all is as it was");
}

#[test]
fn a_lost_store_is_begun_anew_by_force_alone() {
    let (dir, data) = place();
    fs::remove_dir_all(data.join("store")).unwrap();
    let ca = fs::read(data.join("ca.crt")).unwrap();
    let mut server = serve(dir.path(), &["--force"]);
    assert!(!accepted(dir.path()), "its key is gone");
    assert_eq!(fs::read(data.join("ca.crt")).unwrap(), ca, "what was there stays");
    assert_eq!(server.stop(), Some(0));
    assert!(!data.join(".first-start").exists());
    let _again = serve(dir.path(), &[]);
}

/// Whatever failed before: what a start leaves that did not come to its end lets no other one make keys.
#[test]
fn a_failed_start_leaves_no_way_to_begin_anew_silently() {
    let (dir, data) = place();
    let serving = ["serve", "--secure-port=0", "--signing-algorithm=ES256"];
    let mut server = serve(dir.path(), &[]);
    let forced = [&serving[..], &["--force"]].concat();
    refused(&run(dir.path(), &forced), 1, "in use by another process");
    assert!(!data.join(".first-start").exists());
    assert_eq!(server.stop(), Some(0));
    let aside = dir.path().join("aside");
    fs::rename(data.join("store"), &aside).unwrap();
    refused(&run(dir.path(), &serving), 3, "its store is missing");
    // As a signer leaves it: a server joins, and fails.
    fs::remove_dir_all(data.join("store")).unwrap();
    fs::rename(&aside, data.join("store")).unwrap();
    for name in ["admin.kubeconfig", "admin.token", "ca.crt", "ca.key", "issuer"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    refused(&run(dir.path(), &serving), 3, "tokens of issuer");
    assert!(data.join(".first-start").exists());
    fs::remove_dir_all(data.join("store")).unwrap();
    refused(&run(dir.path(), &serving), 3, "its store is missing");
}

#[test]
fn a_signers_lost_store_is_not_made_anew_either() {
    let (dir, data) = place();
    for name in ["admin.kubeconfig", "admin.token", "ca.crt", "ca.key", "issuer"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    fs::remove_dir_all(data.join("store")).unwrap();
    refused(&run(dir.path(), &["signer", "--socket=s"]), 3, "holds seal.key, but its store is missing");
}

#[test]
fn a_server_takes_a_signers_data_over() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("tokensmith-data");
    let issuer = ["--service-account-issuer=https://lost.example"];
    assert_eq!(serve(dir.path(), &issuer).stop(), Some(0));
    for name in ["admin.kubeconfig", "admin.token", "ca.crt", "ca.key"] {
        fs::remove_file(data.join(name)).unwrap();
    }
    assert_eq!(names(&data), ["seal.key", "serving.crt", "store"], "as a signer leaves it");
    let _server = serve(dir.path(), &issuer);
    assert!(data.join("ca.crt").exists() && !data.join(".first-start").exists());
}

/// Whatever a first start had made when it was killed.
#[test]
fn a_first_start_that_was_killed_goes_on() {
    let (dir, data) = place();
    let made = ["ca.key", "ca.crt", "issuer", "seal.key"];
    for cut in 0..=made.len() {
        let copy = tempfile::tempdir().unwrap();
        let there = copy.path().join("tokensmith-data");
        fs::create_dir(&there).unwrap();
        fs::write(there.join(".first-start"), "").unwrap();
        for name in &made[..cut] {
            fs::copy(data.join(name), there.join(name)).unwrap();
        }
        std::process::Command::new("chmod").args(["-R", "go-rwx"]).arg(&there).status().unwrap();
        let mut server = serve(copy.path(), &[]);
        assert_eq!(server.stop(), Some(0), "{cut}");
        assert!(!there.join(".first-start").exists());
    }
    drop(dir);
}
