//! What the server costs at scale: memory, lists, writes that many watch, starts, and what grows with the objects.
//!
//! It starts a release binary as a process and knows of it what the system tells (`/proc`): so it measures an old and a
//! new one alike. All that is asked goes over HTTP/2 and TLS, as Kubernetes' own clients do it.
//!
//! `cargo run --release -p tokensmith-tests --bin load scale [--binary=PATH] [--rows=GROUP,…] [--repeat=N] [--quick] [--json=FILE]`
//! prints a table; the median of five where nothing else is said. `… scale compare OLD NEW` puts two such files side by side.

mod binary;
mod disk;
mod flags;
mod growth;
mod host;
mod lists;
mod machine;
mod pods;
mod report;
mod run;
mod start;
mod storm;
mod watchers;
mod wire;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;

use crate::now;
use flags::{Flags, Group};
use run::Run;

/// The whole takes no longer, whatever the server does.
const WHOLE: Duration = Duration::from_secs(14 * 60);
/// Nor does a group of rows.
const ONE: Duration = Duration::from_secs(6 * 60);

/// Measures, or compares what was measured.
pub async fn run(args: Vec<String>) -> Result<()> {
    if let [word, old, new] = &args[..]
        && word == "compare"
    {
        print!("{}", report::compare(&report::read(old)?, &report::read(new)?));
        return Ok(());
    }
    let flags = Flags::read(args)?;
    let (start, mut failed) = (now(), Vec::new());
    let groups = flags.groups.clone();
    let mut run = Run::new(flags)?;
    for group in groups {
        let left = WHOLE.saturating_sub(start.elapsed()).min(ONE);
        eprintln!("{:>4} s  {}", start.elapsed().as_secs(), group.name());
        // What one group cannot measure takes nothing from the others.
        if let Err(e) = timeout(left, measure(&mut run, group)).await.context("it took too long").flatten() {
            eprintln!("        {}: {e:#}", group.name());
            failed.push(group.name());
        }
    }
    run.finish(start.elapsed())?;
    ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

async fn measure(run: &mut Run, group: Group) -> Result<()> {
    match group {
        Group::Binary => binary::measure(run),
        Group::Disk => disk::measure(run).await,
        Group::Growth => growth::measure(run).await,
        Group::Lists => lists::measure(run).await,
        Group::Start => start::measure(run).await,
        Group::Storm => storm::measure(run).await,
        Group::Watchers => watchers::measure(run).await,
    }
}
