//! The external signer of the real binary: beside the server, and alone.

#[path = "../../crates/signer/tests/signer/api_server.rs"]
mod api_server;
mod rotation;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration as StdDuration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokensmith_tests::server::{ADMIN, binary, pause};
use tokensmith_tests::{Client as Http, Server, jws};
use tonic::Code;

use api_server::{ApiServer, Client};

const AUDIENCE: &str = "https://kubernetes.default.svc";

fn payload(now: OffsetDateTime, seconds: i64) -> Value {
    let now = now.unix_timestamp();
    json!({"aud": [AUDIENCE], "exp": now + seconds, "iat": now, "nbf": now, "sub": "system:serviceaccount:a:b"})
}

/// Verifies a token with nothing but the key set that the server publishes over HTTP; gives its `kid`.
fn verify(jwks: &Value, token: &str) -> Result<String> {
    let set: JwkSet = serde_json::from_value(jwks.clone())?;
    let kid = jsonwebtoken::decode_header(token)?.kid.context("no kid")?;
    let key = jws::Key::of(set.find(&kid).context("the key is not published")?)?;
    let claims: Value = key.payload(token)?;
    ensure!(claims["aud"] == json!([AUDIENCE]) && claims["exp"].is_i64(), "{claims}");
    Ok(kid)
}

async fn now(http: &Http) -> Result<OffsetDateTime> {
    let clock = http.get("/testing/v1/clock", Some(ADMIN)).await?;
    Ok(OffsetDateTime::parse(clock["now"].as_str().context("no time")?, &Rfc3339)?)
}

async fn set(http: &Http, now: OffsetDateTime) -> Result<()> {
    let body = json!({"now": now.format(&Rfc3339)?}).to_string();
    let headers = [("content-type", "application/json")];
    http.send("PUT", "/testing/v1/clock", Some(ADMIN), &headers, Some(body.into())).await?.success()?;
    Ok(())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.permissions().mode() & 0o7777)
}

#[tokio::test]
async fn beside_the_server() -> Result<()> {
    for algorithm in ["RS256", "ES256", "ES384"] {
        let server = Server::start(&[
            "--ephemeral",
            "--test-clock",
            "--external-signer-socket=signer.sock",
            "--service-account-issuer=https://issuer.example",
            "--service-account-max-token-expiration=1h",
            &format!("--signing-algorithm={algorithm}"),
        ])
        .await?;
        let socket = server.home().join("signer.sock");
        ensure!(mode(&socket)? == 0o600);
        let http = server.client()?;
        rotation::in_phase(&http, "prepared").await?;
        for client in [Client::v1(&socket).await?, Client::v1alpha1(&socket).await?] {
            let start = now(&http).await?;
            let mut api = ApiServer::start(client.clone(), None, start).await?;
            ensure!(api.max_seconds == 3600);
            let jwks = http.get("/openid/v1/jwks", Some(ADMIN)).await?;
            let published = jwks["keys"].as_array().context("no keys")?;
            let published: BTreeSet<_> = published.iter().filter_map(|k| k["kid"].as_str()).collect();
            ensure!(published.len() == 2 && published == api.ids().into_iter().collect());
            let token = api.token(&payload(start, 3600)).await?;
            ensure!(api.verify(&token, start).await? == verify(&jwks, &token)?);
            // The same key signs what the server itself issues.
            let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
            let issued = http.post(path, Some(ADMIN), &json!({"spec": {"audiences": [AUDIENCE]}})).await?;
            let issued = issued["status"]["token"].as_str().context("no token")?.to_owned();
            ensure!(api.verify(&issued, start).await? == verify(&jwks, &token)?);

            // The server's clock counts, not the system's.
            let later = start + Duration::hours(2);
            let refused = api.token(&payload(later, 3600)).await.err().context("signed")?;
            let refused = refused.downcast_ref::<tonic::Status>().context("no status")?.code();
            ensure!(refused == Code::InvalidArgument, "{refused}");
            set(&http, later).await?;
            api.tick(later).await?;
            let token = api.token(&payload(later, 3600)).await?;
            api.verify(&token, later).await?;
            ensure!(api.unknown == 0);
        }
    }
    Ok(())
}

