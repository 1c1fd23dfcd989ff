//! A clock that was ahead for a while.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::{Client, Server};

use super::{REVIEW, REVOKE, mint, refused};

const AHEAD: Duration = Duration::days(32);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_what_a_clock_that_was_ahead_has_issued() -> Result<()> {
    for mode in ["full", "revocations"] {
        let ledger = format!("--ledger={mode}");
        let server =
            Server::start(&[&super::ARGS[..], &["--ephemeral", "--test-clock", &ledger]].concat()).await?;
        let client = server.client()?;
        let start = now(&client).await?;
        jump(&client, start + AHEAD).await?;
        let ahead = mint(&client).await?;
        jump(&client, start).await?;

        client.post(REVOKE, Some(ADMIN), &json!({"account": "default/default"})).await?;
        let new = mint(&client).await?;
        accepted(&client, &new).await.context("a new token, at once")?;
        jump(&client, start + AHEAD).await?;
        refused(&client, &ahead).await.with_context(|| format!("{mode}: when its time has come"))?;
        jump(&client, start + Duration::minutes(30)).await?;
        accepted(&client, &new).await.context("and later")?;
        server.stop().await?;
    }
    Ok(())
}

async fn now(client: &Client) -> Result<OffsetDateTime> {
    let clock = client.get("/testing/v1/clock", Some(ADMIN)).await?;
    Ok(OffsetDateTime::parse(clock["now"].as_str().context("no time")?, &Rfc3339)?)
}

async fn jump(client: &Client, to: OffsetDateTime) -> Result<()> {
    let body: Value = json!({"now": to.format(&Rfc3339)?, "jump": true});
    let headers = [("content-type", "application/json")];
    let body = serde_json::to_vec(&body)?.into();
    client.send("PUT", "/testing/v1/clock", Some(ADMIN), &headers, Some(body)).await?.success()?;
    Ok(())
}

async fn accepted(client: &Client, token: &str) -> Result<()> {
    let review = client.post(REVIEW, Some(ADMIN), &json!({"spec": {"token": token}})).await?;
    ensure!(review["status"]["authenticated"] == true, "{review}");
    Ok(())
}
