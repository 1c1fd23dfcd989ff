//! What costs more the more objects there are: pages, one object, the start of a watch, a token.

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use serde_json::json;

use super::pods::{self, ALL, COLLECTION, Pods, thousands};
use super::report::{Figures, Unit};
use super::run::Run;
use super::watchers::now_at;
use super::wire::{JSON, METADATA, STREAMS, Wire, wires};

/// With a hundred times as many objects it may cost so much more: what is larger is less often in a core's cache.
const MOST: f64 = 1.5;
/// Requests at a time on each connection.
const AT_ONCE: usize = 4;
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";

/// What is asked.
const ASKED: [(&str, &str, usize); 6] = [
    ("page100", "first page of 100", 1),
    ("page500", "first page of 500", 1),
    ("middle", "page of 100 in the middle", 1),
    ("get", "GET of one pod", WIRES * AT_ONCE),
    ("watch", "start and end of a watch", WIRES * STREAMS),
    ("token", "token for a pod", WIRES * AT_ONCE),
];
const WIRES: usize = 8;

pub async fn measure(run: &mut Run) -> Result<()> {
    let host = run.in_memory().await?;
    let wires = wires(&host.server, WIRES).await?;
    let pods = Pods::of(&wires[0]).await?;
    let (mut there, mut found) = (0, Vec::new());
    for count in run.size.growth {
        pods.fill(&host.server, there, count).await?;
        there = count;
        host.settled().await?;
        for (id, _, operations) in ASKED {
            let asked = Asked::new(id, &wires, count).await?;
            let cpu = run.cpu(&host, operations, async || asked.once(&wires).await);
            found.push((id, count, cpu.await.context(id)?));
        }
    }
    for (id, name, _) in ASKED {
        let of: Vec<_> = found.iter().filter(|(of, ..)| *of == id).collect();
        for (_, count, cpu) in &of {
            let what = format!("{name}, {} pods: CPU", thousands(*count));
            run.row(&format!("growth/{id}/{count}"), what, Unit::Seconds, *cpu, None);
        }
        if let [(_, _, few), .., (_, many, most)] = &of[..] {
            let times = Figures::one(most.median / few.median);
            let what = format!("… with {} against {}", thousands(*many), thousands(run.size.growth[0]));
            run.row(&format!("growth/{id}"), what, Unit::Times, times, Some(MOST));
        }
    }
    Ok(())
}

/// A request, ready to be sent again and again.
enum Asked {
    /// One list, alone.
    List(String),
    /// Many at a time.
    Gets(String),
    /// Many at a time; they end by themselves, since who takes requests back again and again is hung up on.
    Watches(u64),
    Tokens(Bytes),
}

impl Asked {
    async fn new(id: &str, wires: &[Wire], count: usize) -> Result<Self> {
        let middle = pods::name(count / 2);
        Ok(match id {
            "page100" => Asked::List(format!("{ALL}?limit=100")),
            "page500" => Asked::List(format!("{ALL}?limit=500")),
            "middle" => {
                let half = wires[0].get(&format!("{ALL}?limit={}", count / 2), METADATA).await?;
                let rest = pods::rest(&half).context("half of the pods are all")?;
                Asked::List(format!("{ALL}?limit=100&continue={rest}"))
            }
            "get" => Asked::Gets(format!("{COLLECTION}/{middle}")),
            "watch" => Asked::Watches(now_at(&wires[0], COLLECTION).await?),
            _ => {
                let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": middle});
                Asked::Tokens(json!({"spec": {"boundObjectRef": bound}}).to_string().into())
            }
        })
    }

    async fn once(&self, wires: &[Wire]) -> Result<()> {
        let many = |count: usize| wires.iter().flat_map(move |wire| std::iter::repeat_n(wire, count));
        match self {
            Asked::List(path) => drop(wires[0].count(path, JSON).await?),
            Asked::Gets(path) => drop(try_join_all(many(AT_ONCE).map(|wire| wire.count(path, JSON))).await?),
            Asked::Watches(after) => {
                let watch = async |wire: &Wire| {
                    let mut watch = wire.watch(COLLECTION, *after, "&timeoutSeconds=1").await?;
                    while watch.lines(|_| Ok(())).await? {}
                    anyhow::Ok(())
                };
                try_join_all(many(STREAMS).map(watch)).await?;
            }
            Asked::Tokens(body) => {
                let all = many(AT_ONCE).map(|wire| wire.write("POST", TOKEN, JSON, body.clone()));
                try_join_all(all).await?;
            }
        }
        Ok(())
    }
}
