//! Whoever reads what is printed may have read enough.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use crate::process::{serve, tokensmith, until};

/// Runs a command whose output nobody reads.
fn unread(command: &mut Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_command_ends_without_a_word_where_nobody_reads() {
    let home = tempfile::tempdir().unwrap();
    let _server = serve(home.path(), &[]);
    for line in [
        "--help",
        "--version",
        "serve --help",
        "version",
        "version --output json",
        "completions bash",
        "token create default",
        "token list",
        "token list --output yaml",
        "keys list",
        "keys history",
        "keys policy",
        "kubeconfig",
        "kubeconfig --output json",
        "backup --to -",
        "backup --to file",
        "issuer publish published",
    ] {
        let ended = unread(tokensmith(home.path()).args(line.split(' ')));
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*error), (Some(141), ""), "{line}");
    }
    assert!(home.path().join("file").exists(), "what was to be done has been done");
}

#[test]
fn nor_does_a_command_panic_where_errors_are_not_read() {
    let home = tempfile::tempdir().unwrap();
    for (line, code) in [("serve --no-such-flag", 2), ("token list", 1), ("backup verify none", 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = tokensmith(home.path()).args(line.split(' ')).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{line}");
    }
}

/// `tokensmith serve | head -1`: it has decided nothing about how long the server is needed.
#[test]
fn a_server_goes_on_when_its_first_line_was_enough() {
    let home = tempfile::tempdir().unwrap();
    let mut command = tokensmith(home.path());
    command.args(["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains(" listens on https://127.0.0.1:"), "{first}");
    until("it is ready", || fs::read_to_string(home.path().join("ready")).is_ok_and(|s| !s.is_empty()));
    for line in ["token create default", "healthcheck --probe livez"] {
        let done = tokensmith(home.path()).args(line.split(' ')).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    // Its audit log is standard output, and who gives out tokens without a trace is not ready.
    let probe = tokensmith(home.path()).arg("healthcheck").output().unwrap();
    assert_eq!(probe.status.code(), Some(1));
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
