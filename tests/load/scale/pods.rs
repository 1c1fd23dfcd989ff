//! Pods as clusters have them: an account, a node, labels, a projected volume that admission adds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::json;
use tokensmith_tests::Server;
use tokensmith_tests::server::pause;
use tokio::task::JoinSet;

use super::wire::{JSON, Wire, text, wires};

/// Where they are.
pub const ALL: &str = "/api/v1/pods";
pub const COLLECTION: &str = "/api/v1/namespaces/default/pods";
/// The JSON of each, without its `resourceVersion`; a third of it says who manages what.
pub const BYTES: usize = 2400;
/// They are spread over so many nodes, and apps.
const NODES: usize = 200;
const APPS: usize = 100;
/// Connections that create, and how many pods each creates at a time.
const WIRES: usize = 4;
const EACH: usize = 32;

/// What makes them all of one length.
#[derive(Clone)]
pub struct Pods {
    padding: usize,
}

impl Pods {
    /// Asks the server how long its answer is.
    pub async fn of(wire: &Wire) -> Result<Self> {
        let (path, body) = (format!("{COLLECTION}?dryRun=All"), Pods { padding: 0 }.json(0));
        let mut answer = wire.write("POST", &path, JSON, body.clone()).await;
        // A server that has just begun may not have made the namespace's account yet.
        for _ in 0..100 {
            if answer.is_ok() {
                break;
            }
            pause(Duration::from_millis(50)).await;
            answer = wire.write("POST", &path, JSON, body.clone()).await;
        }
        let answer = answer?;
        let padding = BYTES.checked_sub(answer.trim_ascii_end().len());
        Ok(Pods { padding: padding.context("a pod is longer than it is to be")? })
    }

    /// Creates those of these numbers, many at a time.
    pub async fn fill(&self, server: &Server, from: usize, to: usize) -> Result<()> {
        let next = Arc::new(AtomicUsize::new(from));
        let mut workers = JoinSet::new();
        for wire in wires(server, WIRES).await? {
            for _ in 0..EACH {
                let (wire, next, pods) = (wire.clone(), next.clone(), self.clone());
                workers.spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= to {
                            return anyhow::Ok(());
                        }
                        wire.write("POST", COLLECTION, JSON, pods.json(number)).await?;
                    }
                });
            }
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        Ok(())
    }

    fn json(&self, number: usize) -> Bytes {
        // No two alike, so that nothing can be kept once for all.
        let noise = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let padding = format!("{noise:016x}").repeat(self.padding.div_ceil(16));
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name(number),
                "labels": {"app": app(number), "pod-template-hash": format!("{:08x}", noise >> 40)},
                "annotations": {"example.com/padding": &padding[..self.padding]},
            },
            "spec": {
                "nodeName": node(number),
                "containers": [{
                    "name": "main", "image": "registry.example.com/app:v1",
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                }],
            },
        });
        pod.to_string().into()
    }
}

/// Of a pod.
pub fn name(number: usize) -> String {
    format!("pod-{number:06}")
}

/// The node that it is on.
pub fn node(number: usize) -> String {
    format!("node-{:04}", number % NODES)
}

/// Its label.
pub fn app(number: usize) -> String {
    format!("app-{:02}", number % APPS)
}

/// Where a page's list goes on, for a query.
pub fn rest(page: &[u8]) -> Option<String> {
    // It is in the head of the list, before the items.
    let head = &page[..page.len().min(2048)];
    text(head, "continue").filter(|token| !token.is_empty()).map(|token| token.replace('=', "%3D"))
}

/// 20,000 for 20000.
pub fn thousands(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}
