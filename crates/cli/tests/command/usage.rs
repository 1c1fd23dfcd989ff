//! What is said of a wrong command line: one line, what is wrong, and where to read on.

use crate::process::{ended, refused, run, tokensmith};

#[test]
fn a_wrong_command_line_is_explained() {
    let home = tempfile::tempdir().unwrap();
    for (line, says) in [
        (
            "serv",
            "unrecognized subcommand 'serv'; tip: a similar subcommand exists: 'serve'; see `tokensmith --help`",
        ),
        (
            "token lst",
            "unrecognized subcommand 'lst'; tip: a similar subcommand exists: 'list'; see `tokensmith token --help`",
        ),
        (
            "serve --secure-prt=1",
            "unexpected argument '--secure-prt' found; tip: a similar argument exists: '--secure-port'; see `tokensmith serve --help`",
        ),
        (
            "serve --secure-port abc",
            "invalid value 'abc' for '--secure-port <PORT>': not a whole number from 0 to 65535; see `tokensmith serve --help`",
        ),
        (
            "serve --secure-port=70000",
            "invalid value '70000' for '--secure-port <PORT>': not a whole number from 0 to 65535; see `tokensmith serve --help`",
        ),
        (
            "serve --secure-port -1",
            "invalid value '-1' for '--secure-port <PORT>': not a whole number from 0 to 65535; see `tokensmith serve --help`",
        ),
        (
            "serve --max-request-bytes 3MB",
            "invalid value '3MB' for '--max-request-bytes <BYTES>': not a whole number from 0 to 18446744073709551615; see `tokensmith serve --help`",
        ),
        (
            "serve --bind-address here",
            "invalid value 'here' for '--bind-address <IP>': invalid IP address syntax; see `tokensmith serve --help`",
        ),
        (
            "serve --event-ttl -5m",
            "invalid value '-5m' for '--event-ttl <DURATION>': it must not be negative; see `tokensmith serve --help`",
        ),
        (
            "serve --ledger some",
            "invalid value 'some' for '--ledger <MODE>' [possible values: full, off, revocations]; see `tokensmith serve --help`",
        ),
        (
            "token create x --duration -5m",
            "invalid value '-5m' for '--duration <DURATION>': it must not be negative; see `tokensmith token create --help`",
        ),
        (
            "token create x --duration 5",
            "invalid value '5' for '--duration <DURATION>': time: missing unit in duration \"5\": write it as 90s, 10m or 1h30m; see `tokensmith token create --help`",
        ),
        (
            "token create x --duration",
            "a value is required for '--duration <DURATION>' but none was supplied; see `tokensmith token create --help`",
        ),
        ("token create x --duration 1500ms", "--duration cannot be expressed in units less than seconds"),
        (
            "token create",
            "the following required arguments were not provided: <[NAMESPACE/]NAME>; see `tokensmith token create --help`",
        ),
        (
            "healthcheck --timeout=-3s",
            "invalid value '-3s' for '--timeout <DURATION>': it must not be negative; see `tokensmith healthcheck --help`",
        ),
        (
            "issuer publish d --watch --interval 0s",
            "invalid value '0s' for '--interval <DURATION>': use whole seconds from 1s to 24h; see `tokensmith issuer publish --help`",
        ),
        (
            "token",
            "a command is missing; `tokensmith token --help` lists them, `tokensmith token COMMAND --help` explains one",
        ),
        (
            "",
            "a command is missing; `tokensmith --help` lists them, `tokensmith COMMAND --help` explains one",
        ),
        (
            "completions man",
            "the following required arguments were not provided: --to <DIR>; see `tokensmith completions --help`",
        ),
        ("completions bash --to d", "--to is for manual pages; a script goes to standard output"),
        (
            "token list --limit x",
            "invalid value 'x' for '--limit <NUMBER>': not a whole number from 1 on; see `tokensmith token list --help`",
        ),
        (
            "project --all --root r --metrics-address foo",
            "invalid value 'foo' for '--metrics-address <ADDRESS>': not an address with a port, such as 127.0.0.1:9090 or [::1]:9090; see `tokensmith project --help`",
        ),
        (
            "clock --advance 1y",
            "invalid value '1y' for '--advance <DURATION>': time: unknown unit \"y\" in duration \"1y\": write it as 90s, 10m, 1h30m or 7d; see `tokensmith clock --help`",
        ),
        (
            "serve --event-ttl 1d",
            "invalid value '1d' for '--event-ttl <DURATION>': time: unknown unit \"d\" in duration \"1d\": write it as 90s, 10m or 1h30m; see `tokensmith serve --help`",
        ),
        ("why --resource pods --anonymous --verb=", "--verb must not be empty"),
        (
            "proxy --service-account=a/b/c --server=http://127.0.0.1:1",
            "invalid service account name \"b/c\": it may not contain '/'",
        ),
        (
            "proxy --service-account= --server=http://127.0.0.1:1",
            "invalid service account name \"\": it must not be empty",
        ),
        ("proxy --service-account=a --audience= --server=http://127.0.0.1:1", "--audience must not be empty"),
        (
            "proxy --service-account=a --expiration=0s --server=http://127.0.0.1:1",
            "--expiration must be at least a second",
        ),
        (
            "project --pod=a/b/c --root=r --server=http://127.0.0.1:1",
            "invalid pod name \"b/c\": it may not contain '/'",
        ),
        (
            "project --pod=a/b --namespace=c --root=r --server=http://127.0.0.1:1",
            "--namespace names another namespace than [NAMESPACE/]NAME: leave one out",
        ),
        (
            "project --selector=!! --root=r --server=http://127.0.0.1:1",
            "--selector !!: unable to parse requirement: found '!', expected: identifier",
        ),
        ("serve --n\u{1b}[2J", "unexpected argument '--n' found; see `tokensmith serve --help`"),
    ] {
        let done = run(home.path(), &line.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
        let error = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), error.as_str()), (Some(2), &*format!("error: {says}\n")), "{line}");
    }
    let from_env = ended(tokensmith(home.path()).arg("serve").env("TOKENSMITH_SECURE_PORT", "abc"));
    assert_eq!(
        String::from_utf8(from_env.stderr).unwrap(),
        "error: invalid value 'abc' for '--secure-port <PORT>': not a whole number from 0 to 65535 (from TOKENSMITH_SECURE_PORT); see `tokensmith serve --help`\n"
    );
}

#[test]
fn what_is_no_folder_is_told() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    for (args, says) in [
        (
            &["serve", "--secure-port=0", "--data-dir=file"][..],
            "--data-dir file: it is no folder; give one, or a new name",
        ),
        (
            &["issuer", "publish", "file", "--server=http://127.0.0.1:1"],
            "cannot publish to file: it is no folder; give one, or a new name",
        ),
        (&["project", "status", "--root=none"], "cannot read none: No such file or directory"),
    ] {
        refused(&run(home.path(), args), 1, says);
    }
}
