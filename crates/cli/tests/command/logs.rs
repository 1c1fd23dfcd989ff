//! The log: which lines, in which form, and never a secret.

use std::fs;

use crate::process::{ended, log_of, refused, run, serve_with, text, tokensmith, until};

#[test]
fn a_wrong_level_is_said() {
    let home = tempfile::tempdir().unwrap();
    let says = "is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL";
    for args in
        [&["serve", "--log=inof"][..], &["signer", "--socket=s", "--log", "inof"], &["proxy", "--log=inof"]]
    {
        refused(
            &run(home.path(), args),
            2,
            &format!(
                "invalid value 'inof' for '--log <LEVEL>': \"inof\" {says}; see `tokensmith {} --help`",
                args[0]
            ),
        );
    }
    let done = ended(
        tokensmith(home.path()).args(["project", "--all", "--root=root"]).env("TOKENSMITH_LOG", "info,h2"),
    );
    refused(&done, 2, &format!("\"h2\" {says} (from TOKENSMITH_LOG)"));
    let wrong = run(home.path(), &["serve", "--log-format=xml"]);
    refused(&wrong, 2, "invalid value 'xml' for '--log-format <FORM>' [possible values: json, text]");
    // Who only looks may do so in an environment that is a server's.
    let status = ended(
        tokensmith(home.path()).args(["project", "status", "--root=none"]).env("TOKENSMITH_LOG", "debug"),
    );
    assert!(!text(&status.stderr).contains("TOKENSMITH_LOG"), "{}", text(&status.stderr));
}

#[test]
fn a_level_lets_lines_through() {
    for (level, shown, hidden) in [
        (
            "debug",
            &[" INFO ", "DEBUG registry.create", ": tokensmith_store::history"][..],
            &["DEBUG h2", "DEBUG hyper", "DEBUG rustls"][..],
        ),
        ("info", &[" INFO tokensmith"], &["DEBUG"]),
        ("error", &[], &[" INFO ", " WARN ", "DEBUG"]),
        ("off,tokensmith_core::keys=info", &[" INFO tokensmith_core::keys"], &["tokensmith::serve"]),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut server = serve_with(tokensmith(home.path()), home.path(), &["--log", level]);
        assert!(run(home.path(), &["token", "create", "default"]).status.success());
        assert_eq!(server.stop(), Some(0));
        let log = log_of(home.path());
        shown.iter().for_each(|part| assert!(log.contains(part), "{level}: {part}: {log}"));
        hidden.iter().for_each(|part| assert!(!log.contains(part), "{level}: {part}: {log}"));
    }
}

#[test]
fn as_json_each_line_is_an_object_and_none_holds_a_secret() {
    let home = tempfile::tempdir().unwrap();
    let mut command = tokensmith(home.path());
    command.env("TOKENSMITH_LOG_FORMAT", "json").env("TOKENSMITH_DATA_DRI", "x").env("RUST_LOG", "off");
    // As much as there is, of the libraries as well.
    let all = "trace,h2=trace,hyper=trace,hyper_util=trace,rustls=trace,sled=trace,tokio=trace,axum=trace,tower=trace,reqwest=trace";
    let mut server = serve_with(command, home.path(), &["--log", all]);
    let minted = text(&run(home.path(), &["token", "create", "default", "--audience", "vault"]).stdout);
    let inspected = ended(tokensmith(home.path()).args(["token", "inspect", "--server", "--token", &minted]));
    let _ = text(&inspected.stdout);
    assert_eq!(server.stop(), Some(0));
    let log = log_of(home.path());
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let said = |message: &str| {
        let mut found =
            lines.iter().filter(|line| line["message"].as_str().is_some_and(|m| m.starts_with(message)));
        found.next().unwrap_or_else(|| panic!("{message}: {log}")).clone()
    };
    let listens = said("tokensmith listens");
    assert!(listens["url"].as_str().unwrap().starts_with("https://127.0.0.1:"), "{listens}");
    assert_eq!(
        (&listens["level"], &listens["target"]),
        (&"INFO".into(), &"tokensmith::serve::banner".into())
    );
    assert!(listens["timestamp"].is_string());
    said("no flag reads TOKENSMITH_DATA_DRI; was TOKENSMITH_DATA_DIR meant?");
    said("stopping");
    let admin = fs::read_to_string(home.path().join("tokensmith-data/admin.token")).unwrap();
    let signature = minted.trim().rsplit('.').next().unwrap();
    for secret in [admin.trim(), signature, "PRIVATE KEY"] {
        assert!(!log.contains(secret), "{secret}");
    }
    // What stops a start is a line like the others.
    let done = ended(tokensmith(home.path()).args([
        "serve",
        "--log-format=json",
        "--log=off",
        "--client-ca-file=none",
    ]));
    let line: serde_json::Value = serde_json::from_str(text(&done.stderr).trim()).unwrap();
    assert_eq!((done.status.code(), &line["level"]), (Some(1), &"ERROR".into()));
}

