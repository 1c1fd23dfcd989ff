//! `tokensmith exchange` and `proxy --exchange`, as processes: a service account's token goes in, another one comes out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokensmith_tests::server::pause;
use tokensmith_tests::token_endpoint::value;
use tokensmith_tests::{Agent, Server, TokenEndpoint, agent};
use tokio::io::AsyncWriteExt;

use super::{echo, get, mint};

const STS: &str = "https://sts.example.com";

struct Scene {
    server: Server,
    endpoint: TokenEndpoint,
    dir: tempfile::TempDir,
    token: String,
}

impl Scene {
    async fn new() -> Result<Scene> {
        let server = Server::start(&[]).await?;
        let token = mint(&server, STS).await?;
        let scene =
            Scene { server, endpoint: TokenEndpoint::start().await?, dir: tempfile::tempdir()?, token };
        scene.write(&scene.token)?;
        Ok(scene)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    fn write(&self, token: &str) -> Result<()> {
        let new = self.dir.path().join("new");
        fs::write(&new, token)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        Ok(fs::rename(new, self.file())?)
    }

    fn flags(&self) -> [String; 3] {
        [
            format!("--token-file={}", self.file().display()),
            format!("--exchange={}", self.endpoint.url()),
            format!("--exchange-ca-file={}", self.endpoint.ca().display()),
        ]
    }

    /// Runs `tokensmith exchange` at the endpoint.
    async fn exchange(&self, args: &[&str], input: Option<&str>) -> Result<Output> {
        let (url, ca) = (self.endpoint.url(), self.endpoint.ca().display().to_string());
        let place = ["--url", &url, "--endpoint-ca-file", &ca];
        run(&self.server, &[&["exchange"][..], &place, args].concat(), input).await
    }

    async fn sidecar(&self, more: &[&str]) -> Result<Agent> {
        let flags = self.flags();
        let mut args = vec!["proxy", "--listen=127.0.0.1:0"];
        args.extend(flags.iter().map(String::as_str));
        args.extend(more);
        Agent::start(&self.server, &args).await
    }
}

async fn run(server: &Server, args: &[&str], input: Option<&str>) -> Result<Output> {
    let mut command = tokio::process::Command::from(agent::command(server, args)?);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut pipe = child.stdin.take().context("no pipe")?;
    pipe.write_all(input.unwrap_or_default().as_bytes()).await?;
    drop(pipe);
    Ok(child.wait_with_output().await?)
}

fn said(output: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

/// Waits until `what` gives something, at most 40 s: a replaced file is looked for every ten.
async fn eventually<T>(what: &str, mut get: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..400 {
        if let Some(found) = get().await? {
            return Ok(found);
        }
        pause(Duration::from_millis(100)).await;
    }
    anyhow::bail!("never: {what}")
}

#[tokio::test]
async fn the_command_gives_one_token_for_another() -> Result<()> {
    let scene = Scene::new().await?;
    let file = format!("--token-file={}", scene.file().display());
    let (out, err, code) = said(&scene.exchange(&[&file, "--audience=orders", "--scope=read"], None).await?);
    ensure!((out.as_str(), err.as_str(), code) == ("exchanged-orders-1", "", Some(0)), "{out} {err}");
    let asked = scene.endpoint.asked();
    let asked = asked.first().context("nobody asked")?;
    ensure!(value(asked, "subject_token") == Some(&scene.token), "{asked:?}");
    ensure!(value(asked, "scope") == Some("read"), "{asked:?}");

    // From a pipe, by name or without one; with an actor and a client assertion.
    for args in [&[][..], &["--token-file", "-"]] {
        let given = format!("{}\n", scene.token);
        let (out, err, _) = said(&scene.exchange(&[args, &["--output=json"]].concat(), Some(&given)).await?);
        let answer: Value = serde_json::from_str(&out).with_context(|| err)?;
        ensure!(answer["token_type"] == "Bearer" && answer["expires_in"] == 600, "{answer}");
    }
    let more = [&file, "--output=exec-credential", "--actor-token-file=-", "--resource=https://a"];
    let assertion = format!("--client-assertion-file={}", scene.file().display());
    let (out, err, _) = said(&scene.exchange(&[&more[..], &[&assertion]].concat(), Some("actor")).await?);
    let credential: Value = serde_json::from_str(&out).with_context(|| err)?;
    ensure!(credential["kind"] == "ExecCredential", "{credential}");
    ensure!(credential["status"]["token"] == "exchanged--4", "{credential}");
    ensure!(credential["status"]["expirationTimestamp"].is_string(), "{credential}");
    let asked = scene.endpoint.asked();
    let last = asked.last().context("nobody asked")?;
    ensure!(value(last, "actor_token") == Some("actor"), "{last:?}");
    ensure!(value(last, "client_assertion") == Some(&scene.token), "{last:?}");

    // One that is minted first.
    let minted = ["--service-account=default/default", "--service-account-audience=https://sts.example.com"];
    let (out, err, code) = said(&scene.exchange(&minted, None).await?);
    ensure!(code == Some(0) && out == "exchanged--5", "{out} {err}");
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_is_one_line_that_shows_no_token() -> Result<()> {
    let scene = Scene::new().await?;
    let file = format!("--token-file={}", scene.file().display());
    for (status, body, want) in [
        (
            400,
            r#"{"error":"invalid_grant","error_description":"no rule"}"#,
            "the token endpoint refuses (400 invalid_grant): no rule; it does not take the token",
        ),
        (400, r#"{"error":"invalid_target"}"#, "ask for another"),
        (302, "", "it leads elsewhere, which is not followed"),
        (404, "nothing here", "there is no token endpoint at this URL"),
        (503, "", "it is in trouble itself"),
        (200, "<html>", "the token endpoint's answer is not one of RFC 8693: it is no JSON"),
        (200, r#"{"access_token":"a","token_type":"Bearer"}"#, "it has no issued_token_type"),
    ] {
        scene.endpoint.refuse(Some((status, body)));
        let (out, err, code) = said(&scene.exchange(&[&file], None).await?);
        ensure!(code == Some(1) && out.is_empty() && err.contains(want), "{status}: {code:?} {out} {err}");
        ensure!(err.lines().count() == 1 && !err.contains(&scene.token), "{err}");
    }
    // An endpoint that gives the token back.
    let body = format!(r#"{{"error":"invalid_grant","error_description":"bad {}"}}"#, scene.token);
    scene.endpoint.refuse(Some((400, &body)));
    let (_, err, _) = said(&scene.exchange(&[&file], None).await?);
    ensure!(err.contains("invalid_grant") && !err.contains(&scene.token), "{err}");
    scene.endpoint.refuse(None);
    scene.endpoint.asked();

    for (args, input, want) in [
        (&["--audience="][..], "t", "--audience must not be empty"),
        (&["--resource=a"], "t", "--resource must be an absolute URI"),
        (&["--scope=a b"], "t", "--scope must be printable ASCII"),
        (&["--url=http://sts.example.com/t"], "t", "cannot be used multiple times"),
        (&["--requested-token-type=JWT"], "t", "say jwt, access_token"),
        (&["--actor-token-file=-"], "t", "standard input can be read once"),
        (&["--token-file=-", "--client-assertion-file=-"], "t", "standard input can be read once"),
        (&["--service-account=a", "--token-file=b"], "", "cannot be used with"),
    ] {
        let (out, err, code) = said(&scene.exchange(args, Some(input)).await?);
        ensure!(code == Some(2) && out.is_empty() && err.contains(want), "{args:?}: {code:?} {out} {err}");
    }
    for (input, want) in [
        ("", "standard input holds no token: it is empty"),
        ("a b", "there are blanks or line breaks in it"),
        ("a\nb", "there are blanks or line breaks in it"),
    ] {
        let (_, err, code) = said(&scene.exchange(&[], Some(input)).await?);
        ensure!(code == Some(1) && err.contains(want), "{input:?}: {code:?} {err}");
    }
    ensure!(scene.endpoint.asked().is_empty(), "what cannot be asked for is not asked for");
    let plain = ["exchange", "--url=http://sts.example.com/oauth2/token"];
    let (_, err, code) = said(&run(&scene.server, &plain, Some("t")).await?);
    ensure!(code == Some(2) && err.contains("--url is not https"), "{err}");
    let untrusted = ["exchange", "--url", &scene.endpoint.url()];
    let (_, err, code) = said(&run(&scene.server, &untrusted, Some("t")).await?);
    ensure!(code == Some(1) && err.contains("give --endpoint-ca-file"), "{err}");
    ensure!(scene.endpoint.asked().is_empty());
    Ok(())
}

async fn token_of(sidecar: &Agent, path: &str) -> Result<String> {
    let (status, body) = get(sidecar, path, &[]).await?;
    ensure!(status == 200, "{status}: {body}");
    let body: Value = serde_json::from_str(&body)?;
    Ok(body["token"].as_str().context("no token")?.to_owned())
}

#[tokio::test]
async fn a_sidecar_gives_out_and_injects_what_came_and_follows_the_file() -> Result<()> {
    let scene = Scene::new().await?;
    let audiences = ["--exchange-audience=orders", "--exchange-audience=billing"];
    let giving = scene.sidecar(&audiences).await?;
    ensure!(token_of(&giving, "/token").await? == "exchanged-orders-1");
    ensure!(token_of(&giving, "/token?audience=billing").await? == "exchanged-billing-2");
    ensure!(get(&giving, "/token?audience=other", &[]).await?.0 == 403);
    let upstream = echo().await?;
    let putting = scene.sidecar(&["--exchange-audience=orders", "--exchange-scope=read", &upstream]).await?;
    let (status, seen) = get(&putting, "/data", &[("authorization", "Bearer mine")]).await?;
    ensure!(
        status == 200 && seen.contains("authorization: Bearer exchanged-orders-3\r\n"),
        "{status}: {seen}"
    );
    ensure!(!seen.contains("mine") && !seen.contains(&scene.token), "{seen}");

    // Whoever keeps the file has renewed it.
    let renewed = mint(&scene.server, STS).await?;
    scene.endpoint.asked();
    scene.write(&renewed)?;
    let other = async || Ok(Some(token_of(&giving, "/token").await?).filter(|t| t != "exchanged-orders-1"));
    eventually("another token", other).await?;
    let asked = scene.endpoint.asked();
    ensure!(asked.iter().all(|form| value(form, "subject_token") == Some(&renewed)), "{asked:?}");

    for (sidecar, log) in [(&giving, giving.log()), (&putting, putting.log())] {
        ensure!(
            !log.contains(&scene.token) && !log.contains(&renewed) && !log.contains("exchanged-"),
            "{log}"
        );
        ensure!(sidecar.pid() > 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_sidecar_that_is_refused_says_so_where_it_is_asked() -> Result<()> {
    let scene = Scene::new().await?;
    scene.endpoint.refuse(Some((400, r#"{"error":"invalid_target","error_description":"no rule"}"#)));
    let sidecar = scene.sidecar(&["--exchange-audience=orders"]).await?;
    for path in ["/token", "/healthz"] {
        let (status, body) = get(&sidecar, path, &[]).await?;
        ensure!(
            status == 503 && body.contains("(400 invalid_target): no rule; its policy has nothing"),
            "{body}"
        );
    }
    ensure!(sidecar.log().contains("cannot exchange the token"), "{}", sidecar.log());
    let [file, url, _] = scene.flags();
    let untrusting = Agent::start(&scene.server, &["proxy", "--listen=127.0.0.1:0", &file, &url]).await?;
    let (status, body) = get(&untrusting, "/token", &[]).await?;
    ensure!(status == 503 && body.contains("give --exchange-ca-file"), "{body}");
    ensure!(!sidecar.log().contains(&scene.token));
    scene.endpoint.refuse(None);
    eventually("a token", async || Ok(token_of(&sidecar, "/token").await.ok())).await?;
    ensure!(get(&sidecar, "/healthz", &[]).await?.0 == 200);
    Ok(())
}

#[tokio::test]
async fn flags_that_make_no_sense_are_refused() -> Result<()> {
    let scene = Scene::new().await?;
    let [file, url, ca] = scene.flags();
    let ca: &Path = Path::new(ca.strip_prefix("--exchange-ca-file=").context("no path")?);
    let ca = format!("--exchange-ca-file={}", ca.display());
    for (args, want) in [
        (vec!["--exchange=http://sts.example.com/t", &file], "--exchange is not https"),
        (vec!["--exchange-audience=a", &file], "--exchange <URL>"),
        (vec![&url, &ca, &file, "--exchange-audience="], "--exchange-audience must not be empty"),
        (vec![&url, &ca, &file, "--exchange-resource=a"], "--exchange-resource must be an absolute URI"),
        (
            vec![&url, &ca, "--service-account=a", "--audience=a", "--audience=b"],
            "--exchange takes one --audience",
        ),
        (vec![&url, &file, "--insecure-skip-tls-verify"], "give --exchange-ca-file"),
        (
            vec![&url, "--verify", "--issuer=https://a", "--audience=a", "--upstream=http://a"],
            "cannot be used with",
        ),
    ] {
        let output = run(&scene.server, &[&["proxy"][..], &args].concat(), None).await?;
        let (_, err, code) = said(&output);
        ensure!(code == Some(2) && err.contains(want), "{args:?}: {code:?} {err}");
    }
    Ok(())
}

/// Its audience is the endpoint's own: the issuer's URL, or the endpoint's.
#[tokio::test]
async fn the_servers_own_endpoint_is_found_by_the_kubeconfig_and_by_its_metadata() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let policy = dir.path().join("policy.yaml");
    fs::write(
        &policy,
        "rules:\n- name: orders\n  from: {serviceAccount: {namespace: default, name: default}}\n  audiences: [orders]\n  scopes: [read]\n",
    )?;
    let server = Server::start(&[&format!("--exchange-policy-file={}", policy.display())]).await?;
    let given = mint(&server, server.url()).await?;
    let exchange = async |args: &[&str]| -> Result<(String, String, Option<i32>)> {
        Ok(said(&run(&server, &[&["exchange", "--token-file=-"], args].concat(), Some(&given)).await?))
    };
    let (token, err, code) = exchange(&["--audience=orders", "--scope=read"]).await?;
    ensure!(code == Some(0), "{err}");
    let client = server.client()?;
    let review = serde_json::json!({"spec": {"token": token}});
    let answer = client.post(
        "/apis/authentication.k8s.io/v1/tokenreviews",
        Some(tokensmith_tests::server::ADMIN),
        &review,
    );
    let answer = answer.await?;
    ensure!(answer["status"]["authenticated"] != true, "an exchanged token is no account's: {answer}");
    let issuer = format!("--issuer={}", server.url());
    let (token, err, code) =
        exchange(&[&issuer, "--audience=orders", "--requested-token-type=access_token"]).await?;
    ensure!(code == Some(0) && token.split('.').count() == 3, "{err}");
    let minted = ["exchange", "--service-account=default/default", "--audience=orders"];
    let audience = format!("--service-account-audience={}", server.url());
    let (out, err, code) = said(&run(&server, &[&minted[..], &[&audience]].concat(), None).await?);
    ensure!(code == Some(0) && !out.is_empty(), "{err}");

    let (out, err, code) = exchange(&["--audience=billing"]).await?;
    ensure!(code == Some(1) && out.is_empty(), "{code:?} {out}");
    ensure!(err.contains("the token endpoint refuses (400 invalid_") && !err.contains(&given), "{err}");
    // One for another audience is not the endpoint's to take.
    let (_, err, code) =
        said(&run(&server, &[&minted[..], &["--service-account-audience=elsewhere"]].concat(), None).await?);
    ensure!(code == Some(1) && err.contains("tokensmith token inspect"), "{err}");

    // The sidecar, at the same endpoint, whose CA is the kubeconfig's.
    let file = dir.path().join("token");
    tokensmith_tests::server::write_secret(&file, given.as_bytes())?;
    let (file, url) =
        (format!("--token-file={}", file.display()), format!("--exchange={}/oauth2/token", server.url()));
    let sidecar = ["proxy", "--listen=127.0.0.1:0", &file, &url, "--exchange-audience=orders"];
    let sidecar = Agent::start(&server, &sidecar).await?;
    ensure!(token_of(&sidecar, "/token").await?.split('.').count() == 3);
    // Without the policy there is no endpoint, and that is said.
    let server = Server::start(&[]).await?;
    let (_, err, code) = said(&run(&server, &["exchange", "--token-file=-"], Some("t")).await?);
    ensure!(code == Some(1) && err.contains("--exchange-policy-file"), "{err}");
    Ok(())
}
