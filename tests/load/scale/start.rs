//! A start on data that is there: how long, how much memory.

use std::path::Path;

use anyhow::{Result, ensure};

use super::host::Host;
use super::report::{Figures, Unit};
use super::run::Run;
use super::wire::{ANY, Wire};
use crate::now;

pub async fn measure(run: &mut Run) -> Result<()> {
    let dir = tempfile::tempdir()?;
    // It makes keys and certificates.
    Begun::on(run, dir.path()).await?.host.server.stop().await?;
    let (mut took, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..run.flags.repeat {
        let begun = Begun::on(run, dir.path()).await?;
        took.push(begun.took);
        memory.push(begun.host.settled().await?);
        begun.host.server.stop().await?;
    }
    let (took, memory) = (Figures::of(took)?, Figures::of(memory)?);
    run.row("start/ready", "ready on warm data: time".into(), Unit::Seconds, took, Some(0.05));
    run.row("start/memory", "… memory, idle".into(), Unit::Bytes, memory, Some(20e6));
    Ok(())
}

/// A server that has become ready.
pub struct Begun {
    pub host: Host,
    /// From its start until it has said so, in seconds.
    pub took: f64,
    /// CPU time until then, in seconds.
    pub cpu: f64,
}

impl Begun {
    /// On a folder.
    pub async fn on(run: &mut Run, dir: &Path) -> Result<Self> {
        run.quiet().await?;
        let start = now();
        let host = run.on(dir).await?;
        let said = Wire::open(&host.server).await?.get("/readyz", ANY).await?;
        let (took, cpu) = (start.elapsed().as_secs_f64(), host.server.cpu()?.as_secs_f64());
        ensure!(said.starts_with(b"ok"), "readyz: {said:?}");
        Ok(Begun { host, took, cpu })
    }
}