/// A process of the binary in a directory of its own, ended when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn signal(&self, name: &str) -> Result<()> {
        Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status()?;
        Ok(())
    }

    async fn ended(&mut self) -> Result<Option<i32>> {
        for _ in 0..600 {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status.code());
            }
            pause(StdDuration::from_millis(50)).await;
        }
        bail!("it does not end")
    }
}

fn command(dir: &Path, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.args(args).current_dir(dir).stdin(Stdio::null());
    Ok(command)
}

/// Starts `tokensmith signer` and waits until it answers.
async fn signer(dir: &Path, args: &[&str]) -> Result<(Process, Client)> {
    let log = File::options().create(true).append(true).open(dir.join("log"))?;
    let all = [&["signer", "--socket=signer.sock"], args].concat();
    let child = command(dir, &all)?.stdout(log.try_clone()?).stderr(log).spawn()?;
    let mut process = Process(child);
    let socket = dir.join("signer.sock");
    for _ in 0..600 {
        if let Ok(mut client) = Client::v1(&socket).await {
            client.metadata().await?;
            return Ok((process, client));
        }
        let log = fs::read_to_string(dir.join("log"))?;
        ensure!(process.0.try_wait()?.is_none(), "it has ended: {log}");
        pause(StdDuration::from_millis(50)).await;
    }
    bail!("it never answers")
}

/// One line on standard error, and that exit code.
fn refused(output: &Output, code: i32, says: &str) -> Result<()> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{:?}: {error}", output.status);
    ensure!(error.starts_with("error: ") && error.trim().lines().count() == 1, "{error}");
    ensure!(error.contains(says), "{error}");
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a real process signs by the system's clock")]
fn today() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::test]
async fn alone() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let home = dir.path();
    let socket: PathBuf = home.join("signer.sock");
    let args = ["--signing-algorithm=ES256", "--service-account-max-token-expiration=24h"];
    let (mut first, client) = signer(home, &args).await?;
    ensure!(mode(&socket)? == 0o600 && mode(&home.join("tokensmith-data"))? == 0o700);
    let mut api = ApiServer::start(client, None, today()).await?;
    ensure!(api.max_seconds == 86400);
    let token = api.token(&payload(today(), 86400)).await?;
    let kid = api.verify(&token, today()).await?;

    // Another one with data of its own leaves the socket alone, another one on the data the keys.
    let second = command(home, &["signer", "--socket=signer.sock", "--data-dir=other"])?.output()?;
    refused(&second, 1, "signer.sock is served by another process")?;
    ensure!(!home.join("other").exists(), "it has made something");
    let second = command(home, &["signer", "--socket=other.sock"])?.output()?;
    refused(&second, 1, &format!("is in use by another process (pid {})", first.0.id()))?;
    ensure!(!home.join("other.sock").exists(), "its socket is gone with it");
    let args_of_serve = ["serve", "--external-signer-socket=signer.sock", "--ephemeral", "--secure-port=0"];
    let second = command(home, &args_of_serve)?.output()?;
    refused(&second, 1, "signer.sock is served by another process")?;

    // SIGHUP is no reason to end; a kill leaves the socket's file, which the next start replaces.
    first.signal("HUP")?;
    api.fetch(today()).await?;
    first.0.kill()?;
    first.ended().await?;
    ensure!(socket.exists());
    let (mut again, client) = signer(home, &args).await?;
    let mut api = ApiServer::start(client, None, today()).await?;
    ensure!(api.verify(&token, today()).await? == kid && api.unknown == 0, "the key stays");
    again.signal("TERM")?;
    ensure!(again.ended().await? == Some(0));
    ensure!(!socket.exists());

    let (mut third, _client) = signer(home, &args).await?;
    third.signal("INT")?;
    ensure!(third.ended().await? == Some(0));
    ensure!(!socket.exists());
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_made() -> Result<()> {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("file"), "precious")?;
    for (args, code, says) in [
        (vec!["signer"], 2, "--socket"),
        (vec!["signer", "--socket=@a/b"], 2, "is no name of an abstract socket"),
        (vec!["signer", "--socket="], 2, "--socket"),
        (vec!["signer", "--socket=file"], 1, "file is there and is no socket"),
        (vec!["signer", "--socket=none/s"], 1, "cannot listen on none/s"),
        (vec!["signer", "--socket=s", "--service-account-max-token-expiration=30m"], 2, "between 1 hour"),
        (vec!["signer", "--socket=s", "--service-account-signing-key-file=file"], 1, "private key file file"),
        (vec!["serve", "--secure-port=0", "--external-signer-socket=file"], 1, "is no socket"),
        (vec!["serve", "--secure-port=0", "--external-signer-socket=@"], 2, "abstract socket"),
    ] {
        refused(&command(dir.path(), &args)?.output()?, code, says).with_context(|| format!("{args:?}"))?;
    }
    let left: Result<Vec<_>, _> = fs::read_dir(dir.path())?.collect();
    ensure!(left?.len() == 1 && fs::read_to_string(dir.path().join("file"))? == "precious");
    Ok(())
}