#[test]
fn a_server_ends_with_the_process_that_it_is_for() {
    let home = tempfile::tempdir().unwrap();
    let mut harness = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = format!("--parent-pid={}", harness.id());
    let mut server = serve_with(tokensmith(home.path()), home.path(), &[&pid]);
    assert!(server.running());
    harness.kill().unwrap();
    // Nobody has waited for it yet: it has ended all the same.
    until("the server has ended", || !server.running());
    let says = format!("the process {} (--parent-pid) has ended", harness.id());
    assert!(log_of(home.path()).contains(&says), "{}", log_of(home.path()));
    let gone = run(home.path(), &["serve", "--secure-port=0", "--data-dir=other", &pid]);
    refused(&gone, 1, "that process has ended already, so that nobody needs this server: nothing is started");
    harness.wait().unwrap();
    let gone = run(home.path(), &["serve", "--secure-port=0", "--data-dir=other", &pid]);
    refused(&gone, 1, "that process has ended already");
    assert!(!home.path().join("other").exists());
    for (pid, code, says) in
        [("0", 2, "not the number of a process"), ("x", 2, "not the number"), ("-5", 2, "not the number")]
    {
        refused(&run(home.path(), &["serve", "--parent-pid", pid]), code, says);
    }
}

#[test]
fn what_stops_a_start_is_json_from_the_moment_that_this_is_known() {
    let home = tempfile::tempdir().unwrap();
    let json = |args: &[&str], by_variable: bool| {
        let mut command = tokensmith(home.path());
        if by_variable {
            command.env("TOKENSMITH_LOG_FORMAT", "json");
        }
        let done = ended(command.args(args));
        let said = text(&done.stderr);
        assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
        let line = serde_json::from_str::<serde_json::Value>(&said);
        line.ok().map(|line| (line["level"].clone(), line["message"].as_str().unwrap().to_owned()))
    };
    for (args, by_variable, says) in [
        (&["serve", "--secure-prt=1"][..], true, "unexpected argument '--secure-prt' found"),
        (
            &["serve", "--log-format=json", "--secure-prt=1"],
            false,
            "unexpected argument '--secure-prt' found",
        ),
        (&["serve", "--secure-port", "x", "--log-format", "json"], false, "invalid value 'x'"),
        (
            &["serve", "--log-format=text", "--log-format=json"],
            false,
            "the argument '--log-format <FORM>' cannot",
        ),
        (&["serve", "--ephemeral", "--data-dir=d"], true, "--ephemeral keeps nothing"),
        (&["signer"], true, "the following required arguments were not provided"),
        (&["project"], true, "the following required arguments were not provided"),
        (&["proxy", "--token-file=t", "--listen=nowhere"], true, ""),
        (
            &["project", "--all", "--root=r", "--server=nowhere"],
            true,
            "--server does not begin with https://",
        ),
    ] {
        let (level, message) = json(args, by_variable).unwrap_or_else(|| panic!("{args:?} is told as text"));
        assert_eq!(level, "ERROR", "{args:?}");
        assert!(message.starts_with(says), "{args:?}: {message}");
    }
    // For people: another format, a command without a log, a flag that is another program's.
    for (args, by_variable) in [
        (&["serve", "--log-format=text", "--secure-prt=1"][..], true),
        (&["serve", "--log-format=JSON", "--secure-prt=1"], false),
        (&["token", "lst"], true),
        (&["keys", "list", "--server=nowhere"], true),
        (&["project", "status", "--root=none"], true),
        (&["project", "--exec", "a", "--log-format=json"], false),
    ] {
        assert!(json(args, by_variable).is_none(), "{args:?}");
    }
}
