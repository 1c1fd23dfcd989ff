//! How commands find a server: flags, variables, kubeconfigs, and proxies in between.

use std::fs;

use crate::process::{ended, refused, run, serve, text, tokensmith};

#[test]
fn a_companys_proxy_is_not_asked_for_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let _running = serve(dir.path(), &[]);
    let nowhere = "http://jane:s3cret@127.0.0.1:1";
    for names in [["HTTPS_PROXY", "HTTP_PROXY"], ["https_proxy", "http_proxy"], ["HTTPS_PROXY", "ALL_PROXY"]]
    {
        for command in [&["token", "create", "default"][..], &["keys", "list"], &["healthcheck"]] {
            let mut command = {
                let mut made = tokensmith(dir.path());
                made.args(command);
                made
            };
            let done = ended(names.iter().fold(&mut command, |command, name| command.env(name, nowhere)));
            assert!(done.status.success(), "{command:?}: {}", text(&done.stderr));
        }
    }
    // Elsewhere it is, and an error says so.
    let mut command = tokensmith(dir.path());
    command.args(["token", "create", "default", "--server=https://tokens.example"]);
    let done = ended(command.env("HTTPS_PROXY", nowhere));
    let through = "cannot reach https://tokens.example through the proxy http://127.0.0.1:1 (HTTPS_PROXY): Connection refused";
    refused(&done, 1, through);
    assert!(!text(&done.stderr).contains("s3cret"));
}

#[test]
fn variables_count_as_flags_do_and_flags_win() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let _running = serve(at, &[]);
    let data = |name: &str| fs::read_to_string(at.join("tokensmith-data").join(name)).unwrap();
    let server = data("address").trim().to_owned();
    let minted = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = tokensmith(at);
        command.args(["token", "create", "default", "--data-dir=nowhere"]).args(args);
        ended(variables.iter().fold(&mut command, |command, (name, value)| command.env(name, value)))
    };
    let all = [
        ("TOKENSMITH_SERVER", server.as_str()),
        ("TOKENSMITH_CERTIFICATE_AUTHORITY", "tokensmith-data/ca.crt"),
        ("TOKENSMITH_BEARER_TOKEN_FILE", "tokensmith-data/admin.token"),
    ];
    assert!(minted(&all, &[]).status.success());
    refused(&minted(&all, &["--as=jane"]), 1, "User \"jane\" cannot create resource");
    refused(&minted(&all, &["--token=wrong"]), 1, "error");
    refused(&minted(&all, &["--server=https://127.0.0.1:1"]), 1, "cannot reach https://127.0.0.1:1");
    refused(&minted(&all, &["--token=a", "--bearer-token-file=b"]), 2, "give one of them");
    refused(&minted(&all, &["--token="]), 2, "the bearer token is empty");
    refused(&minted(&all, &["--request-timeout=soon"]), 2, "--request-timeout");
    // Connections are made, and nobody reads from them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at_silent = format!("--server=https://{}", silent.local_addr().unwrap());
    let in_vain = minted(&[("TOKENSMITH_REQUEST_TIMEOUT", "50ms")], &[&at_silent]);
    refused(&in_vain, 1, "no answer in time");
    refused(&minted(&[], &["--as-user-extra=x"]), 2, "give KEY=VALUE");
    refused(&minted(&[("TOKENSMITH_AS_USER_EXTRA", "a=b,x")], &[]), 2, "give KEY=VALUE");
    refused(&minted(&[], &["--client-key=x"]), 2, "go together");
    refused(&minted(&all, &["--insecure-skip-tls-verify"]), 2, "say opposite things");

    // A variable does not have a token shown to a server: to read one is to read one.
    let token = text(&minted(&all, &[]).stdout).trim().to_owned();
    let mut command = tokensmith(at);
    let inspected =
        ended(command.args(["token", "inspect", &token]).env("TOKENSMITH_SERVER", "https://127.0.0.1:1"));
    assert!(inspected.status.success(), "{}", text(&inspected.stderr));
    let mut command = tokensmith(at);
    command.args(["token", "inspect", &token, "--server", "--audience=x", "--data-dir=nowhere"]);
    let asked = ended(all.iter().fold(&mut command, |command, (name, value)| command.env(name, value)));
    refused(&asked, 1, "the token does not hold");
}

