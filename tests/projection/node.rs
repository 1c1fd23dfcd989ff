//! As a node: with no more rights than the Node authorizer and NodeRestriction leave a kubelet.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokensmith_tests::server::ADMIN;
use tokensmith_tests::{Agent, Server};

use super::{ACCOUNTS, PODS, Root, claims, pod, read, token_source};

const NODE: &str = "test-only-node-token";

#[tokio::test]
async fn a_virtual_kubelet_has_its_own_pods() -> Result<()> {
    let home = tempfile::tempdir()?;
    let users = home.path().join("users.csv");
    tokensmith_tests::server::write_secret(
        &users,
        format!(
            "{ADMIN},admin,admin-uid,\"system:masters\"\n{NODE},system:node:worker-1,,\"system:nodes\"\n"
        )
        .as_bytes(),
    )?;
    let server = Server::start_in(home.path(), &[], &[]).await?;
    let client = server.client()?;
    client.post("/api/v1/nodes", Some(ADMIN), &json!({"metadata": {"name": "worker-1"}})).await?;
    let map = json!({"metadata": {"name": "ca"}, "data": {"ca.crt": "CA"}});
    client.post("/api/v1/namespaces/default/configmaps", Some(ADMIN), &map).await?;
    for (name, node) in [("mine", "worker-1"), ("other", "worker-2")] {
        client.post(ACCOUNTS, Some(ADMIN), &json!({"metadata": {"name": name}})).await?;
        let mut pod = pod(name, json!([token_source(3600), {"configMap": {"name": "ca"}}]));
        pod["spec"]["nodeName"] = json!(node);
        client.post(PODS, Some(ADMIN), &pod).await?;
    }
    let token = home.path().join("node-token");
    std::fs::File::create(&token)?.write_all(NODE.as_bytes())?;
    let root = Root::new()?;
    let bearer = format!("--bearer-token-file={}", token.display());
    let agent =
        Agent::start(&server, &["project", "--all", "--node=worker-1", &bearer, &root.flag()]).await?;
    let token = read(&root.file("mine", "tokens", "token")).with_context(|| agent.log())?;
    ensure!(claims(&token)?["kubernetes.io"]["node"]["name"] == "worker-1");
    ensure!(read(&root.file("mine", "tokens", "ca.crt")).as_deref() == Some("CA"));
    ensure!(!root.path().join("default/other").exists());
    ensure!(agent.stop().await?.success());
    Ok(())
}