/// Claims are base64url of JSON; the real binary says so, too, and lives on.
#[tokio::test]
async fn garbage_is_refused_by_the_process() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (_process, mut client) = signer(dir.path(), &["--signing-algorithm=ES256"]).await?;
    for claims in ["", "%", "e30=", &BASE64.encode("[]"), &BASE64.encode("{\"exp\":[]}")] {
        let refused = client.sign(claims).await.err().context("signed")?;
        ensure!(refused.code() == Code::InvalidArgument, "{claims:?}: {refused}");
    }
    let refused = client.sign(&"e".repeat(3 << 20)).await.err().context("signed")?;
    ensure!(refused.code() == Code::OutOfRange, "{refused}");
    client.sign(&BASE64.encode(payload(today(), 600).to_string())).await?;
    Ok(())
}

/// A token that an API server had signed is in the list and in the audit log, as one that was asked for over HTTP is.
#[tokio::test]
async fn what_is_signed_goes_on_record() -> Result<()> {
    let args = [
        "--ephemeral",
        "--external-signer-socket=signer.sock",
        "--audit-log-path=audit.log",
        "--service-account-issuer=https://issuer.example",
        "--signing-algorithm=ES256",
    ];
    let server = Server::start(&args).await?;
    let mut client = Client::v1(&server.home().join("signer.sock")).await?;
    let mut payload = payload(OffsetDateTime::UNIX_EPOCH + Duration::days(36_500), 600);
    payload["jti"] = "signed-here".into();
    client.sign(&BASE64.encode(payload.to_string())).await?;
    let listed = server.client()?.get("/admin/v1/tokens?account=a/b", Some(ADMIN)).await?;
    let token = &listed["tokens"][0];
    ensure!(
        (&token["jti"], &token["requester"]) == (&json!("signed-here"), &json!("external-signer")),
        "{listed}"
    );
    for _ in 0..1000 {
        let log = fs::read_to_string(server.home().join("audit.log"))?;
        if let Some(line) = log.lines().find(|line| line.contains("signed-here")) {
            let line: Value = serde_json::from_str(line)?;
            ensure!(
                (&line["action"], &line["user"]) == (&json!("sign"), &json!("external-signer")),
                "{line}"
            );
            return Ok(());
        }
        pause(StdDuration::from_millis(10)).await;
    }
    bail!("no line")
}
