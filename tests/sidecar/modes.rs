//! The lines of docs/sidecar.md, each in front of an application that speaks HTTP/1.1 and nothing else, asked by curl as people
//! use it: over TLS it speaks HTTP/2 by itself.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokensmith_tests::server::pause;
use tokensmith_tests::{Agent, Server};

use super::{AUDIENCE, mint};

/// Says what it was asked, as JSON, with the class of Python's own library; HTTP/1.0 and HTTP/1.1.
const APPLICATION: &str = r#"
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = sys.argv[2]
    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        seen = {"line": self.requestline, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": len(body)}
        text = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_POST = do_GET
    def log_message(self, *args): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

struct Application(Child, SocketAddr);

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Application {
    async fn start(protocol: &str) -> Result<Self> {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let port = free.port().to_string();
        let python = Command::new("python3").args(["-c", APPLICATION, &port, protocol]).spawn();
        let application = Application(python.context("python3")?, free);
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(free).await.is_ok() {
                return Ok(application);
            }
            pause(std::time::Duration::from_millis(50)).await;
        }
        bail!("python3 does not listen")
    }

    fn upstream(&self) -> String {
        format!("--upstream=http://{}", self.1)
    }
}

/// Whether programs are there that this machine may lack.
fn lacks(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| {
        let asked =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        !asked.is_ok_and(|status| status.success())
    });
    if let Some(missing) = missing {
        println!("skipped: there is no {missing} here");
    }
    missing.is_some()
}

/// The protocol, the status and the body of an answer.
async fn curl(args: &[&str]) -> Result<(String, u16, Value)> {
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30"]);
    command.args(["--write-out", "\n%{http_version} %{http_code}"]).args(args);
    let done = command.output().await?;
    let text = String::from_utf8(done.stdout)?;
    ensure!(done.status.success(), "{args:?}: {} {text}", String::from_utf8_lossy(&done.stderr));
    let (body, end) = text.rsplit_once('\n').context("no end")?;
    let (version, code) = end.split_once(' ').context("no code")?;
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    Ok((version.to_owned(), code.parse()?, body))
}

/// A certificate for localhost and its key; the first is whom to trust, too.
fn certificate(dir: &Path) -> Result<()> {
    let key = rcgen::KeyPair::generate()?;
    let made = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    fs::write(dir.join("tls.crt"), made.pem())?;
    tokensmith_tests::server::write_secret(&dir.join("tls.key"), key.serialize_pem().as_bytes())
}

#[tokio::test]
async fn a_verifying_sidecar_before_an_application_of_http1() -> Result<()> {
    if lacks(&["curl", "python3"]) {
        return Ok(());
    }
    let server = Server::start(&["--anonymous-oidc"]).await?;
    let token = mint(&server, AUDIENCE).await?;
    let dir = tempfile::tempdir()?;
    certificate(dir.path())?;
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (issuer, audience) = (format!("--issuer={}", server.url()), format!("--audience={AUDIENCE}"));
    let (cert, key) = (format!("--tls-cert-file={}", file("tls.crt")), file("tls.key"));
    for protocol in ["HTTP/1.0", "HTTP/1.1"] {
        let application = Application::start(protocol).await?;
        let upstream = application.upstream();
        let args = ["proxy", "--verify", &issuer, &audience, &upstream, "--listen=127.0.0.1:0", &cert];
        let args = [&args[..], &["--tls-private-key-file", &key]].concat();
        let sidecar = Agent::start(&server, &args).await?;
        let port = sidecar.address().rsplit(':').next().context("no port")?.to_owned();
        let (url, trust) = (format!("https://localhost:{port}/data?x=1"), file("tls.crt"));
        let bearer = format!("Authorization: Bearer {token}");
        let ask = ["--cacert", &trust, "--header", &bearer, &url];
        for (flags, version) in [(&[][..], "2"), (&["--http1.1"], "1.1"), (&["--http2"], "2")] {
            let (spoken, code, seen) = curl(&[flags, &ask].concat()).await?;
            ensure!((spoken.as_str(), code) == (version, 200), "{spoken} {code} {seen}");
            ensure!(seen["line"] == "GET /data?x=1 HTTP/1.1", "{seen}");
            ensure!(seen["headers"]["host"] == application.1.to_string(), "{seen}");
            ensure!(seen["headers"]["x-remote-user"] == "system:serviceaccount:default:default", "{seen}");
            // More than one look of curl's: `Expect: 100-continue` where it waits for a word.
            let body = "a".repeat(3 << 20);
            fs::write(dir.path().join("body"), &body)?;
            let upload = format!("@{}", file("body"));
            let posted = [flags, &ask, &["--data-binary", &upload]].concat();
            let (_, code, seen) = curl(&posted).await?;
            ensure!(code == 200 && seen["body"] == body.len(), "{code} {seen}");
            let length = body.len().to_string();
            ensure!(seen["headers"]["content-length"] == length.as_str(), "{seen}");
        }
        let (spoken, code, seen) = curl(&["--cacert", &trust, &url]).await?;
        ensure!(spoken == "2" && code == 401, "{code} {seen}");
        ensure!(sidecar.stop().await?.success());
        // Over HTTP/2 alone the application cannot be spoken to, and that is said.
        let sidecar = Agent::start(&server, &[&args[..], &["--upstream-protocol=http2"]].concat()).await?;
        let port = sidecar.address().rsplit(':').next().context("no port")?.to_owned();
        let url = format!("https://localhost:{port}/");
        let (_, code, seen) = curl(&["--cacert", &trust, "--header", &bearer, &url]).await?;
        ensure!(code == 502 && seen["kind"] == "Status", "{code} {seen}");
    }
    Ok(())
}

