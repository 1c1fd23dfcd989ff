//! What must hold after a restart, whatever happened before.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokensmith_tests::server::{ADMIN, pause};
use tokensmith_tests::{Client, Server};

use crate::base::Base;
use crate::{ARGS, Change, KEYS, REASON};

const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Starts on what is left, and looks at all of it.
pub async fn check(change: Change, base: &Base, dir: &Path) -> Result<()> {
    let server = Server::start_in(dir, &ARGS, &[]).await?;
    let client = server.client()?;
    let keys = journal(&client).await?;
    nothing_lost(&client, &keys, base).await?;
    signs(&client).await?;
    until_settled(&client, |_| true).await?;
    journal(&client).await?;
    if change == Change::Reseal {
        // What a crash has left half done is done by the next one: one sealing key, and it opens.
        change.ask(&client).await?;
        let sealing = fs::read_to_string(dir.join("data/seal.key"))?;
        ensure!(sealing.lines().count() == 1, "{} sealing keys are left", sealing.lines().count());
        server.stop().await?;
        let server = Server::start_in(dir, &ARGS, &[]).await?;
        return signs(&server.client()?).await;
    }
    server.stop().await
}

/// Waits until there is a key that signs, of which `fits` holds, and a spare.
pub async fn until_settled(client: &Client, fits: impl Fn(&str) -> bool) -> Result<Value> {
    for _ in 0..1000 {
        let keys = valid(client).await?;
        if fits(&active(&keys)?) && phases(&keys, "prepared").count() == 1 {
            return Ok(keys);
        }
        pause(Duration::from_millis(20)).await;
    }
    bail!("there is no spare, or the key that signs is not another one")
}

/// The id of the key that signs.
pub fn active(keys: &Value) -> Result<String> {
    let active = phases(keys, "active").next().context("no key signs")?;
    Ok(text(active, "id").to_owned())
}

/// The ids of all keys.
pub fn ids(keys: &Value) -> Result<Vec<String>> {
    let keys = keys["keys"].as_array().context("no keys")?;
    Ok(keys.iter().map(|key| text(key, "id").to_owned()).collect())
}

/// A new token.
pub async fn mint(client: &Client) -> Result<String> {
    let reply = client.post(TOKEN, Some(ADMIN), &json!({})).await?;
    Ok(reply["status"]["token"].as_str().context("no token")?.to_owned())
}

/// The ring, if it is in order.
async fn valid(client: &Client) -> Result<Value> {
    let keys = client.get(KEYS, Some(ADMIN)).await?;
    ensure!(keys.get("problem").is_none(), "{keys}");
    let active: Vec<_> = phases(&keys, "active").collect();
    ensure!(active.len() == 1 && active[0]["default"] == true, "{keys}");
    ensure!(phases(&keys, "prepared").count() <= 1, "{keys}");
    Ok(keys)
}

/// The ring and its journal at one moment: a key that comes between the two questions is in one of them.
async fn ring_and_journal(client: &Client) -> Result<(Value, Value)> {
    let mut keys = valid(client).await?;
    for _ in 0..50 {
        let history = client.get(&format!("{KEYS}/history"), Some(ADMIN)).await?;
        let after = valid(client).await?;
        if phases_of(&keys) == phases_of(&after) {
            return Ok((keys, history));
        }
        keys = after;
    }
    bail!("the ring never rests: {keys}")
}

fn phases_of(keys: &Value) -> Vec<(&str, &str)> {
    let keys = keys["keys"].as_array().into_iter().flatten();
    keys.map(|key| (text(key, "id"), text(key, "phase"))).collect()
}

/// Numbers without a gap, and for each key a chain of changes that ends at what it is now. The ring then.
async fn journal(client: &Client) -> Result<Value> {
    let (keys, history) = ring_and_journal(client).await?;
    ensure!(history.get("missing").is_none(), "{history}");
    let (mut now, mut resealed) = (HashMap::new(), HashSet::new());
    for (at, entry) in history["changes"].as_array().context("no journal")?.iter().enumerate() {
        ensure!(entry["number"] == at as u64 + 1, "{history}");
        let (key, from, to) = (text(entry, "key"), text(entry, "from"), text(entry, "to"));
        ensure!(from == *now.get(key).unwrap_or(&"-"), "it was not {from}: {entry} in {history}");
        if to != "resealed" {
            now.insert(key, to);
        } else {
            // A second resealing is asked for only after this look.
            ensure!(entry["reason"] == REASON && resealed.insert(key), "{history}");
        }
    }
    now.retain(|_, phase| *phase != "removed");
    let there = keys["keys"].as_array().context("no keys")?;
    ensure!(there.len() == now.len(), "{keys} and {history}");
    for key in there {
        let told = now.get(text(key, "id")).map(|phase| phase.trim_end_matches(" to sign"));
        ensure!(told == Some(text(key, "phase")), "{key} and {history}");
    }
    Ok(keys)
}

/// Every key that was published still is, and its tokens verify; but for a revoked one.
async fn nothing_lost(client: &Client, keys: &Value, base: &Base) -> Result<()> {
    let set = client.get("/openid/v1/jwks", Some(ADMIN)).await?;
    let set: Vec<_> = set["keys"].as_array().context("no key set")?.iter().map(|k| text(k, "kid")).collect();
    let revoked: Vec<_> = phases(keys, "revoked").map(|k| text(k, "id")).collect();
    for id in &base.published {
        let (published, revoked) = (set.contains(&id.as_str()), revoked.contains(&id.as_str()));
        ensure!(published != revoked, "key {id}: published {published}, revoked {revoked}");
    }
    for (token, id) in &base.tokens {
        let good = review(client, token).await?;
        ensure!(good != revoked.contains(&id.as_str()), "a token of {id} is accepted: {good}");
    }
    Ok(())
}

async fn signs(client: &Client) -> Result<()> {
    let token = mint(client).await?;
    ensure!(review(client, &token).await?, "a new token is refused");
    Ok(())
}

async fn review(client: &Client, token: &str) -> Result<bool> {
    let reply = client.post(REVIEW, Some(ADMIN), &json!({"spec": {"token": token}})).await?;
    Ok(reply["status"]["authenticated"] == true)
}

fn phases<'a>(keys: &'a Value, phase: &'a str) -> impl Iterator<Item = &'a Value> {
    keys["keys"].as_array().into_iter().flatten().filter(move |key| key["phase"] == phase)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
