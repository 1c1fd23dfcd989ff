//! A volume's life: refreshed, changed with its objects, alarmed and recovered, resumed, removed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Agent, Server};

use super::{
    ACCOUNTS, PODS, Root, claims, done, eventually, pod, project, read, review, token_source, write,
};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Seconds are enough here, so that a test sees several lives of a token.
const SHORT: &str = "--min-token-expiration=1s";

#[tokio::test]
async fn tokens_are_fresh_and_changes_are_followed() -> Result<()> {
    let server = Server::start(&[SHORT]).await?;
    let client = server.client()?;
    let map = json!({"metadata": {"name": "ca"}, "data": {"ca.crt": "one"}});
    client.post(CONFIGMAPS, Some(ADMIN), &map).await?;
    let root = Root::new()?;
    let sources = json!([token_source(5), {"configMap": {"name": "ca"}}]);
    let file = write(root.0.path(), &pod("a", sources))?;
    let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag()]).await?;
    let (path, ca) = (root.file("a", "tokens", "token"), root.file("a", "tokens", "ca.crt"));
    let first = read(&path).context("no token")?;
    ensure!(review(&client, &first, "vault").await?["authenticated"] == true);
    ensure!(read(&ca).as_deref() == Some("one"));

    let second = eventually("a second token", async || read(&path).filter(|t| *t != first)).await?;
    let (old, new) = (claims(&first)?, claims(&second)?);
    ensure!(new["iat"].as_i64() < old["exp"].as_i64(), "it came before the first had run out: {old} {new}");

    let patch = Bytes::from(json!({"data": {"ca.crt": "two"}}).to_string());
    let headers = [("content-type", "application/merge-patch+json")];
    client.send("PATCH", &format!("{CONFIGMAPS}/ca"), Some(ADMIN), &headers, Some(patch)).await?.success()?;
    eventually("the changed ConfigMap", async || read(&ca).filter(|t| t == "two")).await?;

    // An account that is made again is another one: the old one's tokens are dead at once.
    let uid = |token: &str| anyhow::Ok(claims(token)?["kubernetes.io"]["serviceaccount"]["uid"].clone());
    let before = uid(&second)?;
    client.delete(&format!("{ACCOUNTS}/a"), Some(ADMIN)).await?;
    client.post(ACCOUNTS, Some(ADMIN), &json!({"metadata": {"name": "a"}})).await?;
    let third = eventually("the new account's token", async || {
        read(&path).filter(|t| uid(t).is_ok_and(|uid| uid != before))
    })
    .await?;
    ensure!(review(&client, &third, "vault").await?["authenticated"] == true);
    let status = agent.stop().await?;
    ensure!(status.success(), "{status}");
    ensure!(read(&path).is_some(), "the volumes stay when the agent is stopped");
    Ok(())
}

#[tokio::test]
async fn an_outage_raises_an_alarm_and_passes() -> Result<()> {
    let server = Server::start(&[SHORT]).await?;
    let root = Root::new()?;
    let file = write(root.0.path(), &pod("a", json!([token_source(5)])))?;
    let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag()]).await?;
    let status = async |server: &Server| project(server, &["status", &root.flag(), "--output=json"]).await;
    let fine = status(&server).await?;
    ensure!(fine.status.success(), "{}", String::from_utf8_lossy(&fine.stderr));

    // The server goes and comes back on the same port and data.
    let path = root.file("a", "tokens", "token");
    let last = read(&path).context("no token")?;
    let mut server = server;
    server.kill()?;
    let alarm = eventually("an alarm", async || {
        status(&server).await.ok().filter(|output| output.status.code() == Some(3))
    })
    .await?;
    let said: Value = serde_json::from_slice(&alarm.stdout)?;
    ensure!(said["alarms"].as_array().is_some_and(|alarms| !alarms.is_empty()), "{said}");
    ensure!(read(&path).is_some(), "the last token stays");
    let error = String::from_utf8_lossy(&alarm.stderr);
    ensure!(error.lines().count() == 1 && error.starts_with("error: "), "{error}");
    let server = server.kill_and_restart(&[SHORT]).await?;
    eventually("recovery", async || status(&server).await.ok().filter(|output| output.status.success()))
        .await?;
    ensure!(read(&path).is_some_and(|token| token != last));
    ensure!(!agent.log().contains(&last), "no log holds a token");
    Ok(())
}

