//! `healthcheck` finds whatever runs on a data directory, however it listens and whoever it lets in.

use std::fs;

use crate::process::{log_of, refused, run, serve, spawn, text, tokensmith, until};

#[test]
fn healthcheck_works_in_every_mode() {
    for args in [
        &["--anonymous-auth=false"][..],
        &["--authorization-mode=AlwaysDeny"],
        &["--bind-address=0.0.0.0"],
        &["--bind-address=127.0.0.2"],
        &["--bind-address=::"],
        &["--bind-address=::1"],
        &["--insecure-port=0"],
    ] {
        if args[0].contains("::") && std::net::TcpListener::bind("[::1]:0").is_err() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut server = serve(dir.path(), args);
        for probe in ["readyz", "livez"] {
            let done = run(dir.path(), &["healthcheck", "--probe", probe]);
            assert!(done.status.success(), "{args:?}: {}", text(&done.stderr));
        }
        assert_eq!(server.stop(), Some(0));
        assert_eq!(run(dir.path(), &["healthcheck"]).status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn healthcheck_finds_a_signer() {
    for socket in ["signer.sock".to_owned(), format!("@tokensmith-test-{}", std::process::id())] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = tokensmith(dir.path());
        command.args(["signer", "--signing-algorithm=ES256", "--socket", &socket]);
        let mut signer = spawn(&mut command, dir.path());
        until("it is there", || run(dir.path(), &["healthcheck"]).status.success());
        // The kernel still takes connections for it.
        signer.signal("STOP");
        refused(&run(dir.path(), &["healthcheck", "--timeout=1s"]), 1, "no signer answers on ");
        signer.signal("CONT");
        until("it goes on", || run(dir.path(), &["healthcheck"]).status.success());
        assert_eq!(signer.stop(), Some(0));
        assert_eq!(run(dir.path(), &["healthcheck"]).status.code(), Some(1), "{socket}");
    }
}

/// A token that ends then.
fn token(expires: i64) -> String {
    use base64::Engine;
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{expires}}}"#));
    format!("e30.{payload}.c2ln")
}

/// A sidecar tells how it is at its metrics' address; so does an agent.
#[test]
fn healthcheck_asks_a_sidecar() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), token(1_767_261_600)).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let observed = format!("--metrics-address={free}");
    let (server, file) = (format!("--server=http://{free}"), dir.path().join("token"));
    let ask = || run(dir.path(), &["healthcheck", "--probe=healthz", &server]);
    for more in [&[][..], &["--upstream=http://127.0.0.1:9", "--upstream-protocol=http1"]] {
        let mut command = tokensmith(dir.path());
        command.args(["proxy", "--listen=127.0.0.1:0", "--ready-file=ready", &observed, "--token-file"]);
        let _ = fs::remove_file(dir.path().join("ready"));
        fs::write(&file, token(1_767_261_600)).unwrap();
        let mut sidecar = spawn(command.arg(&file).args(more), dir.path());
        until("it is ready", || dir.path().join("ready").exists());
        let words = format!(
            "/healthz answered 503 Service Unavailable: the token in {} has expired at 2026-01-01T10:00:00Z",
            file.display()
        );
        refused(&ask(), 1, &words);
        fs::write(&file, token(32_503_680_000)).unwrap();
        until("it is well", || ask().status.success());
        // It serves nothing else there.
        let readyz = run(dir.path(), &["healthcheck", &server]);
        refused(&readyz, 1, "/readyz answered 404 Not Found");
        assert_eq!(sidecar.stop(), Some(0));
        refused(&ask(), 1, "cannot reach http://127.0.0.1");
    }
    refused(
        &run(dir.path(), &["proxy", "--token-file=t", "--upstream-protocol=h3"]),
        2,
        "possible values: auto, http1, http2",
    );
    refused(
        &run(dir.path(), &["proxy", "--token-file=t", "--upstream-protocol=http2"]),
        2,
        "--upstream <URL>",
    );
}

