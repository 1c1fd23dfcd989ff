//! `tokensmith serve` as a process: what it makes, what it refuses, what it leaves alone.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn signal(&self, name: &str) {
        Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        until("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

fn tokensmith(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
    command.current_dir(dir).env_remove("KUBECONFIG").stdin(Stdio::null());
    command
}

/// Runs a command that must end by itself.
fn run(dir: &Path, args: &[&str]) -> Output {
    let mut child = tokensmith(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut waited = 0;
    until("the command ends", || {
        waited += 1;
        let ended = child.try_wait().unwrap().is_some();
        if !ended && waited == LOOKS {
            let _ = child.kill();
        }
        ended
    });
    child.wait_with_output().unwrap()
}

fn serve(dir: &Path, args: &[&str]) -> Running {
    let _ = fs::remove_file(dir.join("ready"));
    let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = tokensmith(dir);
    command.args(["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"]).args(args);
    let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let running = Running { child };
    until("it is ready", || fs::read_to_string(dir.join("ready")).is_ok_and(|s| !s.is_empty()));
    running
}

/// As often a condition is looked at, every 50 ms.
const LOOKS: usize = 600;

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..LOOKS {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

/// A full disk takes neither the banner nor a line of the log, and the server serves.
#[test]
fn a_server_goes_on_when_nothing_can_be_printed() {
    let home = tempfile::tempdir().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = tokensmith(home.path());
    command.args(["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"]);
    command
        .env("TOKENSMITH_LOG", "debug")
        .stdout(full.try_clone().unwrap())
        .stderr(full.try_clone().unwrap());
    let mut running = Running { child: command.spawn().unwrap() };
    let ready = || fs::read_to_string(home.path().join("ready")).is_ok_and(|s| !s.is_empty());
    until("it is ready", || {
        assert!(running.child.try_wait().unwrap().is_none(), "it has ended");
        ready()
    });
    running.signal("HUP");
    assert_eq!(running.stop(), Some(0));
    // Nor does who cannot be told why become a crash.
    let mut command = tokensmith(home.path());
    let refused =
        command.args(["serve", "--no-such-flag"]).stdout(full.try_clone().unwrap()).stderr(full).status();
    assert_eq!(refused.unwrap().code(), Some(2));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32, says: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(
        error.contains(says) && error.starts_with("error: ") && error.trim().lines().count() == 1,
        "{error}"
    );
}

#[test]
fn a_first_start_makes_what_a_later_one_finds() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = serve(dir.path(), &[]);
    let data = dir.path().join("tokensmith-data");
    for secret in ["admin.kubeconfig", "admin.token", "ca.key", "seal.key"] {
        assert_eq!(fs::metadata(data.join(secret)).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
    }
    let minted = run(dir.path(), &["token", "create", "default", "--audience", "vault"]);
    assert!(minted.status.success(), "{}", text(&minted.stderr));
    assert_eq!(text(&minted.stdout).matches('.').count(), 2);
    let keys = text(&run(dir.path(), &["keys", "list"]).stdout);
    let issuer = fs::read_to_string(data.join("issuer")).unwrap();
    let ca = fs::read(data.join("ca.crt")).unwrap();
    assert!(run(dir.path(), &["healthcheck"]).status.success());
    assert_eq!(first.stop(), Some(0));
    assert!(!data.join("address").exists() && !dir.path().join("ready").exists());
    assert_eq!(run(dir.path(), &["healthcheck"]).status.code(), Some(1));

    let _second = serve(dir.path(), &[]);
    let again = text(&run(dir.path(), &["keys", "list"]).stdout);
    let id = |list: &str| list.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(id(&again), id(&keys), "the key stays");
    assert_eq!(
        fs::read_to_string(data.join("issuer")).unwrap(),
        issuer,
        "the issuer stays, whatever the port"
    );
    assert_eq!(fs::read(data.join("ca.crt")).unwrap(), ca);

    let token = text(&minted.stdout);
    fs::write(dir.path().join("token"), &token).unwrap();
    let seen = run(dir.path(), &["token", "inspect", "--file", "token", "--server", "--audience", "vault"]);
    assert!(seen.status.success(), "{}{}", text(&seen.stdout), text(&seen.stderr));
    let other = run(dir.path(), &["token", "inspect", "--file", "token", "--server", "--audience", "other"]);
    assert_eq!(other.status.code(), Some(1), "{}", text(&other.stdout));
}

#[test]
fn a_second_server_leaves_the_first_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = serve(dir.path(), &[]);
    let kubeconfig = fs::read(dir.path().join("tokensmith-data/admin.kubeconfig")).unwrap();
    let second = run(dir.path(), &["serve", "--secure-port=0"]);
    refused(&second, 1, &format!("is in use by another process (pid {})", first.child.id()));
    assert_eq!(fs::read(dir.path().join("tokensmith-data/admin.kubeconfig")).unwrap(), kubeconfig);
    assert!(run(dir.path(), &["token", "create", "default"]).status.success());
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--secure-port={}", taken.local_addr().unwrap().port());
    fs::write(dir.path().join("junk.pem"), "junk").unwrap();
    for (name, key) in [("ed25519.pem", "ed25519.pem"), ("encrypted.pem", "rsa2048.pkcs1.aes256.pem")] {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../keys");
        fs::copy(keys.join(key), dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("foreign"), "apiVersion: v1\nkind: Config\n").unwrap();
    fs::write(dir.path().join("der"), b"\x30\x82\x01\x0a\x02\x82").unwrap();
    fs::write(dir.path().join("utf16"), b"\xff\xfet\0,\0").unwrap();
    for (args, code, says) in [
        (
            vec!["--tls-cert-file=der", "--tls-private-key-file=der"],
            1,
            "der holds no certificate (PEM): it is DER; ",
        ),
        (vec!["--service-account-key-file=der"], 1, "any valid RSA or ECDSA public keys: it is DER; "),
        (vec!["--service-account-signing-key-file=der"], 1, ": it is DER; "),
        (vec!["--client-ca-file=utf16"], 1, "utf16 holds no certificate (PEM): it is UTF-16; "),
        (vec!["--token-auth-file=utf16"], 1, "utf16 is not UTF-8: it is UTF-16; "),
        (vec!["--tls-san=https://x"], 2, "--tls-san: \"https://x\" is neither a host name nor an IP address"),
        (vec!["--external-hostname=x:6443"], 2, "--external-hostname: \"x:6443\" is neither"),
        (vec!["--external-hostname="], 2, "--external-hostname: \"\" is neither"),
        (
            vec!["--authorization-mode=RBAC,RBAC"],
            2,
            "authorization-mode [\"RBAC\" \"RBAC\"] has mode specified more than once",
        ),
        (
            vec!["--discovery-authorization-endpoint=http://x"],
            2,
            "requires https scheme, parsed as: http://x",
        ),
        (vec!["--ephemeral", "--data-dir=d"], 2, "--ephemeral keeps nothing"),
        (vec![port.as_str()], 1, "in use by another program"),
        (vec!["--secure-prot=1"], 2, "tip: a similar argument exists: '--secure-port'"),
        (vec!["--service-account-signing-key-file=junk.pem"], 1, "error reading private key file junk.pem"),
        (vec!["--service-account-key-file=none.pem"], 1, "cannot read none.pem"),
        (vec!["--service-account-max-token-expiration=30m"], 2, "must be between 1 hour and 2^32 seconds"),
        (vec!["--service-account-issuer=http://[bad"], 2, "was not a valid URL"),
        (vec!["--service-account-jwks-uri=http://x/jwks"], 2, "requires https scheme"),
        (vec!["--feature-gates=Nothing=true"], 2, "unknown gate"),
        (
            vec!["--runtime-config=apps/v1"],
            2,
            "--runtime-config: unknown API \"apps/v1\": there is api/all, ",
        ),
        (vec!["--runtime-config=api/beta=yes"], 2, "--runtime-config: api/beta=yes: use true or false"),
        (vec!["--test-clock"], 2, "--ephemeral"),
        (vec!["--signing-algorithm=EdDSA"], 2, "where a token profile asks for it"),
        (vec!["--signing-algorithm=HS256"], 2, "use RS256, ES256, ES384 or ES512"),
        (vec!["--service-account-signing-key-file=ed25519.pem"], 1, "a token profile can ask for EdDSA"),
        (vec!["--service-account-signing-key-file=encrypted.pem"], 1, "nobody to ask for the passphrase"),
        (vec!["--client-ca-file=junk.pem"], 1, "junk.pem holds no certificate (PEM)"),
        (vec!["--tls-cert-file=junk.pem", "--tls-private-key-file=junk.pem"], 1, "junk.pem"),
        (vec!["--tls-cert-file=junk.pem"], 2, "--tls-private-key-file"),
        (vec!["--kubeconfig=foreign"], 3, "did not write"),
        (vec!["--token-auth-file=junk.pem"], 1, "junk.pem"),
    ] {
        let mut all = vec!["serve"];
        all.extend(&args);
        refused(&run(dir.path(), &all), code, says);
        assert!(!dir.path().join("tokensmith-data").exists(), "{args:?} has made something");
    }
    assert_eq!(fs::read_to_string(dir.path().join("foreign")).unwrap(), "apiVersion: v1\nkind: Config\n");
}

/// Where a passphrase can be given, the converted file keeps one; where nobody can be asked, it needs none.
#[test]
fn a_key_in_the_traditional_encrypted_form_is_refused_with_the_command_that_converts_it() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../keys");
    fs::write(dir.path().join("passphrase"), "test-only\n").unwrap();
    let names = [
        "rsa2048.pkcs1.aes256.pem",
        "rsa2048.pkcs1.des.pem",
        "rsa2048.pkcs1.des3.pem",
        "p256.sec1.aes128.pem",
    ];
    for name in names {
        fs::copy(keys.join(name), dir.path().join(name)).unwrap();
        let flag = format!("--service-account-signing-key-file={name}");
        refused(&run(dir.path(), &["serve", &flag]), 1, "`openssl pkey -in KEY -out PLAIN`");
    }
    fs::copy(keys.join("p256.aes256.pem"), dir.path().join("pkcs8.pem")).unwrap();
    let _running = serve(dir.path(), &[]);
    let import = |name: &str, passphrase: &str| {
        let mut args = vec!["keys", "import", name, "--sign"];
        args.extend(Some(passphrase).filter(|flag| !flag.is_empty()));
        run(dir.path(), &args)
    };
    let says = "`openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW`";
    for name in names {
        refused(&import(name, ""), 1, says);
        refused(&import(name, "--passphrase-file=passphrase"), 1, says);
    }
    let taken = import("pkcs8.pem", "--passphrase-file=passphrase");
    assert!(taken.status.success(), "{}", text(&taken.stderr));
}

#[test]
fn users_are_reloaded_on_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users.csv");
    fs::write(&users, "one,jane,1,system:masters\n").unwrap();
    let running = serve(dir.path(), &["--token-auth-file=users.csv"]);
    let can =
        |token: &str| run(dir.path(), &["token", "create", "default", "--token", token]).status.success();
    assert!(can("one") && !can("two"));
    fs::write(&users, "two,jane,1,system:masters\n").unwrap();
    running.signal("HUP");
    until("the new token counts", || can("two"));
    assert!(!can("one"));
}

#[test]
fn a_test_server_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = serve(dir.path(), &["--ephemeral", "--test-clock", "--kubeconfig=kubeconfig"]);
    assert!(run(dir.path(), &["token", "create", "default", "--kubeconfig=kubeconfig"]).status.success());
    assert_eq!(running.stop(), Some(0));
    assert!(!dir.path().join("tokensmith-data").exists());
}

