//! An application that reads an exchanged token from a file of its volume.

use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::token_endpoint::value;
use tokensmith_tests::{Agent, Server, TokenEndpoint};

use super::{PODS, Root, claims, done, eventually, pod, project, read, write};

fn exchanging(name: &str, annotation: &Value) -> Value {
    let source = json!({"serviceAccountToken": {
        "audience": "https://sts.example.com", "expirationSeconds": 3600, "path": "token"}});
    let mut pod = pod(name, json!([source]));
    pod["metadata"]["annotations"] = json!({"tokensmith.dev/exchange": annotation.to_string()});
    pod
}

fn flags(endpoint: &TokenEndpoint) -> [String; 2] {
    [format!("--exchange={}", endpoint.url()), format!("--exchange-ca-file={}", endpoint.ca().display())]
}

#[tokio::test]
async fn an_application_reads_it_beside_its_own_token() -> Result<()> {
    let (server, endpoint, root) = (Server::start(&[]).await?, TokenEndpoint::start().await?, Root::new()?);
    let wanted = json!([{"volume": "tokens", "from": "token", "path": "orders/token", "audience": "orders", "scope": "read"}]);
    let file = write(root.0.path(), &exchanging("a", &wanted))?;
    let [url, ca] = flags(&endpoint);
    let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag(), &url, &ca]).await?;
    let own = read(&root.file("a", "tokens", "token")).context("no token")?;
    let other =
        read(&root.seen("a", "app", "/var/run/secrets/tokens/orders/token")).context("no other token")?;
    ensure!(other == "exchanged-orders-1", "{other}");
    let asked = endpoint.asked();
    ensure!(asked.len() == 1 && value(&asked[0], "subject_token") == Some(&own), "{asked:?}");
    ensure!(value(&asked[0], "scope") == Some("read"), "{asked:?}");
    ensure!(claims(&own)?["aud"] == json!(["https://sts.example.com"]));
    let mode = std::fs::metadata(root.file("a", "tokens", "orders/token"))?.mode() & 0o777;
    ensure!(mode == 0o644, "{mode:o}");

    let status = done(&server, &["status", &root.flag(), "--output=json"]).await?;
    let status: Value = serde_json::from_str(&status)?;
    let tokens = &status["pods"][0]["volumes"][0]["tokens"];
    ensure!(tokens[0]["exchangedFrom"] == "token" && tokens[0]["audience"] == "orders", "{tokens}");
    eventually("fresh", async || {
        let text = done(&server, &["status", &root.flag()]).await.ok()?;
        (text.matches("Fresh").count() == 2).then_some(())
    })
    .await?;

    // Revoked: both are replaced, and not because somebody has taken the other for an account's.
    let client = server.client()?;
    client.post("/admin/v1/tokens/revoke", Some(ADMIN), &json!({"jti": claims(&own)?["jti"]})).await?;
    eventually("another token", async || read(&root.file("a", "tokens", "token")).filter(|t| *t != own))
        .await?;
    let path = root.file("a", "tokens", "orders/token");
    eventually("another of the other", async || read(&path).filter(|token| *token == "exchanged-orders-2"))
        .await?;
    let log = agent.log();
    ensure!(!log.contains("exchanged-") && !log.contains(&own), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_told_and_an_annotation_is_followed() -> Result<()> {
    let (server, endpoint, root) = (Server::start(&[]).await?, TokenEndpoint::start().await?, Root::new()?);
    let wanted = json!([{"volume": "tokens", "from": "token", "path": "api", "audience": "orders"}]);
    let file = write(root.0.path(), &exchanging("a", &wanted))?;
    let [url, ca] = flags(&endpoint);
    endpoint.refuse(Some((400, r#"{"error":"invalid_target","error_description":"no rule"}"#)));
    let args = [&file, "--ensure", "--once", "--timeout=2s", &root.flag()];
    let output = project(&server, &[&args[..], &[&url, &ca]].concat()).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{error}");
    ensure!(
        error.contains("failed to exchange token: the token endpoint refuses (400 invalid_target): no rule"),
        "{error}"
    );
    ensure!(!root.file("a", "tokens", "token").exists(), "all of a volume, or nothing");
    // No wait mends that: it is told long before the time is over.
    let args_of_a_day = [&file, "--ensure", "--once", "--timeout=24h", &root.flag()];
    let output = project(&server, &args_of_a_day).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && error.contains("was named: give --exchange URL"), "{error}");

    endpoint.refuse(None);
    let text = done(&server, &[&args[..], &[&url, &ca]].concat()).await?;
    ensure!(text.contains("1 volume of 1 pod with 2 tokens"), "{text}");

    // A pod that comes to want something is asked for nothing but that.
    let agent = Agent::start(&server, &["project", "--all", &root.flag(), &url, &ca]).await?;
    let client = server.client()?;
    let annotate = async |annotation: &str| {
        let patch = json!({"metadata": {"annotations": {"tokensmith.dev/exchange": annotation}}});
        let (path, headers) = (format!("{PODS}/a"), [("content-type", "application/merge-patch+json")]);
        let body = patch.to_string().into();
        client.send("PATCH", &path, Some(ADMIN), &headers, Some(body)).await?.success()
    };
    let more = json!([
        {"volume": "tokens", "from": "token", "path": "api", "audience": "orders"},
        {"volume": "tokens", "from": "token", "path": "more", "resource": "https://billing.example.com"},
    ]);
    annotate(&more.to_string()).await?;
    eventually("another file", async || read(&root.file("a", "tokens", "more"))).await?;
    annotate(r#"[{"volume":"tokens","from":"token","path":"../x"}]"#).await?;
    eventually("an alarm", async || {
        Some(()).filter(|()| agent.log().contains("metadata.annotations[tokensmith.dev/exchange][0].path"))
    })
    .await?;
    // What holds is kept.
    ensure!(read(&root.file("a", "tokens", "more")).is_some());
    Ok(())
}

/// Its key is in the issuer's key set, and no API server takes it: neither is a reason to replace it.
#[tokio::test]
async fn a_token_of_the_servers_own_endpoint_is_not_taken_for_a_dead_one() -> Result<()> {
    let root = Root::new()?;
    let policy = root.0.path().join("policy.yaml");
    std::fs::write(
        &policy,
        "serviceAccounts: {audiences: [https://sts.example.com]}\nrules:\n- name: orders\n  from: {serviceAccount: {namespace: default}}\n  audiences: [orders]\n",
    )?;
    let server = Server::start(&[&format!("--exchange-policy-file={}", policy.display())]).await?;
    let wanted = json!([{"volume": "tokens", "from": "token", "path": "api", "audience": "orders"}]);
    let file = write(root.0.path(), &exchanging("a", &wanted))?;
    let url = format!("--exchange={}/oauth2/token", server.url());
    let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag(), &url]).await?;
    let path = root.file("a", "tokens", "api");
    let token = read(&path).context("no token")?;
    ensure!(
        claims(&token)?["aud"] == json!(["orders"]) || claims(&token)?["aud"] == "orders",
        "{:?}",
        claims(&token)?
    );
    // Until the account's own token has been reviewed: it comes round alone.
    eventually("a review", async || {
        let text = done(&server, &["status", &root.flag(), "--output=json"]).await.ok()?;
        let status: Value = serde_json::from_str(&text).ok()?;
        let fresh = |token: &Value| token["condition"] == "fresh";
        let tokens = status["pods"][0]["volumes"][0]["tokens"].as_array()?;
        (tokens.len() == 2 && tokens.iter().all(fresh) && status["checks"]["reviews"]["at"].is_string())
            .then_some(())
    })
    .await?;
    ensure!(read(&path).as_ref() == Some(&token) && !agent.log().contains("refused"), "{}", agent.log());
    Ok(())
}
