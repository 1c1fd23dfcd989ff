//! Pods on disk: memory, and a restart with them.

use anyhow::Result;

use super::pods::{Pods, thousands};
use super::report::{Figures, Unit};
use super::run::Run;
use super::start::Begun;
use super::wire::Wire;

pub async fn measure(run: &mut Run) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let host = run.on(dir.path()).await?;
    let wire = Wire::open(&host.server).await?;
    let pods = Pods::of(&wire).await?;
    let (count, empty) = (run.size.pods, host.settled().await?);
    pods.fill(&host.server, 0, count).await?;
    let grown = host.settled().await? - empty;
    let cache = host.cache(&wire).await?;
    let short = thousands(count);
    let what = match cache {
        Some(_) => format!("memory a pod, {short} on disk, without the engine's cache"),
        None => format!("memory a pod, {short} on disk, the engine's cache in it: /metrics does not tell it"),
    };
    let each = Figures::one((grown - cache.unwrap_or(0.0)) / count as f64);
    // Where the cache is not known, this says nothing about what is asked.
    run.row("disk/memory", what, Unit::Bytes, each, cache.map(|_| 4e3));
    if let Some(cache) = cache {
        run.row("disk/cache", "… the engine's cache".into(), Unit::Bytes, Figures::one(cache), None);
    }
    pods.fill(&host.server, count, run.size.restart).await?;
    host.server.stop().await?;

    let (mut took, mut cpu, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..run.flags.repeat {
        let begun = Begun::on(run, dir.path()).await?;
        took.push(begun.took);
        cpu.push(begun.cpu);
        memory.push(begun.host.settled().await?);
        begun.host.server.stop().await?;
    }
    let short = thousands(run.size.restart);
    run.row(
        "disk/restart",
        format!("restart with {short} pods: CPU until ready"),
        Unit::Seconds,
        Figures::of(cpu)?,
        Some(0.25),
    );
    run.row("disk/restart/time", "… time until ready".into(), Unit::Seconds, Figures::of(took)?, None);
    run.row("disk/restart/memory", "… memory afterwards".into(), Unit::Bytes, Figures::of(memory)?, None);
    Ok(())
}
