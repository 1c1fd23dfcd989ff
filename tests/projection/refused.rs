//! Tokens that die before their time, on a real server: they are replaced within seconds, and `project status` says how
//! they stand.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::{Agent, Client, Server};

use super::{Root, claims, eventually, pod, project, read, review, token_source, write};

struct Scene {
    server: Server,
    client: Client,
    root: Root,
    agent: Agent,
}

impl Scene {
    async fn new() -> Result<Scene> {
        let server = Server::start(&["--signing-algorithm=ES256"]).await?;
        let root = Root::new()?;
        let file = write(root.0.path(), &pod("a", json!([token_source(3600)])))?;
        let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag()]).await?;
        Ok(Scene { client: server.client()?, server, root, agent })
    }

    fn token(&self) -> Option<String> {
        read(&self.root.file("a", "tokens", "token"))
    }

    /// The token's line of `project status`, and the exit code.
    async fn status(&self) -> Result<(Value, Option<i32>)> {
        let output = project(&self.server, &["status", &self.root.flag(), "--output=json"]).await?;
        let status: Value = serde_json::from_slice(&output.stdout)?;
        Ok((status["pods"][0]["volumes"][0]["tokens"][0].clone(), output.status.code()))
    }

    async fn becomes(&self, condition: &str) -> Result<()> {
        eventually(condition, async || {
            self.status().await.ok().filter(|(token, _)| token["condition"] == condition)
        })
        .await?;
        Ok(())
    }

    /// Waits for a token that is another one, and that the server takes.
    async fn another(&self, old: &str) -> Result<()> {
        let new = eventually("another token", async || self.token().filter(|token| token != old)).await?;
        let status = review(&self.client, &new, "vault").await?;
        ensure!(status["authenticated"] == true, "{status}");
        self.becomes("fresh").await?;
        ensure!(!self.agent.log().contains(old) && !self.agent.log().contains(&new), "no log holds a token");
        Ok(())
    }
}

#[tokio::test]
async fn a_revoked_keys_token_is_replaced_within_seconds() -> Result<()> {
    let scene = Scene::new().await?;
    scene.becomes("fresh").await?;
    let old = scene.token().context("no token")?;
    let header = BASE64_URL_SAFE_NO_PAD.decode(old.split('.').next().unwrap_or_default())?;
    let header: Value = serde_json::from_slice(&header)?;
    let kid = header["kid"].as_str().context("no kid")?;
    let command = json!({"force": true, "reason": "stolen"});
    scene.client.post(&format!("/admin/v1/keys/{kid}/revoke"), Some(ADMIN), &command).await?;
    scene.another(&old).await
}

#[tokio::test]
async fn a_revoked_token_is_replaced_within_seconds() -> Result<()> {
    let scene = Scene::new().await?;
    let old = scene.token().context("no token")?;
    let body = json!({"jti": claims(&old)?["jti"]});
    scene.client.post("/admin/v1/tokens/revoke", Some(ADMIN), &body).await?;
    scene.another(&old).await
}

#[tokio::test]
async fn an_agent_that_is_dead_calls_nothing_fresh_for_long() -> Result<()> {
    let scene = Scene::new().await?;
    scene.becomes("fresh").await?;
    let (token, code) = scene.status().await?;
    ensure!(token["checked"].is_string() && code == Some(0), "{token}");
    let Scene { server, root, agent, .. } = scene;
    agent.kill()?;
    std::fs::remove_file(root.path().join(".checks.json"))?;
    let output = project(&server, &["status", &root.flag()]).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.contains("Unchecked") && !text.contains("Fresh"), "{text}");
    Ok(())
}