#[test]
fn a_sidecar_without_its_token_says_so_at_once_and_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let start = |file: &str, more: &[&str]| {
        let _ = fs::remove_file(at.join("log"));
        let mut command = tokensmith(at);
        command.args(["proxy", "--listen=127.0.0.1:0", "--token-file", file]).args(more);
        spawn(&mut command, at)
    };
    let said = |says: &str| until(says, || log_of(at).contains(says));
    let observed = format!("--metrics-address={free}");
    let mut sidecar = start("token", &[&observed]);
    // Nobody has asked yet.
    said(
        " WARN tokensmith_agent::source::file: cannot read the token file=token cause=No such file or directory",
    );
    let server = format!("--server=http://{free}");
    let ask = || run(at, &["healthcheck", "--probe=healthz", &server]);
    refused(&ask(), 1, "cannot read the token in token: No such file or directory");
    fs::write(at.join("token"), token(32_503_680_000)).unwrap();
    until("it is well", || ask().status.success());
    said("the token can be read again file=token");
    assert_eq!(sidecar.stop(), Some(0));

    fs::write(at.join("token"), token(1_767_261_600)).unwrap();
    let mut sidecar = start("token", &[]);
    said("there is no token to give yet cause=the token in token has expired at 2026-01-01T10:00:00Z");
    assert_eq!(sidecar.stop(), Some(0));
    fs::write(at.join("token"), token(32_503_680_000)).unwrap();
    let mut sidecar = start("token", &["--audience=elsewhere"]);
    said("there is no token to give yet cause=the token in token is not for the audience \"elsewhere\"");
    assert_eq!(sidecar.stop(), Some(0));
}

#[test]
fn healthcheck_shows_the_credentials_that_it_is_given_to_whom_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let mut server = serve(at, &["--anonymous-auth=false"]);
    let data = |name: &str| fs::read_to_string(at.join("tokensmith-data").join(name)).unwrap();
    let (url, token) = (data("address").trim().to_owned(), data("admin.token").trim().to_owned());
    fs::copy(at.join("tokensmith-data/admin.token"), at.join("token")).unwrap();
    fs::copy(at.join("tokensmith-data/ca.crt"), at.join("ca")).unwrap();
    fs::write(at.join("kubeconfig"), data("admin.kubeconfig")).unwrap();
    let lines = data("admin.kubeconfig");
    let lines = lines.lines().map(|line| match line.split_once("certificate-authority-data:") {
        Some((indent, _)) => format!("{indent}insecure-skip-tls-verify: true"),
        None => line.to_owned(),
    });
    fs::write(at.join("unverified"), lines.collect::<Vec<_>>().join("\n")).unwrap();

    let ask = |args: &[&str]| run(at, &[&["healthcheck", "--data-dir=elsewhere"], args].concat());
    let there = ["--server", &url, "--certificate-authority=ca"];
    for args in [
        &["--kubeconfig=kubeconfig"][..],
        &[&there[..], &["--token", &token]].concat(),
        &[&there[..], &["--bearer-token-file=token"]].concat(),
    ] {
        let done = ask(args);
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    refused(&ask(&there), 1, "/readyz answered 401 Unauthorized: give credentials");
    refused(&ask(&[&there[..], &["--token=wrong"]].concat()), 1, "/readyz answered 401");
    refused(&ask(&["--kubeconfig=unverified"]), 1, "they are not sent");
    // A token alone is for the server of the data directory.
    assert!(run(at, &["healthcheck", "--token", &token]).status.success());
    refused(&run(at, &["healthcheck", "--token=wrong"]), 1, "/readyz answered 401");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn open_documents_and_no_anonymous_callers_do_not_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let done = run(dir.path(), &["serve", "--anonymous-auth=false", "--anonymous-oidc"]);
    refused(&done, 2, "--anonymous-oidc opens the documents to callers without credentials");
    assert!(!dir.path().join("tokensmith-data").exists());
}

/// Credentials that pass there can be read on their way: nobody but this machine gets there unasked.
#[test]
fn the_insecure_port_is_on_loopback_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let listening = |pid: u32| {
        let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        table.lines().filter(|l| l.contains(" 0A ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = format!("--insecure-port={free}");
    let at = |ip: &str| format!("{ip}:{free:04X} ");
    for (more, want) in [(None, "0100007F"), (Some("--insecure-bind-address=0.0.0.0"), "00000000")] {
        let args: Vec<&str> = ["--bind-address=0.0.0.0", &port].into_iter().chain(more).collect();
        let mut server = serve(dir.path(), &args);
        let table = listening(server.pid());
        assert!(table.iter().any(|l| l.contains(&at(want))), "{more:?}: {table:?}");
        assert_eq!(server.stop(), Some(0));
    }
}