/// As an image sets a folder, a file of variables leaves some empty, and a kubelet adds those of a Service of our name.
#[test]
fn the_environment_counts_as_flags_do() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../keys");
    let mut several = fs::read(keys.join("p256.pub.pem")).unwrap();
    several.extend(b"-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n");
    fs::write(dir.path().join("keys.pem"), several).unwrap();
    fs::write(dir.path().join("users.csv"), "one,jane,1\none,jim,2\n").unwrap();
    let log = fs::File::create(dir.path().join("log")).unwrap();
    let mut command = tokensmith(dir.path());
    command.args(["serve", "--secure-port=0", "--ready-file=ready", "--signing-algorithm=ES256"]);
    command.args(["--service-account-key-file=keys.pem", "--token-auth-file=users.csv"]);
    for (name, value) in [
        ("TOKENSMITH_EPHEMERAL", "1"),
        ("TOKENSMITH_DATA_DIR", "kept"),
        ("TOKENSMITH_TLS_SAN", ""),
        ("TOKENSMITH_INSECURE_PORT", ""),
        ("TOKENSMITH_ANONYMUS_OIDC", "true"),
        ("TOKENSMITH_PORT_443_TCP", "tcp://10.0.0.1:443"),
    ] {
        command.env(name, value);
    }
    let mut running =
        Running { child: command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap() };
    until("it is ready", || dir.path().join("ready").exists());
    assert_eq!(running.stop(), Some(0));
    assert!(!dir.path().join("kept").exists(), "all was in memory");
    let said = fs::read_to_string(dir.path().join("log")).unwrap();
    for line in [
        "warning: no flag reads TOKENSMITH_ANONYMUS_OIDC; was TOKENSMITH_ANONYMOUS_OIDC meant?",
        "a part of the public key file is skipped: the public key is malformed or inconsistent",
        "duplicate token has been found in token file, record number 2",
        "discovery   for clients with credentials; --anonymous-oidc opens it",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("TOKENSMITH_PORT_443") && !said.contains("jane"), "{said}");
}

