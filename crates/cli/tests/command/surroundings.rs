//! What a command goes by besides its server: kubeconfigs that are there and cannot be honoured, and credentials that would
//! not be shown, are told, and not passed over.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::process::{ended, refused, tokensmith};

/// `{"alg":"ES256","kid":"k"}`, `{"sub":"a"}`, three bytes.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJzdWIiOiJhIn0.AAAA";

fn asked(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = tokensmith(dir);
    command.args(args).env("HOME", dir);
    ended(variables.iter().fold(&mut command, |command, (name, value)| command.env(name, value)))
}

#[test]
fn an_issuer_is_asked_by_the_kubeconfig_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let cluster = |fields: &str| {
        format!(
            "clusters: [{{name: a, cluster: {{{fields}}}}}]\ncontexts: [{{name: c, context: {{cluster: a}}}}]\ncurrent-context: c\n"
        )
    };
    let inspect = ["token", "inspect", TOKEN, "--issuer=https://127.0.0.1:1"];
    let unreachable = "cannot reach https://127.0.0.1:1: Connection refused";
    refused(&asked(dir, &inspect, &[]), 1, unreachable);
    // Files of the list that are not there are passed over, as kubectl does.
    refused(&asked(dir, &inspect, &[("KUBECONFIG", "absent")]), 1, unreachable);
    for (text, says) in [
        ("clusters: [".to_owned(), "config is not a kubeconfig: "),
        (cluster("certificate-authority: absent.crt"), "cannot read "),
        (
            cluster("certificate-authorty: ca.crt"),
            "has fields that kubeconfigs do not have: certificate-authorty",
        ),
        (cluster("proxy-url: 'ftp://p'"), "the kubeconfig's proxy-url names a proxy of the scheme \"ftp\""),
        (
            cluster("proxy-url: 'http://jane:s3cret@127.0.0.1:1'"),
            "through the proxy http://127.0.0.1:1 (the kubeconfig's proxy-url)",
        ),
        (cluster("certificate-authority-data: Q0E="), "cert"),
    ] {
        fs::write(dir.join("config"), &text).unwrap();
        let by_variable = asked(dir, &inspect, &[("KUBECONFIG", "config")]);
        let found = dir.join("tokensmith-data");
        fs::create_dir_all(&found).unwrap();
        fs::copy(dir.join("config"), found.join("admin.kubeconfig")).unwrap();
        let by_folder = asked(dir, &inspect, &[]);
        fs::remove_dir_all(&found).unwrap();
        let code = if says.contains("scheme") { 2 } else { 1 };
        refused(&by_variable, code, says);
        refused(&by_folder, code, says.strip_prefix("config ").unwrap_or(says));
    }
    fs::write(dir.join("config"), cluster("server: https://127.0.0.1:1")).unwrap();
    let variables = [("KUBECONFIG", "config"), ("TOKENSMITH_CONTEXT", "gone")];
    refused(&asked(dir, &inspect, &variables), 1, "there is no context \"gone\" in KUBECONFIG");
    let verify = [
        "proxy",
        "--listen=127.0.0.1:0",
        "--upstream=http://127.0.0.1:1",
        "--verify",
        "--issuer=https://127.0.0.1:1",
        "--audience=a",
    ];
    fs::write(dir.join("config"), "clusters: [").unwrap();
    refused(&asked(dir, &verify, &[("KUBECONFIG", "config")]), 1, "config is not a kubeconfig: ");
}

#[test]
fn credentials_are_not_dropped_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let list = ["token", "list", "--server=http://127.0.0.1:1"];
    let told =
        |flag: &str| format!("{flag} is not shown over plain HTTP, where everybody in between reads along");
    let certificate = ["--client-certificate=nope", "--client-key=nope"];
    refused(&asked(dir, &[&list[..], &certificate].concat(), &[]), 2, &told("--client-certificate"));
    refused(&asked(dir, &[&list[..], &["--token=t"]].concat(), &[]), 2, &told("--token"));
    let file = ("TOKENSMITH_BEARER_TOKEN_FILE", "nope");
    refused(&asked(dir, &list, &[file]), 2, &told("--bearer-token-file"));
    let pair = [("TOKENSMITH_CLIENT_CERTIFICATE", "nope"), ("TOKENSMITH_CLIENT_KEY", "nope")];
    refused(&asked(dir, &list, &pair), 2, &told("--client-certificate"));
    refused(&asked(dir, &list, &[]), 1, "cannot reach http://127.0.0.1:1");

    // A sidecar's variables are not about its health.
    let health = ["healthcheck", "--probe=healthz", "--server=http://127.0.0.1:1"];
    refused(&asked(dir, &health, &[file]), 1, "cannot reach http://127.0.0.1:1");
    refused(&asked(dir, &[&health[..], &["--token=t"]].concat(), &[]), 2, &told("--token"));
}

#[test]
fn a_kubeconfig_that_is_not_there_is_told_beside_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let list = ["token", "list"];
    let nope = [("KUBECONFIG", "/nope")];
    let told = "KUBECONFIG names a file that is not there (/nope): set it right, or ";
    refused(&asked(dir, &list, &nope), 1, &format!("{told}give --server"));
    fs::create_dir(dir.join("tokensmith-data")).unwrap();
    fs::write(dir.join("tokensmith-data/admin.kubeconfig"), "").unwrap();
    refused(&asked(dir, &list, &nope), 1, &format!("{told}unset it for tokensmith-data/admin.kubeconfig"));
    let has_none = "tokensmith-data/admin.kubeconfig names no server: it has no context";
    refused(&asked(dir, &list, &[]), 1, has_none);
}
