//! A rotation, seen by API servers that cache the keys.

use std::time::Duration as StdDuration;

use anyhow::{Context, Result, ensure};
use time::{Duration, OffsetDateTime};
use tokensmith_core::Clock;
use tokensmith_core::keys::service::RING_KEY;
use tokensmith_core::keys::{Algorithm, KeyRing};
use tokensmith_core::store::Expect;

use crate::api_server::{ApiServer, Client};
use crate::world::{START, World, until};

const STEP: StdDuration = StdDuration::from_secs(30);
const LIFE: i64 = 3600;

/// What was seen in the life of two keys.
#[derive(Default)]
struct Seen {
    signed: usize,
    verified: usize,
    unknown: usize,
    hints: Vec<i64>,
    /// When the keys changed, as the signer said.
    changes: Vec<OffsetDateTime>,
    prepared: Option<OffsetDateTime>,
    promoted: Option<OffsetDateTime>,
    removed: Option<OffsetDateTime>,
}

/// From the first key alone, over the rotation, until the second one is alone.
async fn rotate(v1: bool, refresh: Option<Duration>) -> Result<Seen> {
    let world = World::new(Algorithm::ES256, Some(LIFE)).await?;
    let rotating = world.keys.clone();
    let rotation = tokio::spawn(async move { rotating.run().await });
    let client = if v1 { Client::v1(&world.socket).await? } else { Client::v1alpha1(&world.socket).await? };
    let mut api = ApiServer::start(client, refresh, START).await?;
    let first = world.keys.current().active_id().to_owned();
    let mut seen = Seen { changes: vec![api.timestamp], ..Seen::default() };
    let mut living: Vec<(i64, String)> = Vec::new();
    for step in 0..2000 {
        world.clock.advance(STEP);
        let now = world.clock.now();
        if step == 20 {
            world.ask_for(Algorithm::ES384).await?;
            until("the second key is published", || world.keys.current().published().len() == 2).await?;
            seen.prepared = Some(now);
        }
        until("what is due is done", || world.keys.next_change().is_none_or(|at| at > now)).await?;
        let set = world.keys.current();
        if set.active_id() != first {
            seen.promoted.get_or_insert(now);
            if set.published().len() == 1 {
                seen.removed.get_or_insert(now);
            }
        }
        api.tick(now).await?;
        seen.hints.push(api.hint);
        if seen.changes.last() != Some(&api.timestamp) {
            seen.changes.push(api.timestamp);
        }
        living.retain(|(exp, _)| *exp > now.unix_timestamp());
        let token = api.token(&world.payload(LIFE)).await?;
        seen.signed += 1;
        let kid = api.verify(&token, now).await?;
        ensure!(kid == set.active_id(), "signed by another key than the active one");
        if step % 20 == 0 {
            living.push((now.unix_timestamp() + LIFE, token));
            for (_, token) in &living {
                api.verify(token, now).await.context("a living token is refused")?;
                seen.verified += 1;
            }
        }
        if seen.removed.is_some_and(|at| now - at > Duration::minutes(10)) {
            break;
        }
    }
    rotation.abort();
    seen.unknown = api.unknown;
    Ok(seen)
}

#[tokio::test]
async fn no_api_server_meets_an_unknown_key() -> Result<()> {
    for v1 in [true, false] {
        let seen = rotate(v1, None).await?;
        let (prepared, promoted) = (seen.prepared.context("prepared")?, seen.promoted.context("promoted")?);
        let removed = seen.removed.context("removed")?;
        ensure!(promoted - prepared >= Duration::seconds(3660), "published before it signs");
        ensure!(seen.unknown == 0, "{} unknown keys", seen.unknown);
        ensure!(seen.hints.iter().all(|hint| (1..=300).contains(hint)));
        ensure!(seen.hints.iter().any(|hint| *hint < 300), "a known change is looked for when it comes");
        // A promotion changes nothing that is published.
        ensure!(seen.changes.len() == 3, "{:?}", seen.changes);
        ensure!(seen.changes[..2] == [START, prepared], "{:?}", seen.changes);
        let late = seen.changes[2] - removed;
        ensure!(!late.is_negative() && late <= Duration::seconds(30), "a removal is noticed late: {late}");
        println!("{} signed, {} verified, 0 unknown keys", seen.signed, seen.verified);
    }
    Ok(())
}

/// The same simulation fails when the hint is not kept: it can tell.
#[tokio::test]
async fn an_api_server_that_ignores_the_hint_does() -> Result<()> {
    let seen = rotate(true, Some(Duration::hours(3))).await?;
    ensure!(seen.unknown > 0, "nothing was missed");
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_gone_and_dated() -> Result<()> {
    let world = World::new(Algorithm::ES256, Some(LIFE)).await?;
    let rotating = world.keys.clone();
    let rotation = tokio::spawn(async move { rotating.run().await });
    let mut api = ApiServer::start(Client::v1(&world.socket).await?, None, world.clock.now()).await?;
    let stolen = api.token(&world.payload(LIFE)).await?;
    let first = api.verify(&stolen, world.clock.now()).await?;
    world.ask_for(Algorithm::ES384).await?;
    until("the second key is published", || world.keys.current().published().len() == 2).await?;
    world.clock.advance(StdDuration::from_secs(3660));
    until("it signs", || world.keys.current().active_id() != first).await?;
    api.fetch(world.clock.now()).await?;
    ensure!(api.ids().len() == 2, "the retired key verifies");

    world.clock.advance(StdDuration::from_secs(50));
    let entry = world.store.get(RING_KEY).await?.context("no ring")?;
    let mut ring = KeyRing::from_json(&entry.value)?;
    ring.revoke(&first, world.clock.now())?;
    world.store.put(RING_KEY, ring.to_json().into(), Expect::Unchanged(entry.revision)).await?;
    until("it is not published", || world.keys.current().published().len() == 1).await?;
    api.fetch(world.clock.now()).await?;
    ensure!(!api.ids().contains(&first.as_str()));
    ensure!(api.timestamp == world.clock.now());
    ensure!(api.verify(&stolen, world.clock.now()).await.is_err());
    rotation.abort();
    Ok(())
}
