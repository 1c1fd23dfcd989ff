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

/// Whether a process has a token in its private folder, which it alone may see.
fn holds_token(pid: u32, private: &Path) -> Option<()> {
    let root = std::fs::read_dir(private).ok()?.next()?.ok()?.path();
    let seen = format!("/proc/{pid}/root{}/default/a/volumes/tokens/token", root.display());
    Path::new(&seen).exists().then_some(())
}

/// The processes that know of a folder, but for zombies: by their arguments or their mounts.
fn processes(of: &Path) -> Vec<(u32, String)> {
    let of = of.display().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        let arguments = read("cmdline").replace('\0', " ");
        (arguments.contains(&of) || read("mountinfo").contains(&of)).then_some((id, arguments))
    })
    .filter(|(id, _)| *id != std::process::id())
    .collect()
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
    let pid = child.id().context("it has ended")?;
    eventually("the token", async || holds_token(pid, private.path())).await?;
    let pid = pid.to_string();
    ensure!(std::process::Command::new("kill").args(["-TERM", &pid]).status()?.success());
    ensure!(child.wait().await?.code() == Some(143));
    ensure!(is_empty(&private)?, "something stayed");
    Ok(())
}

/// What `kill -9` ends at any moment leaves no token, no process and no mount behind, also none of those that the command
/// has started. Where nobody was there yet to clean up, or was killed too, the next start does it.
#[tokio::test]
async fn a_kill_leaves_nothing_behind() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (private, manifest) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (whole, started) = (tempfile::tempdir()?, manifest.path().join("started"));
    let (waits, runs) =
        (waiting(manifest.path())?, write(whole.path(), &pod("b", json!([token_source(3600)])))?);
    // A command with a child, which holds a token open.
    let script = format!(
        "exec 9</var/run/secrets/tokens/token; (sleep 600; true) & echo $$ $! > {0}.new; mv {0}.new {0}; wait",
        started.display()
    );
    let args = |file| [file, "--ensure", "--exec", "--", "sh", "-c", &*script];
    let is_there = |path: &Path| path.exists().then_some(());
    let lives = |id: &str| Path::new(&format!("/proc/{id}/exe")).exists();
    for (moment, with_keeper) in [("folder", false), ("token", false), ("command", false), ("command", true)]
    {
        let file = if moment == "command" { &runs } else { &waits };
        let _ = std::fs::remove_file(&started);
        let mut child = command(&server, &private, &args(file))?.spawn()?;
        let pid = child.id().context("it has ended")?;
        match moment {
            "folder" => eventually("the folder", async || (!is_empty(&private).ok()?).then_some(())).await?,
            "token" => eventually("the token", async || holds_token(pid, private.path())).await?,
            _ => eventually("the command", async || is_there(&started)).await?,
        }
        if with_keeper {
            let keeper = processes(private.path()).into_iter().find(|(_, line)| line.contains("exec-keep"));
            let (keeper, _) = keeper.context("nobody waits")?;
            ensure!(std::process::Command::new("kill").args(["-9", &keeper.to_string()]).status()?.success());
        }
        let ids = std::fs::read_to_string(&started).unwrap_or_default();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        ensure!(ids.len() == if moment == "command" { 2 } else { 0 }, "{ids:?}");
        child.start_kill()?;
        child.wait().await?;
        if with_keeper {
            eventually("the end of the command", async || (!lives(ids[0])).then_some(())).await?;
            ensure!(lives(ids[1]), "who has ended the command's child?");
        } else {
            eventually(moment, async || processes(private.path()).is_empty().then_some(())).await?;
        }
        let left = || -> Result<Vec<_>> {
            Ok(std::fs::read_dir(private.path())?.flatten().map(|entry| entry.path()).collect())
        };
        if with_keeper || moment == "folder" {
            for folder in left()?.iter().filter(|_| moment == "folder") {
                ensure!(!folder.join("default").exists(), "{folder:?} has volumes");
            }
            // The next one cleans up behind those that could not, and leaves what is another's.
            std::fs::create_dir(private.path().join("tokensmith-exec-early"))?;
            let other = tempfile::Builder::new().prefix("tokensmith-").tempdir_in(private.path())?;
            let mut next = command(&server, &private, &[&*runs, "--ensure", "--exec", "--", "true"])?;
            let output = next.output().await?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            ensure!(other.path().exists());
            drop(other);
        }
        let living = processes(private.path());
        ensure!(living.is_empty(), "{moment}, {with_keeper}: {living:?}");
        ensure!(!ids.iter().any(|id| lives(id)), "the command goes on, or its child");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(!mounts.contains(&private.path().display().to_string()), "{mounts}");
        let left = left()?;
        ensure!(left.is_empty(), "{moment}, {with_keeper}: {left:?}");
    }
    Ok(())
}

/// One that is alive keeps its folder, whoever starts beside it.
#[tokio::test]
async fn the_living_keep_their_folder() -> Result<()> {
    let server = Server::start(&[]).await?;
    let (private, manifest) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = write(manifest.path(), &pod("a", json!([token_source(3600)])))?;
    let (go_on, seen) = (manifest.path().join("go-on"), manifest.path().join("seen"));
    let script = format!(
        "touch {seen}; while ! [ -e {go_on} ]; do sleep 0.05; done; cat /var/run/secrets/tokens/token",
        seen = seen.display(),
        go_on = go_on.display()
    );
    let mut first = command(&server, &private, &[&*file, "--ensure", "--exec", "--", "sh", "-c", &script])?;
    let first = first.stdout(std::process::Stdio::piped()).spawn()?;
    eventually("the command", async || seen.exists().then_some(())).await?;
    let other = command(&server, &private, &[&*file, "--ensure", "--exec", "--", "true"])?.output().await?;
    ensure!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    std::fs::write(&go_on, "")?;
    let output = first.wait_with_output().await?;
    let token = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && token.split('.').count() == 3, "{token}");
    ensure!(is_empty(&private)?, "something stayed");
    Ok(())
}
