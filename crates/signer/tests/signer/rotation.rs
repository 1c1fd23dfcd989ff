//! Rotations, seen by API servers that cache the keys.

use std::time::Duration as StdDuration;

use anyhow::{Context, Result, ensure};
use time::{Duration, OffsetDateTime};
use tokensmith_core::Clock;
use tokensmith_core::keys::{Algorithm, Cause, Command, Keys};

use crate::api_server::{ApiServer, Client};
use crate::world::{SIGNS_FOR, START, World, until};

const STEP: StdDuration = StdDuration::from_secs(30);
const LIFE: i64 = 3600;
/// How many rotations are seen through: the first key comes, signs, retires and goes.
const ROTATIONS: usize = 2;

/// What was seen.
#[derive(Default)]
struct Seen {
    signed: usize,
    verified: usize,
    unknown: usize,
    hints: Vec<i64>,
    /// When the keys changed, as the signer said.
    told: Vec<OffsetDateTime>,
    /// When they did.
    changed: Vec<OffsetDateTime>,
    /// When another key began to sign, and since when it had been published.
    rotated: Vec<(OffsetDateTime, OffsetDateTime)>,
    first_is_gone: bool,
}

/// The published keys, in no order.
fn published(keys: &Keys) -> Vec<String> {
    let mut ids: Vec<_> = keys.current().published().iter().map(|k| k.key_id().to_owned()).collect();
    ids.sort();
    ids
}

/// From the first key on, over some rotations, until the first key is long gone.
async fn rotate(v1: bool, refresh: Option<Duration>) -> Result<Seen> {
    let world = World::new(Algorithm::ES256, Some(LIFE)).await?;
    let rotating = world.keys.clone();
    let rotation = tokio::spawn(async move { rotating.run().await });
    until("a spare is published", || world.keys.current().published().len() == 2).await?;
    let client = if v1 { Client::v1(&world.socket).await? } else { Client::v1alpha1(&world.socket).await? };
    let mut api = ApiServer::start(client, refresh, START).await?;
    let first = world.keys.current().active_id().to_owned();
    let (mut active, mut ids) = (first.clone(), published(&world.keys));
    let mut seen = Seen { told: vec![api.timestamp], changed: vec![START], ..Seen::default() };
    let mut living: Vec<(i64, String)> = Vec::new();
    let end = START + SIGNS_FOR * ROTATIONS.try_into()? + Duration::minutes(30);
    while world.clock.now() < end {
        world.clock.advance(STEP);
        let now = world.clock.now();
        until("what is due is done", || world.keys.next_change().is_none_or(|at| at > now)).await?;
        let set = world.keys.current();
        if set.active_id() != active {
            active = set.active_id().to_owned();
            let since = set.infos().iter().find(|k| k.id == active).and_then(|k| k.published_at);
            seen.rotated.push((now, since.context("it is published")?));
        }
        if published(&world.keys) != ids {
            ids = published(&world.keys);
            seen.changed.push(now);
        }
        api.tick(now).await?;
        seen.hints.push(api.hint);
        if seen.told.last() != Some(&api.timestamp) {
            seen.told.push(api.timestamp);
        }
        living.retain(|(exp, _)| *exp > now.unix_timestamp());
        let token = api.token(&world.payload(LIFE)).await?;
        seen.signed += 1;
        let kid = api.verify(&token, now).await?;
        ensure!(kid == active, "signed by another key than the active one");
        if seen.signed.is_multiple_of(20) {
            living.push((now.unix_timestamp() + LIFE, token));
            for (_, token) in &living {
                api.verify(token, now).await.context("a living token is refused")?;
                seen.verified += 1;
            }
        }
    }
    seen.first_is_gone = !ids.contains(&first);
    rotation.abort();
    seen.unknown = api.unknown;
    Ok(seen)
}

#[tokio::test]
async fn no_api_server_meets_an_unknown_key() -> Result<()> {
    for v1 in [true, false] {
        let seen = rotate(v1, None).await?;
        ensure!(seen.rotated.len() == ROTATIONS && seen.first_is_gone, "{:?}", seen.rotated);
        let in_time = |(signs, published): &(OffsetDateTime, OffsetDateTime)| {
            *signs - *published >= Duration::seconds(3720)
        };
        ensure!(seen.rotated.iter().all(in_time), "published before it signs: {:?}", seen.rotated);
        ensure!(seen.unknown == 0, "{} unknown keys", seen.unknown);
        ensure!(seen.hints.iter().all(|hint| (1..=300).contains(hint)));
        ensure!(seen.hints.iter().any(|hint| *hint < 300), "a known change is looked for when it comes");
        // Exactly when a key came or went, and no other time.
        ensure!(seen.told == seen.changed, "{:?} instead of {:?}", seen.told, seen.changed);
        println!("{} signed, {} verified, 0 unknown keys", seen.signed, seen.verified);
    }
    Ok(())
}

/// The same simulation fails when the hint is not kept: it can tell.
#[tokio::test]
async fn an_api_server_that_ignores_the_hint_does() -> Result<()> {
    let seen = rotate(true, Some(Duration::hours(9))).await?;
    ensure!(seen.unknown > 0, "nothing was missed");
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_gone_and_dated() -> Result<()> {
    let world = World::new(Algorithm::ES256, Some(LIFE)).await?;
    let rotating = world.keys.clone();
    let rotation = tokio::spawn(async move { rotating.run().await });
    until("a spare is published", || world.keys.current().published().len() == 2).await?;
    let mut api = ApiServer::start(Client::v1(&world.socket).await?, None, world.clock.now()).await?;
    let stolen = api.token(&world.payload(LIFE)).await?;
    let first = api.verify(&stolen, world.clock.now()).await?;

    world.clock.advance(StdDuration::from_secs(3720));
    let cause = Cause { by: "admin".into(), reason: "stolen".into(), forced: false, exception: None };
    world.keys.command(&Command::Revoke { id: first.clone(), fresh: false }, &cause).await?;
    until("a new spare is published", || world.keys.current().published().len() == 2).await?;
    api.fetch(world.clock.now()).await?;
    ensure!(api.ids().len() == 2 && !api.ids().contains(&first.as_str()));
    ensure!(api.timestamp == world.clock.now());
    ensure!(api.verify(&stolen, world.clock.now()).await.is_err());
    rotation.abort();
    Ok(())
}
