//! Memory of pods in memory, and what lists of them cost.

use anyhow::{Result, ensure};

use super::host::Host;
use super::pods::{self, ALL, Pods};
use super::report::{Figures, Unit};
use super::run::Run;
use super::wire::{JSON, PROTOBUF, Wire};

const PAGE: usize = 100;

pub async fn measure(run: &mut Run) -> Result<()> {
    let (count, mut last) = (run.size.pods, None);
    let (mut each, mut cpu, mut grown, mut kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // Each on a server of its own: what one list has left in memory serves the next.
    for _ in 0..run.flags.repeat {
        drop(last.take());
        let host = run.in_memory().await?;
        let wire = Wire::open(&host.server).await?;
        let pods = Pods::of(&wire).await?;
        let empty = host.settled().await?;
        pods.fill(&host.server, 0, count).await?;
        let filled = host.settled().await?;
        each.push((filled - empty) / count as f64);
        run.quiet().await?;
        host.forget_peak()?;
        let before = host.server.cpu()?;
        let bytes = wire.count(ALL, JSON).await?;
        cpu.push((host.server.cpu()? - before).as_secs_f64());
        grown.push(host.peak()? - filled);
        kept.push(host.settled().await? - filled);
        // Items say neither kind nor version.
        ensure!(bytes > count * (pods::BYTES - 100), "the list has {bytes} bytes");
        last = Some((host, wire));
    }
    let short = pods::thousands(count);
    run.row(
        "memory/pod",
        format!("memory a pod of {} bytes, {short} in memory", pods::BYTES),
        Unit::Bytes,
        Figures::of(each)?,
        Some(4e3),
    );
    run.row(
        "list/json",
        format!("GET of {short} pods, the first: CPU"),
        Unit::Seconds,
        Figures::of(cpu)?,
        Some(0.25),
    );
    run.row(
        "list/json/peak",
        "… memory while it is answered".into(),
        Unit::Bytes,
        Figures::of(grown)?,
        Some(CHUNKS),
    );
    run.row("list/json/kept", "… memory afterwards".into(), Unit::Bytes, Figures::of(kept)?, Some(CHUNKS));
    if let Some((host, wire)) = last {
        again(run, &host, &wire).await?;
    }
    Ok(())
}

/// A few chunks of a stream.
const CHUNKS: f64 = 8e6;

/// What can be measured again and again.
async fn again(run: &mut Run, host: &Host, wire: &Wire) -> Result<()> {
    let short = pods::thousands(run.size.pods);
    let whole = [("list/json/again", "JSON", JSON), ("list/protobuf", "protobuf", PROTOBUF)];
    for (id, name, media) in whole {
        let cpu = run.cpu(host, 1, async || wire.count(ALL, media).await.map(drop)).await?;
        run.row(id, format!("GET of {short} pods in {name}: CPU"), Unit::Seconds, cpu, Some(0.25));
    }
    let pages = run.cpu(host, 1, async || in_pages(wire).await).await?;
    run.row("list/pages", format!("the same in pages of {PAGE}: CPU"), Unit::Seconds, pages, None);
    let selectors = [
        ("list/node", format!("fieldSelector=spec.nodeName={}", pods::node(7)), "spec.nodeName", 5e-3),
        ("list/label", format!("labelSelector=app={}", pods::app(7)), "a label", 30e-3),
    ];
    for (id, selector, name, target) in selectors {
        let path = format!("{ALL}?{selector}");
        ensure!(wire.count(&path, JSON).await? > pods::BYTES, "{selector} selects nothing");
        let cpu = run.cpu(host, 1, async || wire.count(&path, JSON).await.map(drop)).await?;
        run.row(id, format!("selector on {name}, {short} pods: CPU"), Unit::Seconds, cpu, Some(target));
    }
    Ok(())
}

/// The whole collection, page by page.
async fn in_pages(wire: &Wire) -> Result<()> {
    let first = format!("{ALL}?limit={PAGE}");
    let mut next = Some(first.clone());
    while let Some(path) = next {
        let page = wire.get(&path, JSON).await?;
        next = pods::rest(&page).map(|token| format!("{first}&continue={token}"));
    }
    Ok(())
}
