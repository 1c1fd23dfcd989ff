//! Each task that runs on is made to panic, in a real server: the others go on, it comes back, readiness and metrics tell.
//! [`Task::ALL`] is the list, so that a new task cannot be forgotten.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use serde_json::json;
use tokensmith_core::supervise::Task;
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};

/// Whether a task panics from its first turn on, because the next one is half a minute away or more. Others are needed for
/// the server to become ready.
fn from_the_start(task: Task) -> bool {
    matches!(task, Task::Ledger | Task::SigningKeys)
}

/// A service that knows nobody.
const STS: &str = "issuers: []\naws: {oidcProviders: [], roles: []}\n";

/// At most so many servers at a time.
const AT_ONCE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_that_panics_comes_back_and_the_others_go_on() -> Result<()> {
    let each = stream::iter(Task::ALL)
        .map(|task| async move { survives(task).await.with_context(|| format!("the task {task}")) });
    let done: Vec<Result<()>> = each.buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> =
        done.into_iter().filter_map(|done| Some(format!("{:#}", done.err()?))).collect();
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

async fn survives(task: Task) -> Result<()> {
    let home = tempfile::tempdir()?;
    let panics = home.path().join("panics");
    let text = if from_the_start(task) { task.name() } else { "" };
    std::fs::write(&panics, text)?;
    let socket = format!("--external-signer-socket={}", home.path().join("signer.sock").display());
    let config = home.path().join("sts.yaml");
    std::fs::write(&config, STS)?;
    let config = format!("--sts-config={}", config.display());
    let args = ["--signing-algorithm=ES256", &socket, "--sts=aws", &config, "--sts-port=0"];
    let server =
        Server::start_in(home.path(), &args, &[("TOKENSMITH_PANIC_WHILE", &panics.display().to_string())])
            .await?;
    let client = server.client_http2()?;
    // On a connection that is there already: while the listener is down, nobody gets another.
    all_goes_on(&client, "before").await?;
    std::fs::write(&panics, task.name())?;
    until("it panics, and readiness tells", async || {
        poke(task, &server, &client).await?;
        let ready = client.send("GET", "/readyz?verbose", Some(ADMIN), &[], None).await?;
        let named = format!("[-]{} failed", task.check());
        Ok(ready.status == 500 && String::from_utf8_lossy(&ready.body).contains(&named))
    })
    .await?;
    // While it is down.
    others_go_on(task, &client).await?;
    std::fs::write(&panics, "")?;
    until("it comes back", async || {
        poke(task, &server, &client).await?;
        let ready = client.send("GET", "/readyz", Some(ADMIN), &[], None).await?;
        Ok(ready.status == 200)
    })
    .await?;
    ensure!(count(&client, "panics", task).await? > 0, "no panic is counted");
    ensure!(server.log().contains("a task has panicked"), "the log tells nothing");
    all_goes_on(&client, "after").await?;
    server.stop().await
}

/// Has the task take a turn.
async fn poke(task: Task, server: &Server, client: &Client) -> Result<()> {
    match task {
        Task::Certificates => {
            Command::new("kill").args(["-HUP", &server.pid().to_string()]).status()?;
        }
        // A token is a line of the audit log, a record of the ledger, and a write of the ring the first time.
        Task::AuditWriter | Task::LedgerWriter => drop(mint(client).await),
        // Nobody is answered until it is written, or until the view shows it.
        Task::Controllers | Task::Objects | Task::StoreWriter => {
            let body = json!({"metadata": {"generateName": "poke-"}});
            let write = client.post("/api/v1/namespaces/default/configmaps", Some(ADMIN), &body);
            let _ = tokio::time::timeout(Duration::from_millis(200), write).await;
        }
        Task::Listener => drop(TcpStream::connect(server.url().trim_start_matches("https://"))?),
        // It says where it listens in its banner alone.
        Task::Sts => {
            let log = server.log();
            let url =
                log.lines().find_map(|line| line.strip_prefix("sts         https://")).context("no STS")?;
            drop(TcpStream::connect(url.split(' ').next().unwrap_or_default())?);
        }
        Task::Signer => drop(UnixStream::connect(server.home().join("signer.sock"))?),
        Task::ClockWatch | Task::Ledger | Task::SigningKeys => {}
    }
    Ok(())
}

/// What does not need the task works without it.
async fn others_go_on(task: Task, client: &Client) -> Result<()> {
    client.get("/api/v1/namespaces", Some(ADMIN)).await?;
    if !matches!(task, Task::StoreWriter) {
        let token = mint(client).await?;
        ensure!(review(client, &token).await?, "a token is refused");
    }
    Ok(())
}

/// All tasks do their work: an object is written and shows, its controller follows, a token is minted and revoked.
async fn all_goes_on(client: &Client, name: &str) -> Result<()> {
    client.post("/api/v1/namespaces", Some(ADMIN), &json!({"metadata": {"name": name}})).await?;
    until("the controllers follow", async || {
        let path = format!("/api/v1/namespaces/{name}/configmaps/kube-root-ca.crt");
        Ok(client.send("GET", &path, Some(ADMIN), &[], None).await?.status == 200)
    })
    .await?;
    let token = mint(client).await?;
    ensure!(review(client, &token).await?, "a new token is refused");
    let revocation = json!({"token": token, "reason": "a test's"});
    client.post("/admin/v1/tokens/revoke", Some(ADMIN), &revocation).await?;
    ensure!(!review(client, &token).await?, "a revoked token is taken");
    Ok(())
}

async fn mint(client: &Client) -> Result<String> {
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let answer = client.post(path, Some(ADMIN), &json!({})).await?;
    Ok(answer["status"]["token"].as_str().context("no token")?.to_owned())
}

async fn review(client: &Client, token: &str) -> Result<bool> {
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer = client.post(path, Some(ADMIN), &json!({"spec": {"token": token}})).await?;
    Ok(answer["status"]["authenticated"] == true)
}

async fn count(client: &Client, what: &str, task: Task) -> Result<u64> {
    let answer = client.send("GET", "/metrics", Some(ADMIN), &[], None).await?;
    let text = String::from_utf8(answer.body.to_vec())?;
    let name = format!("tokensmith_task_{what}_total{{task=\"{task}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    Ok(line.with_context(|| format!("no {name}"))?.parse()?)
}

async fn until(what: &str, condition: impl AsyncFn() -> Result<bool>) -> Result<()> {
    for _ in 0..600 {
        if condition().await? {
            return Ok(());
        }
        pause(Duration::from_millis(50)).await;
    }
    anyhow::bail!("never: {what}")
}