#[test]
fn what_is_revoked_stays_so_and_cannot_be_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = serve(dir.path(), &[]);
    let minted = text(&run(dir.path(), &["token", "create", "default", "--audience=vault"]).stdout);
    fs::write(dir.path().join("token"), &minted).unwrap();
    let listed = text(&run(dir.path(), &["token", "list", "--audience=vault"]).stdout);
    let jti = listed.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(listed.contains("default/default") && listed.trim().ends_with("valid"), "{listed}");

    for args in [vec![], vec![jti.as_str(), "--key=k"], vec!["--account=default"]] {
        let mut all = vec!["token", "revoke"];
        all.extend(&args);
        refused(
            &run(dir.path(), &all),
            2,
            if args.len() == 1 { "NAMESPACE/NAME" } else { "exactly one of JTI" },
        );
    }
    let revoked = run(dir.path(), &["token", "revoke", &jti, "--reason=lost"]);
    let said = text(&revoked.stdout);
    assert!(revoked.status.success() && said.starts_with(&format!("revoked token {jti}\n")), "{said}");
    assert!(said.contains("default/default: 1\n"), "{said}");
    // One in the answer that carried it is found as `inspect` finds it.
    let answer = run(dir.path(), &["token", "create", "default/default", "--output=json"]).stdout;
    fs::write(dir.path().join("answer"), answer).unwrap();
    let carried = run(dir.path(), &["token", "revoke", "--file=answer"]);
    assert!(carried.status.success(), "{}", text(&carried.stderr));
    refused(&run(dir.path(), &["token", "list", "--namespace=default"]), 2, "give --account NAMESPACE/NAME");
    let inspect = ["token", "inspect", "--file=token", "--server", "--audience=vault"];
    let seen = run(dir.path(), &inspect);
    assert_eq!(seen.status.code(), Some(1));
    assert!(text(&seen.stdout).contains("has been revoked"), "{}", text(&seen.stdout));
    assert_eq!(first.stop(), Some(0));

    let off = run(dir.path(), &["serve", "--secure-port=0", "--ledger=off"]);
    refused(&off, 3, "would be accepted again; start it with --ledger=revocations or --ledger=full");
    let _second = serve(dir.path(), &["--ledger=revocations"]);
    assert_eq!(run(dir.path(), &inspect).status.code(), Some(1), "still revoked");
    refused(&run(dir.path(), &["token", "list"]), 1, "start it with --ledger=full");
}

