//! `--token-profile-file` as an operator meets it: a file that is wrong stops the start in one line, before anything is
//! made.

use std::fs;
use std::process::{Command, Stdio};

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
