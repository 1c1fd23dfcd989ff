//! `kill -9` and the ledger: a revocation is never lost, an issue record only if it was made in the last 100 ms.

mod clock;

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};

/// How often the server is killed.
const ROUNDS: usize = 10;
/// Concurrent clients that ask for tokens.
const CLIENTS: usize = 16;
/// Records that are older than this when the process dies are on disk, on a machine that lets the ledger write.
const WINDOW: Duration = Duration::from_millis(100);
/// How long the ledger gathers a group.
const GATHER: Duration = Duration::from_millis(30);

const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const REVOKE: &str = "/admin/v1/tokens/revoke";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const ARGS: [&str; 2] = ["--service-account-issuer=https://ledger.example", "--signing-algorithm=ES256"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_ten_times() -> Result<()> {
    let mut server = Server::start(&ARGS).await?;
    let (mut revoked, mut typical, mut total, mut missing) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..ROUNDS {
        let client = server.client()?;
        let yardstick = Yardstick::start(server.home())?;
        let workers: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(mint_until_killed(client.clone()))).collect();
        pause(Duration::from_millis(300)).await;
        let token = mint(&client).await?;
        client.post(REVOKE, Some(ADMIN), &json!({"jti": jti(&token)?})).await?;
        // The revocation has written the records too: each round is killed later after that.
        pause(Duration::from_millis(round as u64 * 17)).await;
        let killed = now();
        server.kill()?;
        let slowest = yardstick.slowest()?;
        revoked.push(token);
        let mut minted = Vec::new();
        for worker in workers {
            minted.extend(worker.await?);
        }
        server = server.kill_and_restart(&ARGS).await?;
        let client = server.client()?;
        let listed = listed(&client).await?;
        let lost: Vec<_> =
            minted.iter().filter(|(token, _)| !listed.contains(&jti(token).unwrap_or_default())).collect();
        let oldest =
            lost.iter().map(|(_, at)| killed.saturating_duration_since(*at)).max().unwrap_or_default();
        // A group may wait for the write before it, and be killed in its own.
        let allowed = WINDOW.max(GATHER + 3 * slowest);
        println!(
            "round {round}: {} minted, {} records lost, the oldest of {oldest:?}; slowest write beside it {slowest:?}",
            minted.len(),
            lost.len()
        );
        ensure!(oldest <= allowed, "a record was lost {oldest:?} after its token was given away");
        typical.push(oldest);
        total += minted.len();
        missing += lost.len();
        for token in &revoked {
            refused(&client, token).await.with_context(|| format!("round {round}"))?;
        }
    }
    println!("{ROUNDS} kills, {} revocations all there, {missing} of {total} records lost", revoked.len());
    typical.sort();
    ensure!(typical[ROUNDS / 2] <= WINDOW, "records are lost for too long: {typical:?}");
    ensure!(total > ROUNDS * CLIENTS, "the load was too small to show anything: {total}");
    Ok(())
}

/// An account's revocation, over a kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_stays_revoked_and_gets_new_tokens() -> Result<()> {
    let server = Server::start(&ARGS).await?;
    let client = server.client()?;
    let old = mint(&client).await?;
    let answer = client.post(REVOKE, Some(ADMIN), &json!({"account": "default/default"})).await?;
    ensure!(answer["covered"]["tokens"] == 1, "{answer}");
    refused(&client, &old).await?;
    let server = server.kill_and_restart(&ARGS).await?;
    let client = server.client()?;
    refused(&client, &old).await?;
    let new = mint(&client).await?;
    let review = client.post(REVIEW, Some(ADMIN), &json!({"spec": {"token": new}})).await?;
    ensure!(review["status"]["authenticated"] == true, "{review}");
    refused(&client, &old).await
}

/// Writes to the same disk meanwhile: a machine that does not let this through cannot let the ledger through.
struct Yardstick {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Duration>>,
}

impl Yardstick {
    fn start(dir: &Path) -> Result<Self> {
        let mut file = File::create(dir.join("yardstick"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut slowest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let begun = now();
                file.write_all(&[0; 512])?;
                file.sync_data()?;
                slowest = slowest.max(begun.elapsed());
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(slowest)
        });
        Ok(Yardstick { stop, thread })
    }

    fn slowest(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let slowest = self.thread.join().ok().context("the yardstick broke")?;
        Ok(slowest?)
    }
}

async fn mint_until_killed(client: Client) -> Vec<(String, Instant)> {
    let mut minted = Vec::new();
    while let Ok(token) = mint(&client).await {
        minted.push((token, now()));
    }
    minted
}

/// A token; also in the second of a revocation.
async fn mint(client: &Client) -> Result<String> {
    let answer = client.post(TOKEN, Some(ADMIN), &json!({})).await?;
    Ok(answer["status"]["token"].as_str().context("no token")?.to_owned())
}

/// Neither review nor the gate takes the token.
async fn refused(client: &Client, token: &str) -> Result<()> {
    let review = client.post(REVIEW, Some(ADMIN), &json!({"spec": {"token": token}})).await?;
    let want = "[invalid bearer token, service account token has been revoked]";
    ensure!(review["status"]["error"] == want, "{}", review["status"]);
    let bearer = client.send("GET", "/api", Some(token), &[], None).await?;
    ensure!(bearer.status == 401, "{}", bearer.status);
    Ok(())
}

async fn listed(client: &Client) -> Result<HashSet<String>> {
    let (mut all, mut more) = (HashSet::new(), String::new());
    loop {
        let path = format!("/admin/v1/tokens?limit=5000&continue={more}");
        let page = client.get(&path, Some(ADMIN)).await?;
        let tokens = page["tokens"].as_array().context("no tokens")?;
        all.extend(tokens.iter().filter_map(|t| t["jti"].as_str()).map(str::to_owned));
        match page["continue"].as_str() {
            Some(next) => more = next.to_owned(),
            None => return Ok(all),
        }
    }
}

fn jti(token: &str) -> Result<String> {
    let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).context("no payload")?)?;
    let claims: Value = serde_json::from_slice(&payload)?;
    Ok(claims["jti"].as_str().context("no jti")?.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "a real process is killed; its clock is not ours to move")]
fn now() -> Instant {
    Instant::now()
}
