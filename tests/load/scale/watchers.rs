//! One write and who watches it; watchers that nothing happens to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::host::Host;
use super::pods::{self, COLLECTION, Pods};
use super::report::{Figures, Unit};
use super::run::Run;
use super::wire::{JSON, MERGE, METADATA, STREAMS, Watch, Wire, revision, wires};

/// A collection where nothing is written.
const ELSEWHERE: &str = "/api/v1/namespaces/default/secrets";
/// All watchers see a change sooner, or never.
const SEEN: Duration = Duration::from_secs(20);

pub async fn measure(run: &mut Run) -> Result<()> {
    idle(run).await?;
    let count = run.size.watchers;
    // What is small shows what a watcher costs whatever the object: it is judged.
    let alone = writes(run, Object::ConfigMap, 0, None).await?;
    run.row("write/alone", "one write, nobody watches: CPU".into(), Unit::Seconds, alone, None);
    let watched = writes(run, Object::ConfigMap, count, None).await?;
    let what = format!("one write, {count} watchers on its collection: CPU");
    run.row("write/watched", what, Unit::Seconds, watched, Some(1e-3));
    let more = watched.map(|cpu| (cpu - alone.median) / count as f64);
    run.row(
        "write/watched/each",
        "… for each event, beyond the write: CPU".into(),
        Unit::Seconds,
        more,
        Some(2e-6),
    );
    let elsewhere = writes(run, Object::ConfigMap, count, Some(ELSEWHERE)).await?;
    let what = format!("one write, {count} watchers elsewhere: CPU");
    run.row("write/elsewhere", what, Unit::Seconds, elsewhere, None);
    let more = elsewhere.map(|cpu| cpu - alone.median);
    run.row("write/elsewhere/more", "… beyond the write: CPU".into(), Unit::Seconds, more, Some(60e-6));

    let alone = writes(run, Object::Pod, 0, None).await?;
    run.row("write/pod/alone", "one patch of a pod, nobody watches: CPU".into(), Unit::Seconds, alone, None);
    let watched = writes(run, Object::Pod, count, None).await?;
    let what = format!("one patch of a pod, {count} watchers on its collection: CPU");
    run.row("write/pod/watched", what, Unit::Seconds, watched, None);
    let more = watched.map(|cpu| (cpu - alone.median) / count as f64);
    run.row(
        "write/pod/watched/each",
        "… for each event, beyond the write: CPU".into(),
        Unit::Seconds,
        more,
        None,
    );
    Ok(())
}

/// Memory of watchers: on few connections, and each on its own.
async fn idle(run: &mut Run) -> Result<()> {
    tokensmith_listen::descriptors::raise();
    let (count, mut shared, mut own) = (run.size.idle, Vec::new(), Vec::new());
    for _ in 0..run.flags.repeat {
        let host = run.in_memory().await?;
        let few = wires(&host.server, count.div_ceil(STREAMS - 1)).await?;
        let (mut kept, after) = (Vec::new(), now_at(&few[0], COLLECTION).await?);
        // What a connection and a first watch make once is not theirs.
        for wire in &few {
            kept.push(wire.watch(COLLECTION, after, "").await?);
        }
        let before = host.settled().await?;
        for at in 0..count {
            kept.push(few[at % few.len()].watch(COLLECTION, after, "").await?);
        }
        let between = host.settled().await?;
        shared.push((between - before) / count as f64);
        let many = wires(&host.server, count).await?;
        for wire in &many {
            kept.push(wire.watch(COLLECTION, after, "").await?);
        }
        own.push((host.settled().await? - between) / count as f64);
    }
    let what = format!("an idle watcher of {count}, on few connections: memory");
    run.row("watcher/idle", what, Unit::Bytes, Figures::of(shared)?, None);
    let what = "… each on a connection of its own, which is in it: memory".to_owned();
    run.row("watcher/idle/own", what, Unit::Bytes, Figures::of(own)?, Some(12e3));
    Ok(())
}

/// What is written.
#[derive(Clone, Copy)]
enum Object {
    ConfigMap,
    Pod,
}

