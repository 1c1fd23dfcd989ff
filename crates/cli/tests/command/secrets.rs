//! What may be a secret is not repeated by an error, wherever on the command line it was put.

use std::fs;

use crate::process::{ended, run, tokensmith};

/// `{"alg":"ES256","kid":"k"}`, `{"sub":"a"}`, three bytes.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJhIn0.AAAA";

const NO_URL: &str =
    "does not begin with https:// or http://: give the URL of a server, like https://127.0.0.1:6443";

#[track_caller]
fn told(args: &[&str], code: i32, says: &str) {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("tok"), TOKEN).unwrap();
    let done = run(home.path(), args);
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!((done.status.code(), error.as_str()), (Some(code), &*format!("error: {says}\n")), "{args:?}");
}

#[test]
fn a_server_that_is_no_url_is_not_repeated() {
    let no_url = format!("--server {NO_URL}");
    for server in [TOKEN, "admin:s3cret@10.0.0.1:6443", "s3cret", "localhost:8080"] {
        told(&["token", "list", "--server", server], 2, &no_url);
        told(&["token", "inspect", "--file", "tok", "--server", server], 2, &no_url);
        told(&["token", "inspect", "--file", "tok", "--issuer", server], 2, &format!("--issuer {NO_URL}"));
    }
    told(
        &["token", "list", "--server=https://admin:s3cret@h:99999"],
        2,
        "--server has a port that is no number from 0 to 65535: give the URL of a server, like https://127.0.0.1:6443",
    );
    told(
        &["token", "list", "--server=https://admin:s3cret@h:1/a"],
        2,
        "--server (https://h:1/a) holds a user or a password, which is not sent: leave it out",
    );
}

#[test]
fn a_server_of_a_kubeconfig_is_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config");
    for (server, why) in [
        ("admin:s3cret@10.0.0.1:6443", NO_URL),
        (
            "https://admin:s3cret@h:99999",
            "has a port that is no number from 0 to 65535: give the URL of a server, like https://127.0.0.1:6443",
        ),
        (
            "https://admin:s3cret@h",
            "(https://h/) holds a user or a password, which is not sent: leave it out",
        ),
    ] {
        let text = format!(
            "clusters: [{{name: a, cluster: {{server: '{server}'}}}}]\ncontexts: [{{name: c, context: {{cluster: a}}}}]\ncurrent-context: c\n"
        );
        fs::write(&path, text).unwrap();
        let done = ended(tokensmith(home.path()).args(["token", "list"]).env("KUBECONFIG", &path));
        let said = format!("error: the server of the cluster in KUBECONFIG {why}\n");
        assert_eq!((done.status.code(), String::from_utf8(done.stderr).unwrap()), (Some(2), said));
    }
}

#[test]
fn a_command_line_that_is_wrong_is_explained_without_secrets() {
    let (dashed, help) = (format!("--{TOKEN}"), "see `tokensmith token");
    for (args, says) in [
        (
            &["token", "create", "a", TOKEN][..],
            format!("unexpected argument '(withheld)' found; {help} create --help`"),
        ),
        (
            &["token", "create", "a", "jane:s3cret@h"],
            format!("unexpected argument '(withheld)' found; {help} create --help`"),
        ),
        (&["token", TOKEN], format!("unrecognized subcommand '(withheld)'; {help} --help`")),
        (
            &["token", "revoke", &dashed],
            format!(
                "unexpected argument '--(withheld)' found; tip: to pass '--(withheld)' as a value, use '-- --(withheld)'; {help} revoke --help`"
            ),
        ),
        (
            &["token", "create", "a", "--duration", TOKEN],
            format!(
                "invalid value '(withheld)' for '--duration <DURATION>': time: invalid duration \"(withheld)\": write it as 90s, 10m or 1h30m; {help} create --help`"
            ),
        ),
    ] {
        told(args, 2, &says);
    }
    let words = format!("Bearer {TOKEN}");
    told(
        &["token", "list", "--output", &words],
        2,
        "invalid value '(withheld)' for '--output <OUTPUT>' [possible values: json, table, yaml]; see `tokensmith token list --help`",
    );
    let long = ["s3cret"; 10].join(" ");
    told(
        &["token", "list", "--output", &long],
        2,
        "invalid value '(withheld)' for '--output <OUTPUT>' [possible values: json, table, yaml]; see `tokensmith token list --help`",
    );
}

#[test]
fn a_token_in_the_place_of_a_file_or_a_name_is_not_repeated() {
    for flag in ["--bearer-token-file", "--kubeconfig", "--certificate-authority"] {
        let home = tempfile::tempdir().unwrap();
        let args = ["token", "list", "--server=https://127.0.0.1:1", flag, TOKEN];
        let done = run(home.path(), &args);
        let error = String::from_utf8(done.stderr).unwrap();
        assert!(error.contains("(withheld)") && !error.contains("eyJ"), "{error}");
        assert_eq!(done.status.code(), Some(1), "{error}");
    }
}

#[test]
fn a_bearer_without_quotes_is_read() {
    let home = tempfile::tempdir().unwrap();
    for words in [&["Bearer", TOKEN][..], &["Authorization:", "Bearer", TOKEN], &[TOKEN]] {
        let done = run(home.path(), &[&["token", "inspect", "--output=json"][..], words].concat());
        let said: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((done.status.code(), &said["claims"]["sub"]), (Some(0), &"a".into()), "{words:?}");
    }
    let two = ["token", "inspect", TOKEN, TOKEN];
    told(&two, 1, "this is not a token: there are 2 tokens: give one of them");
    told(
        &["token", "inspect", "s3cret", "s3cret"],
        1,
        "this is not a token: it has 1 part between dots, a JWT has three",
    );
}
