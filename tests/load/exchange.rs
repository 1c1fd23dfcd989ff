//! Exchanges beside TokenRequests, in one run against one server: how many a second, and how long 99 of 100 take at most. Then
//! keys rotate under exchanges, of which none may be refused.
//!
//! An exchange verifies the token that is given, asks the policy and signs another one; a TokenRequest authenticates its caller and signs.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::json;
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};

use crate::{TOKEN, now};

const ENDPOINT: &str = "/oauth2/token";
const POLICY: &str = "
serviceAccounts: {audiences: [exchange]}
rules:
- name: load
  from: {serviceAccount: {namespace: default, name: default}, conditions: [\"claims.sub.startsWith('system:serviceaccount:default:')\"]}
  audiences: [https://api.example.com]
  scopes: [read, write]
  claims: {team: \"'payments'\"}
";
/// Rounds, since the machine's speed drifts; the median counts.
const ROUNDS: usize = 3;
const ROTATIONS: usize = 5;

/// What is asked again and again.
#[derive(Clone)]
struct Ask {
    path: &'static str,
    token: Option<&'static str>,
    media: &'static str,
    body: Bytes,
    status: u16,
}

/// Answers a second, and the longest that 99 of 100 took.
#[derive(Clone, Copy)]
struct Pace {
    rate: f64,
    p99: Duration,
}

/// Both, in turn, for the algorithms that Kubernetes' clusters have.
pub async fn run(seconds: u64, connections: usize) -> Result<()> {
    let time = Duration::from_secs(seconds);
    println!(
        "{connections} connections, {seconds} s each, {ROUNDS} rounds in turn; client and server share the cores"
    );
    println!(
        "{:<8}{:>12}{:>10}{:>14}{:>10}{:>8}",
        "", "requests/s", "p99 ms", "exchanges/s", "p99 ms", "ratio"
    );
    for algorithm in ["RS256", "ES256"] {
        let folder = tempfile::tempdir()?;
        let policy = folder.path().join("policy.yaml");
        fs::write(&policy, POLICY)?;
        let flags = [
            format!("--signing-algorithm={algorithm}"),
            format!("--exchange-policy-file={}", policy.display()),
        ];
        let server = Server::start(&flags.each_ref().map(String::as_str)).await?;
        let (request, exchange) = (request(), exchange(&server).await?);
        let (mut requests, mut exchanges) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            requests.push(pace(&server, &request, connections, time).await?);
            exchanges.push(pace(&server, &exchange, connections, time).await?);
        }
        let (requests, exchanges) = (median(requests), median(exchanges));
        println!(
            "{algorithm:<8}{:>12.0}{:>10.2}{:>14.0}{:>10.2}{:>8.2}",
            requests.rate,
            ms(requests.p99),
            exchanges.rate,
            ms(exchanges.p99),
            exchanges.rate / requests.rate
        );
        let (paced, keys) = rotating(&server, &exchange, connections).await?;
        println!(
            "{algorithm:<8}{ROTATIONS} rotations under it, tokens of {keys} keys: {:.0} exchanges/s, p99 {:.2} ms, none refused",
            paced.rate,
            ms(paced.p99)
        );
        server.stop().await?;
    }
    Ok(())
}

fn request() -> Ask {
    let body = Bytes::from_static(b"{}");
    Ask { path: TOKEN, token: Some(ADMIN), media: "application/json", body, status: 201 }
}

/// The exchange of one token of an account, as a client asks for it.
async fn exchange(server: &Server) -> Result<Ask> {
    let spec = json!({"spec": {"audiences": ["exchange"], "expirationSeconds": 86_400}});
    let minted = server.client()?.post(TOKEN, Some(ADMIN), &spec).await?;
    let subject = minted["status"]["token"].as_str().context("no token")?;
    let mut body = String::new();
    for (name, value) in [
        ("grant_type", "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange"),
        ("subject_token_type", "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt"),
        ("subject_token", subject),
        ("audience", "https%3A%2F%2Fapi.example.com"),
        ("scope", "read"),
    ] {
        write!(body, "{name}={value}&")?;
    }
    let body = body.trim_end_matches('&').to_owned().into();
    let media = "application/x-www-form-urlencoded";
    Ok(Ask { path: ENDPOINT, token: None, media, body, status: 200 })
}

/// As fast as the answers come; every answer must be what is wanted.
async fn pace(server: &Server, ask: &Ask, connections: usize, time: Duration) -> Result<Pace> {
    let stop = Arc::new(AtomicBool::new(false));
    let workers = workers(server, ask, connections, &stop)?;
    // The first answers pay for the connections.
    pause(Duration::from_millis(500)).await;
    let from = now();
    pause(time).await;
    stop.store(true, Ordering::Relaxed);
    let until = now();
    let mut took = Vec::new();
    for worker in workers {
        let answers = worker.await??;
        took.extend(answers.into_iter().filter(|(at, _)| (from..until).contains(at)).map(|(_, took)| took));
    }
    Ok(Pace { rate: took.len() as f64 / (until - from).as_secs_f64(), p99: p99(&mut took)? })
}

type Worker = tokio::task::JoinHandle<Result<Vec<(std::time::Instant, Duration)>>>;

fn workers(server: &Server, ask: &Ask, connections: usize, stop: &Arc<AtomicBool>) -> Result<Vec<Worker>> {
    let each = |_| {
        let (client, ask, stop) = (server.client()?, ask.clone(), stop.clone());
        Ok(tokio::spawn(async move {
            let mut all = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let at = now();
                let headers = [("content-type", ask.media)];
                let answer =
                    client.send("POST", ask.path, ask.token, &headers, Some(ask.body.clone())).await?;
                ensure!(answer.status == ask.status, "{}: {:?}", answer.status, answer.body);
                all.push((at, at.elapsed()));
            }
            Ok(all)
        }))
    };
    (0..connections).map(each).collect()
}

/// Exchanges while another key begins to sign, again and again; gives how many keys have signed.
async fn rotating(server: &Server, ask: &Ask, connections: usize) -> Result<(Pace, usize)> {
    let (admin, stop) = (server.client()?, Arc::new(AtomicBool::new(false)));
    let (from, workers) = (now(), workers(server, ask, connections, &stop)?);
    let mut keys = std::collections::BTreeSet::new();
    for _ in 0..ROTATIONS {
        spare(&admin).await?;
        pause(Duration::from_secs(1)).await;
        let body = json!({"force": true, "reason": "a rotation under load"});
        let answer = admin.post("/admin/v1/keys/rotate", Some(ADMIN), &body).await?;
        ensure!(answer["key"]["phase"] == "active", "nothing was rotated: {answer}");
        keys.insert(answer["key"]["id"].as_str().context("no id")?.to_owned());
    }
    pause(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for worker in workers {
        took.extend(worker.await??.into_iter().map(|(_, took)| took));
    }
    ensure!(keys.len() == ROTATIONS, "{} keys have signed after {ROTATIONS} rotations", keys.len());
    Ok((
        Pace { rate: took.len() as f64 / from.elapsed().as_secs_f64(), p99: p99(&mut took)? },
        keys.len() + 1,
    ))
}

/// Until a published key stands by, which a rotation has sign.
async fn spare(admin: &Client) -> Result<()> {
    for _ in 0..300 {
        let all = admin.get("/admin/v1/keys", Some(ADMIN)).await?;
        let keys = all["keys"].as_array().context("no keys")?;
        if keys.iter().any(|key| key["phase"] == "prepared") {
            return Ok(());
        }
        pause(Duration::from_millis(100)).await;
    }
    bail!("no spare in 30 s")
}

fn p99(took: &mut [Duration]) -> Result<Duration> {
    took.sort();
    let at = (took.len() * 99).div_ceil(100).checked_sub(1).context("nothing was answered")?;
    took.get(at).copied().context("nothing was answered")
}

fn median(mut paces: Vec<Pace>) -> Pace {
    paces.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    paces[paces.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
