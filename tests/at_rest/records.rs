//! A store from which something was cut.

use std::fs;

use anyhow::{Context, Result, ensure};
use tokensmith_tests::server::ADMIN;

use crate::place::{CONFIG_MAPS, Place, jti, mint, review};

/// What is left of a ring.
type Cut = fn(&[u8]) -> Vec<u8>;

#[tokio::test]
async fn without_its_ring_nothing_starts() -> Result<()> {
    let base = Place::new().await?;
    let place = base.copy()?;
    place.change_ring(|_| None).await?;
    let says = "the key ring is missing from a store that is in use: put the store back from a backup";
    let line = place.refused(&[]).await?;
    ensure!(line.contains(says), "{line}");
    // Nor is a sealing key made that would belong to nothing.
    fs::remove_file(place.sealing_key())?;
    let line = place.refused(&[]).await?;
    ensure!(line.contains(says), "{line}");

    let cuts: [Cut; 4] = [
        |ring| ring[..ring.len() / 2].to_vec(),
        |ring| ring[..ring.len() - 1].to_vec(),
        |_| Vec::new(),
        |_| b"{}".to_vec(),
    ];
    for cut in cuts {
        let place = base.copy()?;
        place.change_ring(|ring| Some(cut(ring))).await?;
        let line = place.refused(&[]).await?;
        ensure!(line.contains("the key ring cannot be used"), "{line}");
    }
    // A key whose private half was cut away, and one that was cut away whole.
    let place = base.copy()?;
    let drop_half = |ring: &[u8]| {
        let mut ring: serde_json::Value = serde_json::from_slice(ring).ok()?;
        ring["keys"][0].as_object_mut()?.remove("sealed");
        Some(ring.to_string().into_bytes())
    };
    place.change_ring(drop_half).await?;
    let line = place.refused(&[]).await?;
    ensure!(line.contains("needs one and has none"), "{line}");
    let place = base.copy()?;
    let drop_active = |ring: &[u8]| {
        let mut ring: serde_json::Value = serde_json::from_slice(ring).ok()?;
        ring["keys"].as_array_mut()?.retain(|k| k["id"] != base.active);
        Some(ring.to_string().into_bytes())
    };
    place.change_ring(drop_active).await?;
    let line = place.refused(&[]).await?;
    ensure!(line.contains("not exactly one active key"), "{line}");
    base.works().await
}

#[tokio::test]
async fn a_lost_journal_record_is_told() -> Result<()> {
    let place = Place::new().await?;
    // So that the ring does not hold it any more: whatever is written next drops what is in the journal.
    place.works().await?;
    place.cut("/tokensmith/keys/journal/00000000000000000001").await?;
    let server = place.start().await?;
    let done = place.tool(&["keys", "rotate", "--force", "--reason=a test"])?;
    ensure!(done.status.success(), "{done:?}");
    let done = place.tool(&["keys", "rotate", "--force", "--reason=a test"])?;
    ensure!(done.status.success(), "{done:?}");
    server.stop().await?;
    place.cut("/tokensmith/keys/journal/00000000000000000003").await?;

    let server = place.start().await?;
    let history = place.tool(&["keys", "history"])?;
    let (said, warned) = (String::from_utf8(history.stdout)?, String::from_utf8(history.stderr)?);
    ensure!(history.status.success() && said.contains("FORCED: a test"), "{said}{warned}");
    ensure!(warned.contains("Warning: the store has lost these records: "), "{warned}");
    ensure!(warned.trim_end().ends_with('3'), "{warned}");
    server.stop().await?;
    place.works().await
}

#[tokio::test]
async fn a_lost_object_is_gone_and_nothing_else() -> Result<()> {
    let place = Place::new().await?;
    place.cut("/registry/configmaps/default/there").await?;
    let server = place.start().await?;
    let client = server.client()?;
    let gone = client.send("GET", &format!("{CONFIG_MAPS}/there"), Some(ADMIN), &[], None).await?;
    ensure!(gone.status == 404, "{gone:?}");
    client.get(CONFIG_MAPS, Some(ADMIN)).await?;
    server.stop().await?;
    place.works().await
}

/// What the ledger has lost is not listed; tokens are signed and checked without it.
#[tokio::test]
async fn a_lost_issue_record_is_not_listed() -> Result<()> {
    let place = Place::new().await?;
    let jti = jti(&place.token)?;
    let listed = |place: &Place| -> Result<(bool, String)> {
        let done = place.tool(&["token", "list", "--audience=vault"])?;
        Ok((done.status.success(), String::from_utf8([done.stdout, done.stderr].concat())?))
    };
    let server = place.start().await?;
    ensure!(listed(&place)?.1.contains(&jti), "it is not there to begin with");
    server.stop().await?;
    let record = ledger(&place, |tree| {
        let found = tree.scan_prefix("i").filter_map(Result::ok).find(|(k, _)| k.ends_with(jti.as_bytes()));
        let (key, value) = found.context("no record")?;
        tree.remove(&key)?;
        Ok((key, value))
    })?;
    let server = place.start().await?;
    let (worked, said) = listed(&place)?;
    ensure!(worked && !said.contains(&jti), "{said}");
    server.stop().await?;
    place.works().await?;

    // Half of it is nothing, and told: who is revoked by it is found all the same.
    ledger(&place, |tree| Ok(tree.insert(&record.0, &record.1[..record.1.len() / 2])?))?;
    let server = place.start().await?;
    let (worked, said) = listed(&place)?;
    ensure!(worked && !said.contains(&jti), "{said}");
    ensure!(
        server.log().contains("issue records that cannot be read are left out"),
        "the log does not say it"
    );
    let client = server.client()?;
    ensure!(review(&client, &mint(&client).await?).await? && review(&client, &place.token).await?);
    // Nor does it keep its token from being revoked.
    let done = place.tool(&["token", "revoke", &jti])?;
    ensure!(done.status.success(), "{done:?}");
    ensure!(!review(&client, &place.token).await?, "a revoked token is accepted");
    server.stop().await?;
    let server = place.start().await?;
    ensure!(!review(&server.client()?, &place.token).await?, "a revoked token is accepted after a restart");
    server.stop().await
}

/// What is revoked must not be accepted again because the record is damaged.
#[tokio::test]
async fn a_damaged_revocation_keeps_the_server_from_starting() -> Result<()> {
    let place = Place::new().await?;
    ledger(&place, |tree| {
        let (key, value) = tree.scan_prefix("r").next().context("no revocation")??;
        Ok(tree.insert(key, &value[..value.len() / 2])?)
    })?;
    let line = place.says_at_the_start(&[])?;
    ensure!(line.contains("store is damaged: the revocation "), "{line}");
    ensure!(
        line.contains("; whole: the key ring, ") && line.contains("`tokensmith store salvage "),
        "{line}"
    );
    Ok(())
}

/// Does something to the ledger's tree, past everything that guards it.
fn ledger<T>(place: &Place, work: impl FnOnce(&sled::Tree) -> Result<T>) -> Result<T> {
    let db = sled::open(place.path("data/store/sled"))?;
    let done = work(&db.open_tree("ledger")?)?;
    db.flush()?;
    Ok(done)
}
