//! `--exec` without a folder of its own: what is private goes, however it ends.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use tokensmith_tests::{Server, agent};

use super::{eventually, pod, token_source, write};

/// A pod that gets one of its volumes and waits for the other for ever.
fn waiting(dir: &Path) -> Result<String> {
    let mut pod = pod("a", json!([token_source(3600)]));
    let volumes = pod["spec"]["volumes"].as_array_mut().context("no volumes")?;
    volumes.push(json!({"name": "never", "configMap": {"name": "none"}}));
    write(dir, &pod)
}

fn command(server: &Server, private: &TempDir, args: &[&str]) -> Result<tokio::process::Command> {
    let mut command = tokio::process::Command::from(agent::command(server, &["project"])?);
    command.env("TMPDIR", private.path()).env_remove("XDG_RUNTIME_DIR").args(args);
    Ok(command)
}

fn is_empty(dir: &TempDir) -> Result<bool> {
    Ok(std::fs::read_dir(dir.path())?.next().is_none())
}

#[tokio::test]
async fn volumes_that_do_not_come_leave_no_token_behind() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (private, manifest) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = waiting(manifest.path())?;
    let args = [&*file, "--ensure", "--timeout=2s", "--exec", "--", "true"];
    let output = command(&server, &private, &args)?.output().await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && error.contains("configmap \"none\" not found"), "{error}");
    ensure!(is_empty(&private)?, "something stayed");
    Ok(())
}

#[tokio::test]
async fn a_signal_before_the_command_leaves_no_token_behind() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (private, manifest) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = waiting(manifest.path())?;
    let mut child = command(&server, &private, &[&*file, "--ensure", "--exec", "--", "true"])?.spawn()?;
    let token = async || {
        let root = std::fs::read_dir(private.path()).ok()?.next()?.ok()?.path();
        root.join("default/a/volumes/tokens/token").exists().then_some(())
    };
    eventually("the token", token).await?;
    let pid = child.id().context("it has ended")?.to_string();
    ensure!(std::process::Command::new("kill").args(["-TERM", &pid]).status()?.success());
    ensure!(child.wait().await?.code() == Some(143));
    ensure!(is_empty(&private)?, "something stayed");
    Ok(())
}
