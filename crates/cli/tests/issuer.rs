//! `tokensmith issuer publish` as a process: against a real server that comes and goes, and against one that lies.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

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
    fn stop(&mut self, signal: &str) -> Option<i32> {
        Command::new("kill").args([format!("-{signal}"), self.child.id().to_string()]).status().unwrap();
        until("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

fn tokensmith(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokensmith"));
    command.current_dir(dir).env_remove("KUBECONFIG").stdin(Stdio::null()).args(args);
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    tokensmith(dir, args).output().unwrap()
}

/// Runs in the background; standard output and error go to files of that name.
fn start(dir: &Path, name: &str, args: &[&str]) -> Running {
    let file = |end: &str| fs::File::create(dir.join(format!("{name}.{end}"))).unwrap();
    let child = tokensmith(dir, args).stdout(file("out")).stderr(file("err")).spawn().unwrap();
    Running { child }
}

fn serve(dir: &Path, args: &[&str]) -> Running {
    let _ = fs::remove_file(dir.join("ready"));
    let mut all = vec![
        "serve",
        "--secure-port=0",
        "--ready-file=ready",
        "--signing-algorithm=ES256",
        "--service-account-issuer=https://bucket.example/cluster1",
    ];
    all.extend(args);
    let running = start(dir, "serve", &all);
    until("it is ready", || fs::read_to_string(dir.join("ready")).is_ok_and(|s| !s.is_empty()));
    running
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for the spare key that a new server publishes.
fn spare(dir: &Path) {
    until("a spare is published", || text(&run(dir, &["keys", "list"]).stdout).contains("prepared"));
}

fn keys(path: &Path) -> usize {
    let found: Option<Value> = fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    found.and_then(|v| v["keys"].as_array().map(Vec::len)).unwrap_or(0)
}

#[track_caller]
fn refused(output: &Output, code: i32, says: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(
        error.contains(says) && error.starts_with("error: ") && error.trim().lines().count() == 1,
        "{error}\nshould say\n{says}"
    );
}

#[test]
fn what_is_served_is_published_once() {
    let dir = tempfile::tempdir().unwrap();
    let _server = serve(dir.path(), &[]);
    spare(dir.path());
    let done = run(dir.path(), &["issuer", "publish", "site"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(
        text(&done.stdout),
        "site/openid/v1/jwks: 2 keys\nsite/.well-known/openid-configuration: issuer https://bucket.example/cluster1\n"
    );
    let (jwks, discovery) =
        (dir.path().join("site/openid/v1/jwks"), dir.path().join("site/.well-known/openid-configuration"));
    let read: Value = serde_json::from_slice(&fs::read(&discovery).unwrap()).unwrap();
    assert_eq!(read["jwks_uri"], "https://bucket.example/cluster1/openid/v1/jwks");
    let ids = text(&run(dir.path(), &["keys", "list", "--output=json"]).stdout);
    let published: Value = serde_json::from_slice(&fs::read(&jwks).unwrap()).unwrap();
    assert!(ids.contains(published["keys"][0]["kid"].as_str().unwrap()), "{ids}");
    let about = |path: &Path| (fs::metadata(path).unwrap().ino(), fs::metadata(path).unwrap().mode() & 0o777);
    let before = (about(&jwks), about(&discovery));
    assert_eq!((before.0.1, before.1.1), (0o644, 0o644));

    let again = run(dir.path(), &["issuer", "publish", "site"]);
    assert_eq!((text(&again.stdout).as_str(), again.status.code()), ("site is current\n", Some(0)));
    assert_eq!((about(&jwks), about(&discovery)), before, "equal files are left alone");

    let other = fs::read_to_string(&discovery).unwrap().replace("cluster1", "cluster2");
    fs::write(&discovery, &other).unwrap();
    refused(
        &run(dir.path(), &["issuer", "publish", "site"]),
        3,
        "the server's issuer is \"https://bucket.example/cluster1\", but site is for \"https://bucket.example/cluster2\": give another directory, or --issuer https://bucket.example/cluster1 to replace it",
    );
    assert_eq!(fs::read_to_string(&discovery).unwrap(), other);
    let wrong = ["issuer", "publish", "site", "--issuer=https://bucket.example/cluster2"];
    refused(&run(dir.path(), &wrong), 3, "but this is to publish for");
    let meant = ["issuer", "publish", "site", "--issuer=https://bucket.example/cluster1"];
    assert!(run(dir.path(), &meant).status.success());
    assert_eq!(about(&jwks), before.0);
}

#[test]
fn what_cannot_be_written_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let _server = serve(dir.path(), &[]);
    fs::write(dir.path().join("file"), "").unwrap();
    refused(&run(dir.path(), &["issuer", "publish", "file"]), 1, "cannot publish to file: ");
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    // To root a directory's mode says nothing; /proc takes no files from anyone.
    let unwritable = if fs::write(closed.join("probe"), "").is_ok() { "/proc/self/task" } else { "closed" };
    let says = format!("cannot write {unwritable}/openid/v1/jwks: ");
    refused(&run(dir.path(), &["issuer", "publish", unwritable]), 1, &says);
    for (args, says) in
        [(["--interval=1s", "--token=x"], "--watch"), (["--watch", "--interval=0s"], "whole seconds")]
    {
        let mut all = vec!["issuer", "publish", "site"];
        all.extend(args);
        refused(&run(dir.path(), &all), 2, says);
    }
    assert!(!dir.path().join("site").exists());
}

#[test]
fn a_watch_follows_a_server_that_goes_and_comes_back_with_other_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = serve(dir.path(), &[]);
    spare(dir.path());
    let mut watch = start(dir.path(), "watch", &["issuer", "publish", "site", "--watch", "--interval=1s"]);
    let jwks = dir.path().join("site/openid/v1/jwks");
    let log = |end: &str| fs::read_to_string(dir.path().join(format!("watch.{end}"))).unwrap();
    until("both files are there", || log("out").lines().count() == 2);
    assert_eq!(keys(&jwks), 2);
    // What somebody breaks is mended.
    fs::write(&jwks, "{}").unwrap();
    until("the key set is mended", || keys(&jwks) == 2);

    assert_eq!(server.stop("TERM"), Some(0));
    until("it is told", || log("err").contains("trying again until it works"));
    refused(&run(dir.path(), &["issuer", "publish", "site"]), 1, "cannot reach https://127.0.0.1:");
    assert_eq!(keys(&jwks), 2, "what was published stays");
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../keys/p384.pub.pem");
    let _server = serve(dir.path(), &[&format!("--service-account-key-file={}", key.display())]);
    until("the third key is published", || keys(&jwks) == 3);
    until("it is told", || log("err").contains("publishing works again"));
    assert_eq!(log("err").matches("trying again").count(), 1, "once: {}", log("err"));
    let lines = log("out");
    assert!(lines.contains("site/openid/v1/jwks: 3 keys\n"), "{lines}");
    // The document names the new algorithm; the first two lines, the mended file, and these two.
    until("the discovery document follows", || log("out").lines().count() == 5);
    assert_eq!(watch.stop("TERM"), Some(0));
}

/// A path, the entity tag and the body of what is there.
type Served = (&'static str, String, String);

/// Answers over plain HTTP, as a test decides; notes what was asked.
struct Fake {
    port: u16,
    answers: Arc<Mutex<Vec<Served>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn new(answers: Vec<Served>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Fake {
            port: listener.local_addr().unwrap().port(),
            answers: Arc::new(Mutex::new(answers)),
            asked: Arc::default(),
        };
        let (answers, asked) = (fake.answers.clone(), fake.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let lines: Vec<String> = BufReader::new(&stream)
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let path = lines.first().and_then(|l| l.split(' ').nth(1)).unwrap_or("").to_owned();
                let known = lines.iter().find_map(|l| l.strip_prefix("if-none-match: ")).unwrap_or("none");
                asked.lock().unwrap().push(format!("{path} {known}"));
                let found = answers.lock().unwrap().iter().find(|(at, ..)| *at == path).cloned();
                let answer = match found {
                    None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n".to_owned(),
                    Some((_, tag, _)) if tag == known => {
                        format!("HTTP/1.1 304 Not Modified\r\netag: {tag}\r\n")
                    }
                    Some((_, tag, body)) => {
                        format!(
                            "HTTP/1.1 200 OK\r\netag: {tag}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                            body.len()
                        )
                    }
                };
                let end = if answer.contains("\r\n\r\n") { "" } else { "connection: close\r\n\r\n" };
                let _ = stream.write_all(format!("{answer}{end}").as_bytes());
            }
        });
        fake
    }

    fn server(&self) -> String {
        format!("--server=http://127.0.0.1:{}", self.port)
    }
}

const DISCOVERY: &str = "/.well-known/openid-configuration";
const JWKS: &str = "/openid/v1/jwks";

fn discovery(uri: &str) -> Served {
    let body = json!({"issuer": "https://b.example/c", "jwks_uri": uri}).to_string();
    (DISCOVERY, "\"d1\"".into(), body)
}

fn key_set(ids: &[&str]) -> Served {
    let keys: Vec<_> = ids.iter().map(|id| json!({"kty": "EC", "kid": id})).collect();
    (JWKS, format!("\"k{}\"", ids.len()), json!({ "keys": keys }).to_string())
}

#[test]
fn a_watch_asks_for_what_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new(vec![discovery("https://b.example/c/keys.json"), key_set(&["a"])]);
    let mut watch = start(
        dir.path(),
        "watch",
        &["issuer", "publish", "site", "--watch", "--interval=1s", &fake.server()],
    );
    let asked = |wanted: &str| fake.asked.lock().unwrap().iter().filter(|line| *line == wanted).count();
    until("it asks by the tags", || asked(&format!("{JWKS} \"k1\"")) > 0);
    assert_eq!((asked(&format!("{DISCOVERY} none")), asked(&format!("{JWKS} none"))), (1, 1));
    let path = dir.path().join("site/keys.json");
    assert_eq!(keys(&path), 1);
    fake.answers.lock().unwrap()[1] = key_set(&["a", "b"]);
    until("the new set is published", || keys(&path) == 2);
    until("it asks by the new tag", || asked(&format!("{JWKS} \"k2\"")) > 0);
    // A set that is broken or empty replaces nothing, and does not end the watch.
    for broken in ["{\"keys\":[", "{\"keys\":[]}"] {
        fake.answers.lock().unwrap()[1] = (JWKS, format!("\"{}\"", broken.len()), broken.to_owned());
        let seen = asked(&format!("{JWKS} \"k2\"")) + asked(&format!("{JWKS} none"));
        until("it asks again", || {
            asked(&format!("{JWKS} \"k2\"")) + asked(&format!("{JWKS} none")) > seen + 1
        });
        assert_eq!(keys(&path), 2);
    }
    fake.answers.lock().unwrap()[1] = key_set(&["a", "b", "c"]);
    until("the next good set is published", || keys(&path) == 3);
    let errors = fs::read_to_string(dir.path().join("watch.err")).unwrap();
    assert!(errors.contains("nothing is published: the key set is empty; trying again"), "{errors}");
    assert_eq!(watch.stop("INT"), Some(0));
}

#[test]
fn a_hostile_server_writes_nothing_anywhere_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("site/away")).unwrap();
    fs::write(dir.path().join("victim"), "mine").unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), dir.path().join("site/out")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("victim"), dir.path().join("site/link")).unwrap();
    let good = || key_set(&["a"]);
    let private = json!({"keys": [{"kty": "EC", "kid": "a", "d": "x"}]}).to_string();
    for (uri, keys, code, says) in [
        ("https://b.example/c/../victim", good(), 1, "cannot be a file at"),
        ("https://b.example/c/%2e%2e/victim", good(), 1, "cannot be a file at"),
        ("https://b.example/c//victim", good(), 1, "cannot be a file at"),
        ("https://b.example/c/.well-known/openid-configuration", good(), 1, "cannot be a file at"),
        ("https://b.example/c/out/jwks", good(), 3, "leads out of site"),
        ("https://b.example/c/link", good(), 3, "leads out of site"),
        (
            "https://b.example/c/jwks",
            (JWKS, "\"e\"".into(), "{\"keys\":[]}".into()),
            1,
            "the key set is empty",
        ),
        ("https://b.example/c/jwks", (JWKS, "\"p\"".into(), private), 1, "holds a private key"),
        (
            "https://b.example/c/jwks",
            ("/none", String::new(), String::new()),
            1,
            "failed to fetch /openid/v1/jwks: the server answered 404",
        ),
    ] {
        let fake = Fake::new(vec![discovery(uri), keys]);
        refused(&run(dir.path(), &["issuer", "publish", "site", &fake.server()]), code, says);
        assert!(!dir.path().join("site/.well-known").exists(), "{uri}");
        assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 0);
    }
    // Elsewhere is no crime: the file is where the server has it, and the operator is told.
    let fake = Fake::new(vec![discovery("https://cdn.example/keys"), good()]);
    let done = run(dir.path(), &["issuer", "publish", "site", &fake.server()]);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(
        text(&done.stderr),
        "warning: jwks_uri \"https://cdn.example/keys\" is not below the issuer \"https://b.example/c\": see to it that site/openid/v1/jwks is served there\n"
    );
    assert_eq!(keys(&dir.path().join("site/openid/v1/jwks")), 1);
    refused(&run(dir.path(), &["issuer", "publish", "new", "--server=http://192.0.2.1:1"]), 3, "use https");
    assert!(!dir.path().join("new").exists());
}
