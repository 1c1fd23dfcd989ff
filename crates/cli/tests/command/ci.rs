//! What a CI job needs: a server that it can wait for, with a token that it knows, and a clock that it moves.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::process::{log_of, refused, run, serve, serve_with, spawn, text, tokensmith};

#[test]
fn a_server_that_is_being_started_can_be_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let none = run(dir, &["healthcheck", "--wait", "200ms"]);
    refused(&none, 1, "not healthy within 200ms: no server runs on tokensmith-data");
    let mut command = tokensmith(dir);
    command.args(["serve", "--secure-port=0", "--ready-file=ready"]);
    let mut server = spawn(&mut command, dir);
    let waited = run(dir, &["healthcheck", "--wait", "1m"]);
    assert!(waited.status.success(), "{}{}", text(&waited.stderr), log_of(dir));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_is_not_well_is_named() {
    let home = tempfile::tempdir().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = tokensmith(home.path());
    command.args(["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"]);
    let mut child = command.stdout(full).stderr(std::process::Stdio::null()).spawn().unwrap();
    crate::process::until("it is ready", || {
        fs::read_to_string(home.path().join("ready")).is_ok_and(|s| !s.is_empty())
    });
    assert!(run(home.path(), &["token", "create", "default"]).status.success());
    let asked = run(home.path(), &["healthcheck", "--wait", "300ms"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let says = "not healthy within 300ms: /readyz answered 500 Internal Server Error: what is not well: audit; the server's log says why";
    refused(&asked, 1, says);
}

#[test]
fn an_administrators_token_can_be_given() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let write = |text: &str| {
        fs::write(dir.join("token"), text).unwrap();
        fs::set_permissions(dir.join("token"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let start = ["serve", "--secure-port=0", "--admin-token-file=token"];
    for (token, says) in [
        ("short", "--admin-token-file: token holds 5 characters: it takes 32 to 1024"),
        ("", "token holds 0 characters"),
        (
            "0123456789abcdef 0123456789abcdef",
            "token holds something else than A-Z a-z 0-9 - . _ ~ + / and = at the end, on a single line",
        ),
        ("0123456789abcdef\n0123456789abcdef", "on a single line"),
        ("0123456789abcdef=0123456789abcdef", "and = at the end"),
        ("0123456789abcdef0123456789abcdé", "something else"),
    ] {
        write(token);
        refused(&run(dir, &start), 1, says);
    }
    fs::set_permissions(dir.join("token"), fs::Permissions::from_mode(0o666)).unwrap();
    refused(&run(dir, &start), 3, "token may be written by everyone (mode 666)");
    refused(&run(dir, &["serve", "--admin-token-file=none"]), 1, "cannot read none");
    assert!(!dir.join("tokensmith-data").exists(), "nothing is made");

    let (first, second) = ("ci-0123456789abcdef0123456789abcdef==", "ci.fedcba9876543210fedcba9876543210");
    let works = |token: &str| {
        let flags =
            ["--context=tokensmith", "--kubeconfig=tokensmith-data/admin.kubeconfig", "--token", token];
        run(dir, &[&["keys", "list"][..], &flags].concat()).status.success()
    };
    write(&format!("{first}\n"));
    let mut server = serve(dir, &["--admin-token-file=token"]);
    assert!(works(first) && !works(second));
    assert!(run(dir, &["token", "create", "default"]).status.success(), "the kubeconfig has it");
    assert_eq!(server.stop(), Some(0));
    // It stays, and another replaces it.
    let mut server = serve(dir, &[]);
    assert!(works(first));
    assert_eq!(server.stop(), Some(0));
    write(second);
    let mut server = serve(dir, &["--admin-token-file=token"]);
    assert!(works(second) && !works(first));
    assert_eq!(server.stop(), Some(0));
    let log = log_of(dir);
    assert!(log.contains("--admin-token-file holds another token than the data directory: that of before is refused from now on"));
    assert!(!log.contains(first) && !log.contains(second), "{log}");
}

#[test]
fn a_test_moves_the_clock() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let flags = ["--ephemeral", "--test-clock", "--kubeconfig=admin"];
    let mut server = serve(dir, &flags);
    let clock = |args: &[&str]| run(dir, &[&["clock", "--kubeconfig=admin"][..], args].concat());
    let shown = |args: &[&str]| {
        let done = clock(args);
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stdout)
    };
    assert_eq!(shown(&["--set", "2026-01-01T00:00:00Z"]), "2026-01-01T00:00:00Z\n");
    assert_eq!(shown(&[]), "2026-01-01T00:00:00Z\n");
    assert_eq!(shown(&["--advance", "1h30m"]), "2026-01-01T01:30:00Z\n");
    assert_eq!(
        shown(&["--advance", "24h", "--jump", "--output=json"]),
        "{\n  \"now\": \"2026-01-02T01:30:00Z\"\n}\n"
    );
    assert_eq!(shown(&["--advance", "1w1d"]), "2026-01-10T01:30:00Z\n");
    // A token lives by it.
    let token = text(&run(dir, &["token", "create", "default", "--kubeconfig=admin"]).stdout);
    fs::write(dir.join("minted"), &token).unwrap();
    let holds = || {
        run(dir, &["token", "inspect", "--file=minted", "--server", "--kubeconfig=admin"]).status.success()
    };
    assert!(holds());
    shown(&["--advance", "2h"]);
    assert!(!holds());
    for (args, code, says) in [
        (&["--set", "tomorrow"][..], 2, "--set \"tomorrow\": give a time such as 2030-01-01T00:00:00Z"),
        (&["--advance", "-1h"], 2, "it must not be negative"),
        (&["--advance=1h", "--set=2026-01-01T00:00:00Z"], 2, "cannot be used with"),
        (&["--jump"], 2, "--jump goes with --advance or --set; see `tokensmith clock --help`"),
    ] {
        refused(&clock(args), code, says);
    }
    assert_eq!(server.stop(), Some(0));
    let _server = serve(dir, &["--ephemeral", "--kubeconfig=admin"]);
    refused(
        &clock(&[]),
        1,
        "this server's clock is the machine's: one that can be moved is started with --ephemeral --test-clock",
    );
}

#[test]
fn the_folder_of_a_server_that_was_killed_is_removed_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let (dir, place) = (home.path(), home.path().join("tmp"));
    fs::create_dir(&place).unwrap();
    let folders = || {
        let all = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
        all.collect::<std::collections::BTreeSet<_>>()
    };
    let started = || {
        let mut command = tokensmith(dir);
        command.env("TMPDIR", &place);
        serve_with(command, dir, &["--ephemeral"])
    };
    let killed = started();
    let left = folders();
    assert_eq!(left.len(), 1);
    killed.signal("KILL");
    drop(killed);
    fs::create_dir(place.join("tokensmith-abcdefghijkl")).unwrap();
    let mut first = started();
    let second = started();
    assert!(left.iter().all(|path| !path.exists()), "what was left is gone");
    let path = left.first().unwrap().display().to_string();
    let says = format!("removed {path}, which a server that was killed has left");
    assert!(log_of(dir).contains(&says), "{}", log_of(dir));
    assert_eq!(folders().len(), 3, "two that are in use, and one that no server has made");
    assert_eq!(first.stop(), Some(0));
    assert_eq!(folders().len(), 2);
    drop(second);
}
