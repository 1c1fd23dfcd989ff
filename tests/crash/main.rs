//! `kill -9` under load: what was acknowledged is there, what was minted verifies, revisions go on upwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};
use tokio::sync::Mutex;

/// How often the server is killed.
const ROUNDS: u64 = 50;
/// Concurrent clients: half of them create objects, half of them ask for tokens.
const CLIENTS: usize = 200;

/// What the server has acknowledged.
#[derive(Default)]
struct Acknowledged {
    objects: Vec<(String, u64)>,
    tokens: Vec<String>,
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_fifty_times() -> Result<()> {
    // One issuer whatever the port, and ES256: the point is the disk, not the CPU.
    let args = ["--service-account-issuer=https://crash.example", "--signing-algorithm=ES256"];
    let mut server = Server::start(&args).await?;
    let (mut highest, mut total) = (0, 0);
    for round in 0..ROUNDS {
        let client = server.client()?;
        let seen = load_until_killed(&mut server, &client, round).await?;
        server = server.kill_and_restart(&args).await?;
        let client = server.client()?;
        highest = check(&client, &seen, highest).await.with_context(|| format!("round {round}"))?;
        total += seen.objects.len() + seen.tokens.len();
    }
    println!("{ROUNDS} kills, {total} acknowledged answers, all there; the last revision is {highest}");
    ensure!(total > ROUNDS as usize * 10, "the load was too small to show anything: {total}");
    Ok(())
}

/// Also while it is made, and a revocation after that: whatever a kill leaves, the next start works and knows it.
#[tokio::test]
async fn killed_at_each_moment_of_a_write() -> Result<()> {
    let args = ["--service-account-issuer=https://crash.example", "--signing-algorithm=ES256"];
    for (n, moment) in
        ["before-batch", "after-batch", "after-flush", "half-anchor", "after-anchor"].iter().enumerate()
    {
        let dir = tempfile::tempdir()?;
        let at = format!("{moment}:{}", n + 1);
        match Server::start_in(dir.path(), &args, &[("TOKENSMITH_KILL_AT", &at)]).await {
            Err(e) if format!("{e:#}").contains("signal: 9 (SIGKILL)") => {}
            Err(e) => return Err(e.context(at)),
            Ok(_) => {
                anyhow::bail!("{at}: it was not killed: has this binary fail points (debug assertions)?")
            }
        }
        let server = Server::start_in(dir.path(), &args, &[]).await.with_context(|| format!("after {at}"))?;
        let client = server.client()?;
        let reply = client.post(TOKEN, Some(ADMIN), &json!({})).await?;
        let token = reply["status"]["token"].as_str().context("no token")?.to_owned();
        let seen = Acknowledged { tokens: vec![token], ..Acknowledged::default() };
        check(&client, &seen, 0).await.with_context(|| format!("after {at}"))?;
        server.stop().await?;
    }
    Ok(())
}

async fn load_until_killed(server: &mut Server, client: &Client, round: u64) -> Result<Acknowledged> {
    let seen = Arc::new(Mutex::new(Acknowledged::default()));
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..CLIENTS)
        .map(|worker| {
            let (client, seen, count, stop) = (client.clone(), seen.clone(), count.clone(), stop.clone());
            tokio::spawn(async move {
                let mut i = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    i += 1;
                    let name = format!("r{round}-w{worker}-{i}");
                    let acknowledged = if worker % 2 == 0 {
                        let body = json!({"metadata": {"name": name}, "data": {"k": "v"}});
                        client
                            .post(CONFIG_MAPS, Some(ADMIN), &body)
                            .await
                            .ok()
                            .and_then(|o| revision(&o))
                            .map(|r| (name, r))
                    } else {
                        let reply = client.post(TOKEN, Some(ADMIN), &json!({})).await.ok();
                        reply.and_then(|r| r["status"]["token"].as_str().map(|t| (t.to_owned(), 0)))
                    };
                    // An answer that did not arrive whole was not acknowledged; the server is gone then.
                    let Some((text, revision)) = acknowledged else { break };
                    let mut seen = seen.lock().await;
                    if worker % 2 == 0 {
                        seen.objects.push((text, revision))
                    } else {
                        seen.tokens.push(text)
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Each round is killed at another point of its load.
    let enough = 40 + round * 7 % 160;
    for _ in 0..2000 {
        if count.load(Ordering::Relaxed) >= enough {
            break;
        }
        pause(Duration::from_millis(5)).await;
    }
    server.kill()?;
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await?;
    }
    Arc::into_inner(seen).map(Mutex::into_inner).context("a worker is still there")
}

/// Every acknowledged answer still holds; gives the highest revision seen.
async fn check(client: &Client, seen: &Acknowledged, before: u64) -> Result<u64> {
    let all = client.get(CONFIG_MAPS, Some(ADMIN)).await?;
    let items = all["items"].as_array().context("no items")?;
    let there: std::collections::HashMap<&str, u64> =
        items.iter().filter_map(|o| Some((o["metadata"]["name"].as_str()?, revision(o)?))).collect();
    let mut highest = before;
    for (name, revision) in &seen.objects {
        ensure!(
            there.get(name.as_str()) == Some(revision),
            "{name} was acknowledged at {revision}, found {:?}",
            there.get(name.as_str())
        );
        ensure!(*revision > before, "revision {revision} of {name} is not above {before}");
        highest = highest.max(*revision);
    }
    for token in &seen.tokens {
        let body = json!({"spec": {"token": token}});
        let reply = client.post("/apis/authentication.k8s.io/v1/tokenreviews", Some(ADMIN), &body).await?;
        ensure!(reply["status"]["authenticated"] == true, "{}", reply["status"]);
    }
    let listed = revision(&all).context("no revision")?;
    ensure!(listed >= highest, "the list is at {listed}, an object at {highest}");
    Ok(highest.max(there.values().copied().max().unwrap_or(0)))
}

fn revision(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}
