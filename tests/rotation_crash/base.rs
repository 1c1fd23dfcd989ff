//! Where each walk begins: a data directory that is at rest, with keys in several phases and tokens of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use serde_json::json;
use tempfile::TempDir;
use tokensmith_core::store::Store;
use tokensmith_store::{Options, SledStore};
use tokensmith_tests::Server;
use tokensmith_tests::server::{ADMIN, copy_dir, pause};

use crate::aftermath::{active, ids, mint, until_settled};
use crate::{ARGS, KEYS, REASON};

/// A data directory, and what is known of it.
pub struct Base {
    dir: TempDir,
    /// The store's revision.
    pub revision: u64,
    /// The key that signs; empty if there is none.
    pub active: String,
    /// All keys that are published.
    pub published: Vec<String>,
    /// Tokens, each with its key.
    pub tokens: Vec<(String, String)>,
}

impl Base {
    /// Nothing at all: a first start is to come.
    pub fn empty() -> Result<Self> {
        let (published, tokens) = Default::default();
        Ok(Base { dir: tempfile::tempdir()?, revision: 0, active: String::new(), published, tokens })
    }

    /// A retired key, an active one and a spare; the first two have signed.
    pub async fn new() -> Result<Self> {
        let mut base = Base::empty()?;
        let server = Server::start_in(base.dir.path(), &ARGS, &[]).await?;
        let client = server.client()?;
        let mut before = String::new();
        for _ in 0..2 {
            let keys = until_settled(&client, |active| active != before).await?;
            before = active(&keys)?;
            base.tokens.push((mint(&client).await?, before.clone()));
            if base.tokens.len() == 1 {
                let body = json!({ "force": true, "reason": format!("before {REASON}") });
                client.post(&format!("{KEYS}/rotate"), Some(ADMIN), &body).await?;
            }
        }
        base.published = ids(&client.get(KEYS, Some(ADMIN)).await?)?;
        base.active = before;
        server.stop().await?;
        base.revision =
            SledStore::open(&base.dir.path().join("data/store"), Options::default())?.revision().await?;
        Ok(base)
    }

    /// A copy to work on.
    pub fn copy(&self) -> Result<TempDir> {
        self.copy_of(self.dir.path())
    }

    /// A copy of what has become of one.
    pub fn copy_of(&self, dir: &Path) -> Result<TempDir> {
        let copy = tempfile::tempdir()?;
        copy_dir(dir, copy.path())?;
        Ok(copy)
    }

    /// Waits until the keys are at least so many seconds old.
    pub async fn age(&self, seconds: u64) {
        pause(Duration::from_secs(seconds)).await;
    }
}

/// How many writes of the ring and its journal there were since a revision.
pub async fn written(dir: impl AsRef<Path>, since: u64) -> Result<usize> {
    let path = dir.as_ref().join("data/store");
    if !path.exists() {
        return Ok(0);
    }
    let store = SledStore::open(&path, Options::default())?;
    let until = store.revision().await?;
    let mut changes = store.watch("/tokensmith/keys/", since).await.context("the history is too short")?;
    let (mut count, mut at) = (0, since);
    // All that there were are on disk.
    while at < until {
        let told = changes.next().await.context("the history ends")??;
        count += told.changes.len();
        at = told.revision;
    }
    Ok(count)
}
