//! `--token-profile-file` as an operator meets it: a file that is wrong stops the start in one line, before anything is
//! made.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

const GOOD: &str = "profiles:\n- {name: aws, audiences: [sts.amazonaws.com], singleAudience: true, maxExpiration: 2h}\n- {name: a, audiences: [a]}\n- {name: b, audiences: [b]}\n";

#[test]
fn a_bad_file_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for (file, flags, code, says) in [
        (None, vec![], 1, "cannot read profiles.yaml: No such file"),
        (
            Some("profiles: ["),
            vec![],
            1,
            "profiles.yaml cannot be used: error converting YAML to JSON: yaml: ",
        ),
        (
            Some(""),
            vec![],
            1,
            "profiles.yaml cannot be used: the file: must be an object with the list `profiles`",
        ),
        (
            Some("profiles: [{name: a, audience: [b]}]"),
            vec![],
            1,
            "profiles.yaml cannot be used: profiles[0]: unknown field `audience`, expected one of `name`",
        ),
        (
            Some("profiles: [{name: a, audiences: [b], algorithm: HS256}]"),
            vec![],
            1,
            "profiles[0].algorithm: unknown signing algorithm \"HS256\"",
        ),
        (
            Some("profiles: [{name: a, audiences: [b], claims: {exp: 1}}]"),
            vec![],
            1,
            "profiles[0].claims: the claim \"exp\" is set by the issuer alone: use another name",
        ),
        (
            Some(GOOD),
            vec!["--service-account-max-token-expiration=1h"],
            1,
            "profiles[0].maxExpiration: 2h0m0s is above the server's maximum of 3600 s: lower it, or raise --service-account-max-token-expiration",
        ),
        (
            Some(GOOD),
            vec!["--api-audiences=a,b"],
            1,
            "the audience \"a\" gets tokens of the profile \"a\", but \"b\" gets tokens of the profile \"b\"",
        ),
        (
            Some(GOOD),
            vec!["--api-audiences=c,sts.amazonaws.com"],
            1,
            "may have no more than one audience, not 2",
        ),
        (Some(GOOD), vec!["--min-token-expiration=0s"], 2, "--min-token-expiration must be between"),
    ] {
        let path = dir.path().join("profiles.yaml");
        let _ = fs::remove_file(&path);
        if let Some(text) = file {
            fs::write(&path, text).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
        command.current_dir(dir.path()).args([
            "serve",
            "--secure-port=0",
            "--token-profile-file=profiles.yaml",
        ]);
        let output = command.args(&flags).stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.starts_with("error: ") && error.trim_end().lines().count() == 1, "{error}");
        assert!(error.contains(says), "{error}\nshould say\n{says}");
        assert!(!dir.path().join("tokensmith-data").exists(), "{error} but something was made");
    }
}

#[test]
fn a_good_file_makes_the_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "profiles:\n- {name: aws, audiences: ['sts.*'], maxExpiration: 20m, claims: {team: blue}}\n";
    fs::write(dir.path().join("profiles.yaml"), yaml).unwrap();
    let tokensmith = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
        command.current_dir(dir.path()).env_remove("KUBECONFIG").args(args).stdin(Stdio::null());
        command
    };
    let serve = ["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"];
    let mut serve = tokensmith(&serve);
    serve.args(["--token-profile-file=profiles.yaml", "--audit-log-path=audit"]).stderr(Stdio::null());
    let mut server = serve.stdout(Stdio::null()).spawn().unwrap();
    let ready = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        fs::read_to_string(dir.path().join("ready")).is_ok_and(|url| !url.is_empty())
    });
    let payload = |audience: &str| {
        let output = tokensmith(&["token", "create", "default", "--audience", audience]).output().unwrap();
        let token = String::from_utf8_lossy(&output.stdout).into_owned();
        let part = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        part.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).unwrap_or_default()
    };
    let (aws, other) = (payload("sts.amazonaws.com"), payload("vault"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(ready);
    let life =
        |claims: &Value| claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
    assert_eq!((life(&aws), aws["team"].as_str()), (Some(1200), Some("blue")));
    assert_eq!((life(&other), other.get("team")), (Some(3600), None));
}

/// A profile whose algorithm has no key that may sign is refused at start, with the way there.
#[test]
fn an_algorithm_must_have_a_key_that_may_sign() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = "profiles:\n- {name: cloud, audiences: [cloud], algorithm: ES384}\n";
    fs::write(dir.path().join("profiles.yaml"), yaml).unwrap();
    let tokensmith = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
        command.current_dir(dir.path()).env_remove("KUBECONFIG").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let serve = |with: &[&str]| {
        let _ = fs::remove_file(dir.path().join("ready"));
        let quick = ["--key-set-max-age=2s", "--key-replica-lag=1s", "--key-publish-before=4s"];
        let mut command =
            tokensmith(&["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"]);
        command
            .args(quick)
            .args(with)
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("log")).unwrap());
        let mut child = command.spawn().unwrap();
        // It is ready, or it has ended.
        for _ in 0..600 {
            if fs::read_to_string(dir.path().join("ready")).is_ok_and(|url| !url.is_empty()) {
                return Ok(child);
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(fs::read_to_string(dir.path().join("log")).unwrap())
    };
    let stop = |mut child: std::process::Child| {
        child.kill().unwrap();
        child.wait().unwrap();
    };
    const PROFILES: &[&str] = &["--token-profile-file=profiles.yaml"];
    stop(serve(&[]).unwrap());

    let error = serve(PROFILES).unwrap_err();
    let way = "a token profile asks for ES384, and no ES384 key may sign yet: start without the profile, run `tokensmith keys prepare --algorithm ES384`, and start with it again after 4s";
    assert!(error.contains(way), "{error}");

    let server = serve(&[]).unwrap();
    let prepared = tokensmith(&["keys", "prepare", "--algorithm", "ES384"]).output().unwrap();
    let told = String::from_utf8_lossy(&prepared.stdout).into_owned();
    assert!(told.contains("is published and may sign from"), "{told}");
    stop(server);
    let early = serve(PROFILES);
    let mut started = match early {
        Ok(child) => Some(child),
        Err(error) => {
            assert!(error.contains("no ES384 key may sign before 20"), "{error}");
            None
        }
    };
    for _ in 0..100 {
        if started.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        started = serve(PROFILES).ok();
    }
    let server = started.expect("it starts once the key may sign");
    let minted = tokensmith(&["token", "create", "default", "--audience", "cloud"]).output().unwrap();
    let token = String::from_utf8_lossy(&minted.stdout).into_owned();
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    stop(server);
    assert_eq!(serde_json::from_slice::<Value>(&header).unwrap()["alg"], "ES384");
}
