//! `kill -9` just before and just after every write of a change of the key ring: after a restart the ring is valid, no
//! key is lost, the journal tells each change once, and signing goes on.
//!
//! The fail points are in binaries with debug assertions (`TOKENSMITH_KILL_AT`, `crates/cli/src/serve/fail.rs`). How many
//! writes a change has is counted in the store after a run without them; then each of them is walked.

mod aftermath;
mod base;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};

use base::{Base, written};

/// One issuer whatever the port, and ES256: the point is the disk, not the CPU.
const ARGS: [&str; 2] = ["--service-account-issuer=https://crash.example", "--signing-algorithm=ES256"];
/// Under these the base's spare is due at once, and the next rotation is not before the test is over.
const HURRY: [&str; 6] = [
    ARGS[0],
    ARGS[1],
    "--key-rotation-period=15s",
    "--key-publish-before=4s",
    "--key-set-max-age=2s",
    "--key-replica-lag=1s",
];
const KEYS: &str = "/admin/v1/keys";
const REASON: &str = "a test that kills";

/// What changes the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    FirstStart,
    Reseal,
    RevokeActive,
    Rotate,
    Schedule,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forced_rotation() -> Result<()> {
    walk(Change::Rotate, &Base::new().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduled_rotation() -> Result<()> {
    let base = Base::new().await?;
    base.age(16).await;
    walk(Change::Schedule, &base).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_of_the_active_key() -> Result<()> {
    walk(Change::RevokeActive, &Base::new().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resealing() -> Result<()> {
    walk(Change::Reseal, &Base::new().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start() -> Result<()> {
    walk(Change::FirstStart, &Base::empty()?).await
}

/// Kills at each step of a change, then lets it pass.
async fn walk(change: Change, base: &Base) -> Result<()> {
    let steps = change.steps(count(change, base).await?);
    ensure!(steps >= 3, "{change:?} has {steps} steps only: is this the whole of it?");
    let mut kills = 0;
    for step in 1..=steps {
        for moment in ["before", "after"] {
            let at = format!("{moment}:{step}");
            let dir = base.copy()?;
            killed(change, dir.path(), &at).await.with_context(|| format!("{change:?}, {at}"))?;
            kills += 1;
            let done = if moment == "after" { step } else { step - 1 };
            let on_disk = written(&base.copy_of(dir.path())?, base.revision).await?;
            let expected = change.store_writes(done, steps);
            ensure!(on_disk == expected, "{change:?}, {at}: {on_disk} writes are on disk, not {expected}");
            aftermath::check(change, base, dir.path()).await.with_context(|| format!("{change:?}, {at}"))?;
        }
    }
    // Beyond the last step nothing is killed: the walk was complete.
    let dir = base.copy()?;
    let beyond = format!("before:{}", steps + 1);
    pass(change, base, dir.path(), &[("TOKENSMITH_KILL_AT", &beyond)])
        .await
        .context("beyond the last step")?;
    aftermath::check(change, base, dir.path()).await.context("beyond the last step")?;
    println!("{change:?}: {steps} steps, {kills} kills survived");
    Ok(())
}

/// How many writes of the ring and its journal the change takes.
async fn count(change: Change, base: &Base) -> Result<usize> {
    let dir = base.copy()?;
    pass(change, base, dir.path(), &[]).await.context("without a fail point")?;
    written(dir, base.revision).await
}

/// The change as it is when nothing happens to it, and a clean stop.
async fn pass(change: Change, base: &Base, dir: &Path, env: &[(&str, &str)]) -> Result<()> {
    let server = Server::start_in(dir, change.args(), env).await?;
    let client = server.client()?;
    change.ask(&client).await?;
    aftermath::until_settled(&client, |active| change.keeps_active() || base.active != active).await?;
    // The journal's last entry follows the ring within milliseconds; a stop must not come between.
    pause(std::time::Duration::from_millis(500)).await;
    server.stop().await
}

/// The same with a fail point, which must be reached.
async fn killed(change: Change, dir: &Path, at: &str) -> Result<()> {
    let mut server = match Server::start_in(dir, change.args(), &[("TOKENSMITH_KILL_AT", at)]).await {
        Ok(server) => server,
        Err(e) if format!("{e:#}").contains("signal: 9 (SIGKILL)") => return Ok(()),
        Err(e) => return Err(e),
    };
    // Whether an answer arrives depends on where the point is.
    let _ = change.ask(&server.client()?).await;
    let status = server.ended().await?;
    let status = status.context("it was not killed: has this binary fail points (debug assertions)?")?;
    ensure!(status.signal() == Some(9), "it ended with {status}");
    Ok(())
}

impl Change {
    fn args(self) -> &'static [&'static str] {
        if self == Change::Schedule { &HURRY } else { &ARGS }
    }

    async fn ask(self, client: &Client) -> Result<Value> {
        let forced = json!({ "force": true, "reason": REASON });
        match self {
            Change::FirstStart | Change::Schedule => Ok(Value::Null),
            Change::Reseal => {
                client.post(&format!("{KEYS}/reseal"), Some(ADMIN), &json!({ "reason": REASON })).await
            }
            Change::RevokeActive => {
                let keys = client.get(KEYS, Some(ADMIN)).await?;
                let active = aftermath::active(&keys)?;
                client.post(&format!("{KEYS}/{active}/revoke"), Some(ADMIN), &forced).await
            }
            Change::Rotate => client.post(&format!("{KEYS}/rotate"), Some(ADMIN), &forced).await,
        }
    }

    fn keeps_active(self) -> bool {
        matches!(self, Change::FirstStart | Change::Reseal)
    }

    /// Resealing replaces its file first and last; the other changes have no step but the store's writes.
    fn steps(self, store_writes: usize) -> usize {
        if self == Change::Reseal { store_writes + 2 } else { store_writes }
    }

    /// How many writes the store has seen when so many of all steps are done.
    fn store_writes(self, done: usize, steps: usize) -> usize {
        if self == Change::Reseal { done.saturating_sub(1).min(steps - 2) } else { done }
    }
}