#[tokio::test]
async fn a_restart_asks_for_what_is_due_alone() -> Result<()> {
    let server = Server::start(&[]).await?;
    let root = Root::new()?;
    let file = write(root.0.path(), &pod("a", json!([token_source(3600)])))?;
    let args = ["project", &file, "--ensure", &root.flag()];
    let issued = async || {
        let tokens = server.client()?.get("/admin/v1/tokens", Some(ADMIN)).await?;
        anyhow::Ok(tokens["tokens"].as_array().context("no tokens")?.len())
    };
    let agent = Agent::start(&server, &args).await?;
    let token = read(&root.file("a", "tokens", "token")).context("no token")?;
    agent.kill()?;
    let count = eventually("the ledger", async || issued().await.ok().filter(|n| *n > 0)).await?;
    let agent = Agent::start(&server, &args).await?;
    ensure!(read(&root.file("a", "tokens", "token")).as_ref() == Some(&token));
    pause(Duration::from_millis(300)).await;
    ensure!(issued().await? == count, "a restart asks for no token that is not due");

    // What is missing on disk is due, whatever was written down.
    agent.kill()?;
    std::fs::remove_file(root.file("a", "tokens", "..data"))?;
    let agent = Agent::start(&server, &args).await?;
    let again = read(&root.file("a", "tokens", "token")).context("no token")?;
    ensure!(again != token);
    ensure!(agent.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_folder_has_one_agent() -> Result<()> {
    let server = Server::start(&[]).await?;
    let root = Root::new()?;
    let file = write(root.0.path(), &pod("a", json!([token_source(3600)])))?;
    let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag()]).await?;
    let second = project(&server, &[&file, "--ensure", &root.flag()]).await?;
    let error = String::from_utf8_lossy(&second.stderr);
    ensure!(second.status.code() == Some(1), "{}: {error}", second.status);
    ensure!(error.contains(&agent.pid().to_string()), "{error}");
    ensure!(agent.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn a_pod_that_is_gone_takes_its_volumes_along() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    for name in ["a", "b"] {
        client.post(ACCOUNTS, Some(ADMIN), &json!({"metadata": {"name": name}})).await?;
        let mut pod = pod(name, json!([token_source(3600)]));
        pod["metadata"]["labels"] = json!({"app": "x"});
        client.post(PODS, Some(ADMIN), &pod).await?;
    }
    let root = Root::new()?;
    let agent = Agent::start(&server, &["project", "--selector=app=x", &root.flag()]).await?;
    let files = ["a", "b"].map(|name| root.file(name, "tokens", "token"));
    ensure!(files.iter().all(|file| read(file).is_some()), "{}", agent.log());
    client.delete(&format!("{PODS}/a?gracePeriodSeconds=0"), Some(ADMIN)).await?;
    eventually("the end of a's folder", async || (!root.path().join("default/a").exists()).then_some(()))
        .await?;
    ensure!(read(&files[1]).is_some(), "the other pod's volumes stay");

    // A pod of the same name is another pod: its tokens are its own.
    let old = read(&files[1]).context("no token")?;
    client.delete(&format!("{PODS}/b?gracePeriodSeconds=0"), Some(ADMIN)).await?;
    let mut again = pod("b", json!([token_source(3600)]));
    again["metadata"]["labels"] = json!({"app": "x"});
    let made = client.post(PODS, Some(ADMIN), &again).await?;
    let token = eventually("the new pod's token", async || read(&files[1]).filter(|t| *t != old)).await?;
    ensure!(claims(&token)?["kubernetes.io"]["pod"]["uid"] == made["metadata"]["uid"]);
    ensure!(agent.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn the_pod_of_a_manifest_is_followed() -> Result<()> {
    let server = Server::start(&[]).await?;
    let client = server.client()?;
    let root = Root::new()?;
    let labels =
        json!({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}});
    let mut manifest = pod("a", json!([token_source(3600), labels]));
    manifest["metadata"]["labels"] = json!({"app": "x"});
    let file = write(root.0.path(), &manifest)?;
    let agent = Agent::start(&server, &["project", &file, "--ensure", &root.flag()]).await?;
    let shown = root.file("a", "tokens", "labels");
    ensure!(read(&shown).as_deref() == Some("app=\"x\""));
    let patch = Bytes::from(json!({"metadata": {"labels": {"app": "y"}}}).to_string());
    let headers = [("content-type", "application/merge-patch+json")];
    client.send("PATCH", &format!("{PODS}/a"), Some(ADMIN), &headers, Some(patch)).await?.success()?;
    eventually("the changed label", async || read(&shown).filter(|text| text == "app=\"y\"")).await?;
    client.delete(&format!("{PODS}/a?gracePeriodSeconds=0"), Some(ADMIN)).await?;
    eventually("the end of its folder", async || (!root.path().join("default/a").exists()).then_some(()))
        .await?;
    ensure!(agent.stop().await?.success());
    Ok(())
}

#[tokio::test]
async fn what_is_missing_is_told() -> Result<()> {
    let server = Server::start(&[]).await?;
    let root = Root::new()?;
    let says = async |args: &[&str], code: i32, text: &str| {
        let output = project(&server, args).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(code) && error.contains(text),
            "{args:?}: {}: {error}",
            output.status
        );
        ensure!(error.lines().filter(|line| line.starts_with("error: ")).count() == 1, "{error}");
        Ok(())
    };
    let file = write(root.0.path(), &pod("a", json!([{"configMap": {"name": "none"}}])))?;
    says(&[&file, "--once", &root.flag()], 1, "--ensure creates it").await?;
    let once = [&*file, "--ensure", "--once", "--timeout=2s", &root.flag()];
    says(&once, 1, "MountVolume.SetUp failed for volume \"tokens\" : configmap \"none\" not found").await?;
    says(&["--pod=default/none", "--once", &root.flag()], 1, "pods \"none\" not found").await?;
    says(&["--once", &root.flag()], 2, "--filename").await?;
    says(&[&file], 2, "--root").await?;
    // What would be left out of account.
    says(&[&file, "--all", "--once", &root.flag()], 2, "--all").await?;
    says(&["--pod=a", "--selector=a=b", "--once", &root.flag()], 2, "--selector").await?;
    says(&[&file, "--node=a", "--once", &root.flag()], 2, "--node").await?;
    says(&["--all", "--exec", "--", "true"], 2, "--all").await?;
    let none = format!("--root={}", root.0.path().join("none").display());
    says(&["status", &none], 1, "No such file or directory").await?;
    // A manifest that reaches for what is not its own.
    let mut evil = token_source(3600);
    evil["serviceAccountToken"]["path"] = json!("../../../../escaped");
    let file = write(root.0.path(), &pod("evil", json!([evil])))?;
    says(&[&file, "--ensure", "--once", &root.flag()], 1, "must not contain '..'").await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_that_differs_from_its_manifest_is_not_taken_for_it() -> Result<()> {
    let server = Server::start(&[]).await?;
    let root = Root::new()?;
    let manifest = pod("a", json!([token_source(3600)]));
    done(&server, &[&write(root.0.path(), &manifest)?, "--ensure", "--once", &root.flag()]).await?;
    let differs = async |change: &dyn Fn(&mut Value), what: &str| {
        let mut other = manifest.clone();
        change(&mut other["spec"]);
        let file = write(root.0.path(), &other)?;
        let output = project(&server, &[&file, "--ensure", "--once", &root.flag()]).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1), "{what}: {}: {error}", output.status);
        ensure!(error.contains(&format!("its {what} differs from the manifest's")), "{error}");
        Ok::<_, anyhow::Error>(())
    };
    differs(&|spec| spec["serviceAccountName"] = json!("b"), "service account \"a\"").await?;
    differs(&|spec| spec["securityContext"] = json!({"fsGroup": 7}), "fsGroup").await?;
    let audience = |spec: &mut Value| {
        spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["audience"] = json!("other");
    };
    differs(&audience, "volume \"tokens\"").await?;
    let path = |spec: &mut Value| spec["containers"][0]["volumeMounts"][0]["mountPath"] = json!("/other");
    differs(&path, "container \"app\"").await?;
    Ok(())
}

#[tokio::test]
async fn the_deprecated_field_names_the_account_too() -> Result<()> {
    let server = Server::start(&[]).await?;
    let root = Root::new()?;
    let mut manifest = pod("a", json!([token_source(3600)]));
    let spec = manifest["spec"].as_object_mut().context("no spec")?;
    spec.remove("serviceAccountName");
    spec.insert("serviceAccount".into(), json!("old"));
    done(&server, &[&write(root.0.path(), &manifest)?, "--ensure", "--once", &root.flag()]).await?;
    let token = read(&root.file("a", "tokens", "token")).context("no token")?;
    ensure!(claims(&token)?["sub"] == "system:serviceaccount:default:old");
    Ok(())
}