#[tokio::test]
async fn an_injecting_sidecar_before_an_application_of_http1() -> Result<()> {
    if lacks(&["curl", "python3"]) {
        return Ok(());
    }
    let server = Server::start(&[]).await?;
    let token = mint(&server, "vault").await?;
    let file = server.home().join("token");
    fs::write(&file, &token)?;
    let file = format!("--token-file={}", file.display());
    for protocol in ["HTTP/1.0", "HTTP/1.1"] {
        let application = Application::start(protocol).await?;
        let args = ["proxy", &file, &application.upstream(), "--listen=127.0.0.1:0"];
        let sidecar = Agent::start(&server, &args).await?;
        let url = format!("http://{}/data", sidecar.address());
        // `--http2` asks for h2c in vain, and gets HTTP/1.1.
        for flags in [&[][..], &["--http2"], &["--http2-prior-knowledge"], &["--http1.0"]] {
            for more in
                [&[][..], &["--data", "a=b"], &["--header", "Connection: X-Hop", "--header", "X-Hop: 1"]]
            {
                let (_, code, seen) = curl(&[flags, more, &[&url]].concat()).await?;
                ensure!(code == 200, "{flags:?} {more:?}: {code} {seen}");
                ensure!(seen["headers"]["authorization"] == format!("Bearer {token}"), "{seen}");
                ensure!(seen["headers"]["host"] == application.1.to_string(), "{seen}");
                // HTTP/2 has no `Connection`: there it is a header like any other.
                let hop = if flags == ["--http2-prior-knowledge"] { "upgrade" } else { "x-hop" };
                for nowhere in [hop, "upgrade", "http2-settings", "connection"] {
                    ensure!(seen["headers"][nowhere].is_null(), "{nowhere}: {seen}");
                }
            }
        }
        ensure!(sidecar.stop().await?.success());
    }
    Ok(())
}

#[tokio::test]
async fn sidecars_that_give_tokens_out() -> Result<()> {
    if lacks(&["curl"]) {
        return Ok(());
    }
    let server = Server::start(&[]).await?;
    let token = mint(&server, "vault").await?;
    let file = server.home().join("token");
    fs::write(&file, &token)?;
    let file = format!("--token-file={}", file.display());
    for (source, query) in [(file.as_str(), ""), ("--service-account=default/default", "?audience=vault")] {
        let sidecar = Agent::start(&server, &["proxy", source, "--listen=127.0.0.1:0"]).await?;
        let port = sidecar.address().rsplit(':').next().context("no port")?.to_owned();
        for flags in [&[][..], &["--http2-prior-knowledge"], &["--http1.0"]] {
            let url = format!("http://localhost:{port}/token{query}");
            let (_, code, answer) = curl(&[flags, &[&url]].concat()).await?;
            ensure!(code == 200 && answer["token"].is_string(), "{flags:?}: {code} {answer}");
            ensure!(source != file || answer["token"] == token, "{answer}");
        }
        ensure!(sidecar.stop().await?.success());
    }
    Ok(())
}

/// Reviews that fail are told where operators look, in words.
#[tokio::test]
async fn failing_reviews_are_told() -> Result<()> {
    let server = Server::start(&["--anonymous-oidc"]).await?;
    let observed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (issuer, audience) = (format!("--issuer={}", server.url()), format!("--audience={AUDIENCE}"));
    let observe = format!("--metrics-address={observed}");
    let upstream = super::echo().await?;
    let args = ["proxy", "--verify", &issuer, &audience, &upstream, &observe, "--listen=127.0.0.1:0"];
    for (token, code, words) in [
        (None, 200, "ok"),
        // It may not create TokenReviews.
        (
            Some(mint(&server, "https://kubernetes.default.svc").await?),
            503,
            "the API server cannot review tokens: ",
        ),
    ] {
        let token = token.map(|token| format!("--token={token}"));
        let args: Vec<_> = args.into_iter().chain(["--token-review"]).chain(token.as_deref()).collect();
        let sidecar = Agent::start(&server, &args).await?;
        let client = tokensmith_tests::Client::new(&format!("http://{observed}"), b"")?;
        let answer = client.send("GET", "/healthz", None, &[], None).await?;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(answer.status == code && said.contains(words), "{}: {said}", answer.status);
        ensure!(sidecar.stop().await?.success());
    }
    Ok(())
}