#[test]
fn the_users_own_kubeconfig_comes_last() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let _running = serve(at, &[]);
    fs::create_dir_all(at.join("home/.kube")).unwrap();
    fs::copy(at.join("tokensmith-data/admin.kubeconfig"), at.join("home/.kube/config")).unwrap();
    let minted = |dir: &str| {
        let mut command = tokensmith(at);
        ended(command.args(["token", "create", "default", dir]).env("HOME", at.join("home")))
    };
    assert!(minted("--data-dir=nowhere").status.success());
    fs::write(at.join("home/.kube/config"), "users: [{user: {token: 1}}]").unwrap();
    refused(&minted("--data-dir=nowhere"), 1, "is not a kubeconfig: users[0].user.token must be text");
    assert!(minted("--data-dir=tokensmith-data").status.success());
}

#[test]
fn what_is_made_for_others_asks_as_its_maker_does() {
    let dir = tempfile::tempdir().unwrap();
    let _running = serve(dir.path(), &[]);
    let made =
        run(dir.path(), &["kubeconfig", "--as=jane", "--as-group=devs", "--tls-server-name=localhost"]);
    let made = text(&made.stdout);
    for line in ["as: jane", "as-groups:", "- devs", "tls-server-name: localhost"] {
        assert!(made.lines().any(|own| own.trim() == line), "{line}: {made}");
    }
}

/// With what one does not see one would ask with other rights than one means.
#[test]
fn variables_say_as_whom_one_asks() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let _running = serve(at, &[]);
    let made = |variables: &[(&str, &str)], args: &[&str]| {
        let mut command = tokensmith(at);
        command.arg("kubeconfig").args(args);
        let done =
            ended(variables.iter().fold(&mut command, |command, (name, value)| command.env(name, value)));
        assert!(done.status.success(), "{}", text(&done.stderr));
        let lines: Vec<String> = text(&done.stdout).lines().map(|line| line.trim().to_owned()).collect();
        let start = lines.iter().position(|line| line == "as: jane").unwrap();
        (lines[start..].join("|"), text(&done.stderr))
    };
    let all = [
        ("TOKENSMITH_AS", "jane"),
        ("TOKENSMITH_AS_GROUP", "devs,ops"),
        ("TOKENSMITH_AS_UID", "7"),
        ("TOKENSMITH_AS_USER_EXTRA", "team=a,team=b,floor=2"),
    ];
    let (user, said) = made(&all, &[]);
    assert!(
        user.contains("as-groups:|- devs|- ops|as-uid: \"7\"|as-user-extra:|floor:|- \"2\"|team:|- a|- b"),
        "{user}"
    );
    assert!(!said.contains("no flag reads"), "{said}");
    // Of a flag a value is one value, as kubectl's is; and it wins.
    let (user, _) = made(&all, &["--as-group=cn=a,ou=b", "--as-group", "c,d", "--as-uid=8"]);
    assert!(user.contains("as-groups:|- cn=a,ou=b|- c,d|as-uid: \"8\"|"), "{user}");
    let (user, _) = made(&[("TOKENSMITH_AS", "jane"), ("TOKENSMITH_AS_GROUP", "")], &[]);
    assert!(!user.contains("as-groups"), "{user}");

    // Groups count at the server.
    let minted = |group: &str| {
        let mut command = tokensmith(at);
        command.args(["token", "create", "default"]);
        ended(command.env("TOKENSMITH_AS", "jane").env("TOKENSMITH_AS_GROUP", group))
    };
    assert!(minted("devs,system:masters").status.success());
    refused(&minted("devs"), 1, "User \"jane\" cannot create resource");
    refused(&minted("system:masters;devs"), 1, "User \"jane\" cannot create resource");
}

#[test]
fn a_variable_that_no_flag_reads_is_told_by_every_command() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["token", "list"][..],
        &["healthcheck"],
        &["keys", "list"],
        &["kubeconfig"],
        &["backup", "--to=b"],
        &["issuer", "publish", "d"],
        &["doctor", "--issuer=x"],
    ] {
        let mut command = tokensmith(dir.path());
        let done = ended(command.args(args).env("TOKENSMITH_AS_GRUOP", "devs"));
        let error = text(&done.stderr);
        let first = error.lines().next().unwrap_or_default();
        let told = "warning: no flag reads TOKENSMITH_AS_GRUOP; was TOKENSMITH_AS_GROUP meant?";
        assert_eq!(first, told, "{args:?}: {error}");
        assert!(!text(&done.stdout).contains("no flag reads"), "{args:?}");
    }
    let done = ended(tokensmith(dir.path()).arg("version").env("TOKENSMITH_AS_GRUOP", "devs"));
    assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), String::new()));
}