/// A CA of clients in `NAME-ca.pem`, and a kubeconfig `NAME` of an administrator whom it vouches for.
fn certified(dir: &Path, name: &str) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = params.self_signed(&ca_key).unwrap().pem();
    let ca = rcgen::Issuer::new(params, ca_key);
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "ann");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    for (suffix, text) in [("-ca.pem", ca_pem), (".crt", certificate.pem()), (".key", key.serialize_pem())] {
        fs::write(dir.join(format!("{name}{suffix}")), text).unwrap();
    }
}

/// A kubeconfig of who shows a certificate, and a token if there is one.
fn kubeconfig(dir: &Path, name: &str, token: Option<&str>) -> String {
    let url = fs::read_to_string(dir.join("ready")).unwrap();
    let token = token.map(|token| format!(", token: {token}")).unwrap_or_default();
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c,\n\
         clusters: [{{name: c, cluster: {{server: '{}', certificate-authority: tokensmith-data/ca.crt}}}}],\n\
         users: [{{name: u, user: {{client-certificate: {name}.crt, client-key: {name}.key{token}}}}}],\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}\n",
        url.trim()
    );
    fs::write(dir.join("kubeconfig"), text).unwrap();
    "--kubeconfig=kubeconfig".into()
}

#[test]
fn the_cas_of_clients_are_reloaded_on_sighup_and_cut_nobody_off() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    certified(dir, "one");
    certified(dir, "two");
    fs::copy(dir.join("one-ca.pem"), dir.join("clients.pem")).unwrap();
    let running = serve(dir, &["--client-ca-file=clients.pem"]);
    let admin = fs::read_to_string(dir.join("tokensmith-data/admin.token")).unwrap();
    let can = |name: &str, token: Option<&str>| {
        let config = kubeconfig(dir, name, token);
        run(dir, &["token", "create", "default", &config]).status.success()
    };
    assert!(can("one", None) && !can("two", None));
    assert!(can("two", Some(admin.trim())), "a good token counts beside a foreign certificate");
    assert!(!can("two", Some("wrong")));
    fs::copy(dir.join("two-ca.pem"), dir.join("clients.pem")).unwrap();
    running.signal("HUP");
    until("the new CA counts", || can("two", None));
    assert!(!can("one", None));
    fs::write(dir.join("clients.pem"), "junk").unwrap();
    running.signal("HUP");
    until("the junk is seen", || {
        fs::read_to_string(dir.join("log")).unwrap().contains("clients.pem stays as it was")
    });
    assert!(fs::read_to_string(dir.join("log")).unwrap().contains("reloaded clients.pem"));
    assert!(can("two", None), "a bad file changes nothing");
    assert!(run(dir, &["healthcheck"]).status.success());
}
