//! `tokensmith proxy` with a real issuer: tokens given out, and requests let in.

mod exchange;
mod modes;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Agent, Client, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TOKENS: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const AUDIENCE: &str = "https://api.example.com";

/// An upstream that answers with the head of the request that it got; gives its URL.
async fn echo() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("--upstream=http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut head, mut buffer) = (Vec::new(), [0; 8192]);
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(got @ 1..) = stream.read(&mut buffer).await else { return };
                    head.extend_from_slice(&buffer[..got]);
                }
                let length = head.len();
                let reply =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(&[reply.as_bytes(), &head].concat()).await;
            });
        }
    });
    Ok(url)
}

/// A sidecar that lets in this issuer's tokens.
async fn reverse(server: &Server, more: &[&str]) -> Result<Agent> {
    let (issuer, audience) = (format!("--issuer={}", server.url()), format!("--audience={AUDIENCE}"));
    let upstream = echo().await?;
    let mut args = vec!["proxy", "--verify", &issuer, &audience, &upstream, "--listen=127.0.0.1:0"];
    args.extend(more);
    Agent::start(server, &args).await
}

async fn mint(server: &Server, audience: &str) -> Result<String> {
    let body = json!({"spec": {"audiences": [audience]}});
    let reply = server.client()?.post(TOKENS, Some(ADMIN), &body).await?;
    Ok(reply["status"]["token"].as_str().context("no token")?.to_owned())
}

/// Status and body.
async fn get(agent: &Agent, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    // Without TLS there is no CA to trust.
    let client = Client::new(&format!("http://{}", agent.address()), b"")?;
    let answer = client.send("GET", path, None, headers, None).await?;
    Ok((answer.status, String::from_utf8(answer.body.to_vec())?))
}