impl Object {
    fn collection(self) -> &'static str {
        match self {
            Object::ConfigMap => "/api/v1/namespaces/default/configmaps",
            Object::Pod => COLLECTION,
        }
    }

    async fn create(self, host: &Host, wire: &Wire) -> Result<()> {
        match self {
            Object::ConfigMap => wire.write("POST", self.collection(), JSON, config(0)).await.map(drop),
            Object::Pod => Pods::of(wire).await?.fill(&host.server, 0, 1).await,
        }
    }

    /// Another value in it with each turn.
    async fn change(self, wire: &Wire, turn: u64) -> Result<()> {
        let collection = self.collection();
        let answer = match self {
            Object::ConfigMap => {
                wire.write("PUT", &format!("{collection}/watched"), JSON, config(turn)).await
            }
            Object::Pod => {
                let body = format!(r#"{{"metadata":{{"annotations":{{"example.com/turn":"{turn:012}"}}}}}}"#);
                wire.write("PATCH", &format!("{collection}/{}", pods::name(0)), MERGE, body.into()).await
            }
        };
        answer.map(drop)
    }
}

fn config(turn: u64) -> Bytes {
    let meta = r#""apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"watched"}"#;
    format!(r#"{{{meta},"data":{{"turn":"{turn:012}"}}}}"#).into()
}

/// CPU of a write while so many watch its collection, or another one. Each has seen it before the next is made.
async fn writes(run: &mut Run, object: Object, watchers: usize, other: Option<&str>) -> Result<Figures> {
    let host = run.in_memory().await?;
    let wire = Wire::open(&host.server).await?;
    object.create(&host, &wire).await?;
    let crowd = Crowd::gather(&host, watchers, other.unwrap_or(object.collection())).await?;
    let (mut turn, each) = (0u64, if other.is_none() { watchers as u64 } else { 0 });
    run.cpu(&host, 1, async || {
        turn += 1;
        object.change(&wire, turn).await?;
        crowd.seen(turn * each).await
    })
    .await
}

/// The revision of a collection.
pub async fn now_at(wire: &Wire, collection: &str) -> Result<u64> {
    revision(&wire.get(&format!("{collection}?limit=1"), METADATA).await?)
}

/// Watchers of one collection, who count together.
struct Crowd {
    tally: Arc<Tally>,
    /// Ends them when it is dropped.
    _watchers: JoinSet<()>,
}

#[derive(Default)]
struct Tally {
    events: AtomicU64,
    wanted: AtomicU64,
    ended: AtomicU64,
    there: Notify,
}

impl Crowd {
    async fn gather(host: &Host, count: usize, collection: &str) -> Result<Self> {
        let (tally, mut watchers) = (Arc::new(Tally::default()), JoinSet::new());
        let wires = wires(&host.server, count.div_ceil(STREAMS).max(1)).await?;
        let after = now_at(&wires[0], collection).await?;
        for at in 0..count {
            let watch = wires[at % wires.len()].watch(collection, after, "").await?;
            watchers.spawn(follow(watch, tally.clone()));
        }
        Ok(Crowd { tally, _watchers: watchers })
    }

    /// Waits until they have seen so many events, all together.
    async fn seen(&self, events: u64) -> Result<()> {
        self.tally.wanted.store(events, Ordering::SeqCst);
        timeout(SEEN, async {
            while self.tally.events.load(Ordering::SeqCst) < events {
                self.tally.there.notified().await;
            }
        })
        .await
        .context("not all watchers see a change")?;
        ensure!(self.tally.ended.load(Ordering::SeqCst) == 0, "a watch has ended");
        ensure!(self.tally.events.load(Ordering::SeqCst) == events, "there are events of nothing");
        Ok(())
    }
}

async fn follow(mut watch: Watch, tally: Arc<Tally>) {
    let count = |_: &[u8]| {
        if tally.events.fetch_add(1, Ordering::SeqCst) + 1 == tally.wanted.load(Ordering::SeqCst) {
            tally.there.notify_one();
        }
        Ok(())
    };
    while watch.lines(count).await.unwrap_or(false) {}
    tally.ended.fetch_add(1, Ordering::SeqCst);
    tally.there.notify_one();
}
