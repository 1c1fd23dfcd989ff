//! `tokensmith project` against a real server: the guide's volumes, and a volume's life from its pod's first to its last.

mod exchange;
mod exec;
mod guide;
mod life;
mod manifests;
mod node;
mod refused;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server, agent};

const PODS: &str = "/api/v1/namespaces/default/pods";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

/// A folder for volumes, with all mounts gone at its end.
struct Root(TempDir);

impl Root {
    fn new() -> Result<Root> {
        Ok(Root(tempfile::tempdir()?))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// As a flag.
    fn flag(&self) -> String {
        format!("--root={}", self.path().display())
    }

    /// A file of a volume.
    fn file(&self, pod: &str, volume: &str, file: &str) -> PathBuf {
        self.path().join(format!("default/{pod}/volumes/{volume}/{file}"))
    }

    /// A file as a container sees it.
    fn seen(&self, pod: &str, container: &str, path: &str) -> PathBuf {
        self.path().join(format!("default/{pod}/rootfs/{container}{path}"))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Ok(binary) = tokensmith_tests::server::binary() {
            let _ = std::process::Command::new(binary).args(["project", "remove", &self.flag()]).output();
        }
    }
}

/// Runs `tokensmith project` to its end.
async fn project(server: &Server, args: &[&str]) -> Result<Output> {
    let mut command = tokio::process::Command::from(agent::command(server, &["project"])?);
    Ok(command.args(args).output().await?)
}

/// What a command that must succeed has printed.
async fn done(server: &Server, args: &[&str]) -> Result<String> {
    let output = project(server, args).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => bail!("{args:?}: {}: {error}", output.status),
    }
}

/// A manifest with one pod whose only container mounts what `volumes` says.
fn pod(name: &str, sources: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "serviceAccountName": name,
            "automountServiceAccountToken": false,
            "containers": [{"name": "app", "image": "app:1.0",
                "volumeMounts": [{"name": "tokens", "mountPath": "/var/run/secrets/tokens", "readOnly": true}]}],
            "volumes": [{"name": "tokens", "projected": {"sources": sources}}],
        },
    })
}

fn write(dir: &Path, manifest: &Value) -> Result<String> {
    let path = dir.join("pod.json");
    std::fs::write(&path, manifest.to_string())?;
    Ok(format!("--filename={}", path.display()))
}

fn token_source(seconds: i64) -> Value {
    json!({"serviceAccountToken": {"audience": "vault", "expirationSeconds": seconds, "path": "token"}})
}

fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("no claims")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part)?)?)
}

/// What the server thinks of a token.
async fn review(client: &Client, token: &str, audience: &str) -> Result<Value> {
    let body = json!({"spec": {"token": token, "audiences": [audience]}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    Ok(client.post(path, Some(ADMIN), &body).await?["status"].take())
}

/// Waits until `what` gives something, at most 20 s.
async fn eventually<T>(what: &str, mut get: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    for _ in 0..400 {
        if let Some(found) = get().await {
            return Ok(found);
        }
        pause(Duration::from_millis(50)).await;
    }
    bail!("{what} did not come in time")
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