async fn with_token(agent: &Agent, token: &str) -> Result<(u16, String)> {
    get(agent, "/data", &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn only_valid_tokens_come_in() -> Result<()> {
    let server = Server::start(&["--anonymous-oidc"]).await?;
    let agent = reverse(&server, &[]).await?;
    let token = mint(&server, AUDIENCE).await?;
    let bearer = format!("Bearer {token}");
    let spoofed = [
        ("authorization", bearer.as_str()),
        ("x-remote-user", "admin"),
        ("X-Remote-Group", "system:masters"),
        ("x_remote_user", "admin"),
        ("x-remote-extra-scope", "all"),
    ];
    let (status, seen) = get(&agent, "/data", &spoofed).await?;
    ensure!(status == 200, "{status}: {seen}");
    let lines: Vec<&str> = seen.lines().collect();
    ensure!(lines.contains(&"x-remote-user: system:serviceaccount:default:default"), "{seen}");
    ensure!(lines.contains(&"x-remote-group: system:serviceaccounts:default"), "{seen}");
    for nowhere in ["admin", "system:masters", "scope", "authorization", &token] {
        ensure!(!seen.contains(nowhere), "{nowhere}: {seen}");
    }
    let other = mint(&server, "https://other.example.com").await?;
    let mut forged = token.clone();
    forged.replace_range(token.len() - 8..token.len() - 4, "AAAA");
    for (bad, why) in [(other, "audience"), (forged, "cryptographic primitive"), ("x.y.z".into(), "")] {
        let (status, body) = with_token(&agent, &bad).await?;
        ensure!(status == 401 && body.contains(why) && !body.contains(&bad), "{status}: {body}");
    }
    ensure!(get(&agent, "/data", &[]).await?.0 == 401);
    ensure!(agent.stop().await?.success());

    let agent = reverse(&server, &["--allow-subject=system:serviceaccount:payments:*"]).await?;
    let (status, body) = with_token(&agent, &token).await?;
    ensure!(status == 403, "{status}: {body}");
    ensure!(!agent.log().contains(&token), "no log holds a token");
    Ok(())
}

#[tokio::test]
async fn a_review_hears_of_revocations() -> Result<()> {
    let server = Server::start(&["--anonymous-oidc"]).await?;
    let offline = reverse(&server, &[]).await?;
    let asking = reverse(&server, &["--token-review", "--review-cache=1s"]).await?;
    let token = mint(&server, AUDIENCE).await?;
    for agent in [&offline, &asking] {
        ensure!(with_token(agent, &token).await?.0 == 200);
    }
    let revoke = json!({"account": "default/default", "reason": "test"});
    let answer = server.client()?.post_any("/admin/v1/tokens/revoke", Some(ADMIN), &revoke).await?;
    ensure!(answer.status < 300, "{answer:?}");
    let mut status = 200;
    for _ in 0..200 {
        status = with_token(&asking, &token).await?.0;
        if status == 401 {
            break;
        }
        pause(std::time::Duration::from_millis(50)).await;
    }
    ensure!(status == 401, "the API server knows: {status}");
    ensure!(with_token(&offline, &token).await?.0 == 200, "the token itself does not");
    Ok(())
}

/// It knows a revoked key until it fetches; a token with a `kid` that nobody knows makes it, and opens nothing.
#[tokio::test]
async fn a_poke_opens_nothing_and_makes_it_fetch() -> Result<()> {
    // An unknown `kid` may make it ask every other second then, instead of every ten.
    let server = Server::start(&["--anonymous-oidc", "--key-set-max-age=2s", "--key-replica-lag=1s"]).await?;
    let (agent, client) = (reverse(&server, &[]).await?, server.client()?);
    let stolen = mint(&server, AUDIENCE).await?;
    ensure!(with_token(&agent, &stolen).await?.0 == 200);
    let keys = client.get("/admin/v1/keys", Some(ADMIN)).await?;
    let keys = keys["keys"].as_array().context("no keys")?;
    let active = keys.iter().find(|k| k["phase"] == "active").context("no key signs")?;
    let path = format!("/admin/v1/keys/{}/revoke", active["id"].as_str().context("no id")?);
    client.post(&path, Some(ADMIN), &json!({"force": true, "reason": "stolen"})).await?;
    let mut status = 200;
    for _ in 0..200 {
        let told = client.post("/admin/v1/keys/poke", Some(ADMIN), &json!({"audience": AUDIENCE})).await?;
        let poke = told["token"].as_str().context("no token")?;
        ensure!(with_token(&agent, poke).await?.0 == 401, "it opens something");
        status = with_token(&agent, &stolen).await?.0;
        if status == 401 {
            break;
        }
        pause(std::time::Duration::from_millis(50)).await;
    }
    ensure!(status == 401, "it does not follow: {status}");
    ensure!(with_token(&agent, &mint(&server, AUDIENCE).await?).await?.0 == 200);
    Ok(())
}

#[tokio::test]
async fn an_issuer_that_is_away_is_waited_for() -> Result<()> {
    let mut server = Server::start(&["--anonymous-oidc"]).await?;
    let token = mint(&server, AUDIENCE).await?;
    let warm = reverse(&server, &[]).await?;
    ensure!(with_token(&warm, &token).await?.0 == 200);
    server.kill()?;
    ensure!(with_token(&warm, &token).await?.0 == 200, "the keys are known");
    let cold = reverse(&server, &[]).await?;
    let (status, body) = with_token(&cold, &token).await?;
    ensure!(status == 503, "{status}: {body}");
    let server = server.kill_and_restart(&["--anonymous-oidc"]).await?;
    let mut status = 503;
    for _ in 0..400 {
        status = with_token(&cold, &token).await?.0;
        if status == 200 {
            break;
        }
        pause(std::time::Duration::from_millis(50)).await;
    }
    ensure!(status == 200, "it came back: {status}");
    drop(server);
    Ok(())
}

#[tokio::test]
async fn tokens_of_an_account_by_audience() -> Result<()> {
    let server = Server::start(&[]).await?;
    let args = ["proxy", "--service-account=default/default", "--max-audiences=2", "--listen=127.0.0.1:0"];
    let agent = Agent::start(&server, &args).await?;
    let token = async |query: &str| {
        let (status, body) = get(&agent, &format!("/token{query}"), &[]).await?;
        anyhow::Ok((status, serde_json::from_str::<Value>(&body)?))
    };
    let (status, first) = token("?audience=vault").await?;
    ensure!(status == 200 && first["expirationTimestamp"].is_string(), "{first}");
    let review = json!({"spec": {"token": first["token"], "audiences": ["vault"]}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let reviewed = server.client()?.post(path, Some(ADMIN), &review).await?;
    ensure!(reviewed["status"]["authenticated"] == true, "{reviewed}");
    ensure!(token("?audience=vault").await?.1 == first, "from memory");
    ensure!(token("").await?.0 == 200, "the API server's own");
    let (status, body) = token("?audience=third").await?;
    ensure!(status != 200 && body["kind"] == "Status", "{status}: {body}");
    let plain = get(&agent, "/token?audience=vault", &[("accept", "text/plain")]).await?;
    ensure!(plain == (200, first["token"].as_str().unwrap_or_default().to_owned()));
    for (name, value) in
        [("origin", "https://evil.example"), ("sec-fetch-site", "none"), ("host", "evil.example")]
    {
        ensure!(get(&agent, "/token", &[(name, value)]).await?.0 == 403, "{name}");
    }
    ensure!(agent.stop().await?.success());
    Ok(())
}
