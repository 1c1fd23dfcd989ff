//! Every file of `tests/guide-volumes`, on disk: what Kubernetes takes is there, what it refuses is refused in its words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::Server;
use tokensmith_tests::server::ADMIN;

use super::{Root, claims, done, project, review};

const TOO_SHORT: &str = "may not specify a duration less than 10 minutes";
/// What is refused, and why. All else works.
const REFUSED: [(&str, &str); 4] = [
    ("custom-expiration", TOO_SHORT),
    ("expiration-levels", TOO_SHORT),
    ("extended-token-without-containers", "spec.containers: Required value"),
    ("zero-trust", TOO_SHORT),
];

fn files() -> Result<BTreeMap<String, PathBuf>> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("guide-volumes");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let name = path.file_stem().and_then(|s| s.to_str()).context("no name")?.to_owned();
            files.insert(name, path);
        }
    }
    ensure!(files.len() >= 20, "the guide's files are not there");
    Ok(files)
}

/// What else the guide takes for granted.
async fn prepare(server: &Server) -> Result<()> {
    let client = server.client()?;
    let ca = json!({"metadata": {"name": "trusted-ca"}, "data": {"ca.crt": "CA\n"}});
    client.post("/api/v1/namespaces/default/configmaps", Some(ADMIN), &ca).await?;
    let key = json!({"metadata": {"name": "api-credentials"}, "stringData": {"api-key": "k3y"}});
    client.post("/api/v1/namespaces/default/secrets", Some(ADMIN), &key).await?;
    Ok(())
}

/// The tokens that a pod asks for, as (volume, path, audience, seconds), from the server's pod.
fn asked(pod: &Value) -> Vec<(String, String, String, i64)> {
    let mut asked = Vec::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
            let token = &source["serviceAccountToken"];
            if token.is_object() {
                let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
                let seconds = token["expirationSeconds"].as_i64().unwrap_or(3600);
                asked.push((text(&volume["name"]), text(&token["path"]), text(&token["audience"]), seconds));
            }
        }
    }
    asked
}

#[tokio::test]
async fn every_volume_of_the_guide() -> Result<()> {
    let server = Server::start(&[]).await?;
    prepare(&server).await?;
    let client = server.client()?;
    let mut seen = 0;
    for (name, path) in files()? {
        let root = Root::new()?;
        let file = format!("--filename={}", path.display());
        let args = [&*file, "--ensure", "--once", &root.flag()];
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            let output = project(&server, &args).await?;
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(1) && error.contains(why),
                "{name}: {}: {error}",
                output.status
            );
            ensure!(error.lines().count() == 1, "{name}: {error}");
            continue;
        }
        done(&server, &args).await.with_context(|| name.clone())?;
        let pods = client.get("/api/v1/namespaces/default/pods", Some(ADMIN)).await?;
        let dirs: Vec<_> = std::fs::read_dir(root.path().join("default"))?.flatten().collect();
        ensure!(dirs.len() == 1, "{name}: {dirs:?}");
        let pod_name = dirs[0].file_name().into_string().ok().context("no name")?;
        let pod = pods["items"].as_array().into_iter().flatten().find(|p| p["metadata"]["name"] == *pod_name);
        let pod = pod.with_context(|| format!("{name}: no pod {pod_name}"))?;
        for (volume, file, audience, seconds) in asked(pod) {
            let path = root.file(&pod_name, &volume, &file);
            let token =
                std::fs::read_to_string(&path).with_context(|| format!("{name}: {}", path.display()))?;
            let claims = claims(&token)?;
            let audience = if audience.is_empty() { server.url() } else { &audience };
            ensure!(claims["aud"] == json!([audience]), "{name}: {claims}");
            ensure!(claims["kubernetes.io"]["pod"]["name"] == *pod_name, "{name}: {claims}");
            let life = claims["exp"].as_i64().context("exp")? - claims["iat"].as_i64().context("iat")?;
            // 3607 s are the automatic volume's: its tokens live for a year, and are replaced within the hour.
            ensure!(life == if seconds == 3607 { 31_536_000 } else { seconds }, "{name}: {life} s");
            let status = review(&client, &token, audience).await?;
            ensure!(status["authenticated"] == true, "{name}: {status}");
            seen += 1;
        }
        // Each container's mounts show the volumes.
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                let (name, path) = (container["name"].as_str(), mount["mountPath"].as_str());
                let shown = root.seen(&pod_name, name.context("name")?, path.context("path")?);
                ensure!(std::fs::read_dir(&shown)?.count() > 0, "{} is empty", shown.display());
            }
        }
        if name == "token-configmap-secret" {
            let volume = asked(pod)[0].0.clone();
            let text = |file: &str| std::fs::read_to_string(root.file(&pod_name, &volume, file));
            ensure!(text("ca.crt")? == "CA\n" && text("api-key")? == "k3y");
        }
        client
            .delete(&format!("/api/v1/namespaces/default/pods/{pod_name}?gracePeriodSeconds=0"), Some(ADMIN))
            .await?;
    }
    ensure!(seen >= 35, "only {seen} tokens were looked at");
    Ok(())
}

#[tokio::test]
async fn five_minutes_where_the_server_allows_them() -> Result<()> {
    let server = Server::start(&["--min-token-expiration=5m"]).await?;
    let root = Root::new()?;
    let path = files()?.remove("zero-trust").context("no file")?;
    done(&server, &[&format!("--filename={}", path.display()), "--ensure", "--once", &root.flag()]).await?;
    let found = std::fs::read_dir(root.path().join("default"))?.flatten().next().context("no pod")?;
    let token = std::fs::read_to_string(found.path().join("volumes/auth-token/token"))?;
    let claims = claims(&token)?;
    ensure!(claims["exp"].as_i64().context("exp")? - claims["iat"].as_i64().context("iat")? == 300);
    Ok(())
}
