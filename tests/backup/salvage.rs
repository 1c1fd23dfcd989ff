//! `store check` and `store salvage`: what is said of a store, and what is saved of a damaged one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokensmith_tests::server::{ADMIN, copy_dir};

use crate::{CONFIG_MAPS, Home, accepted, config_map, mint, revision, revoke};

/// Every file below a folder but the lock, which names who looks.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => all.extend(files(&path)?),
            false if path.ends_with("store/lock") => {}
            false => drop(all.insert(path.clone(), fs::read(&path)?)),
        }
    }
    Ok(all)
}

#[tokio::test]
async fn a_whole_store_is_said_to_be_and_stays_as_it_is() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    config_map(&client, "there", "v").await?;
    let token = mint(&client).await?;
    revoke(&client, json!({ "token": token })).await?;
    let line = home.refused(&["store", "check", "--data-dir=data"], 1)?;
    ensure!(line.contains("in use by another process") && line.contains("tokensmith backup"), "{line}");
    server.stop().await?;
    let before = files(&home.data())?;
    let said = home.done(&["store", "check", "--data-dir=data"])?;
    for says in
        ["is whole (format 2", "2 keys; the sealing key opens them", "revocations     1", "configmaps"]
    {
        ensure!(said.contains(says), "{says}: {said}");
    }
    ensure!(files(&home.data())? == before, "a look has changed something");
    let line = home.refused(&["store", "check", "--data-dir=none"], 1)?;
    ensure!(line.contains("there is no store in none"), "{line}");
    Ok(())
}

#[tokio::test]
async fn what_is_whole_of_a_damaged_store_is_saved_and_starts() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    let mut last = 0;
    for n in 0..20 {
        last = config_map(&client, &format!("c{n:02}"), "v").await?;
    }
    let (token, revoked) = (mint(&client).await?, mint(&client).await?);
    revoke(&client, json!({ "token": revoked })).await?;
    server.stop().await?;
    // A record that does not verify: one value is changed past everything that guards it.
    let damaged = home.copy()?;
    {
        let db = sled::open(damaged.data().join("store/sled"))?;
        let tree = db.open_tree("tokensmith")?;
        let key = b"d/registry/configmaps/default/c07";
        let mut value = tree.get(key)?.context("no record")?.to_vec();
        let end = value.len() - 1;
        value[end] ^= 1;
        tree.insert(key, value)?;
        db.flush()?;
    }
    let before = files(&damaged.data())?;
    let line = damaged.refused(&["serve", "--data-dir=data", "--secure-port=0", crate::ARGS[0]], 1)?;
    ensure!(line.contains("damaged") && line.contains("tokensmith store check"), "{line}");
    let output = damaged.run(&["store", "check", "--data-dir=data"])?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(3) && said.contains("is DAMAGED"), "{said}");
    ensure!(said.contains("c07") && said.contains("store salvage --data-dir data"), "{said}");
    let said = damaged.done(&["store", "salvage", "--data-dir=data", "--to=new/data"])?;
    for says in [
        "the key ring",
        "1 revocation",
        "c07",
        "Also copied: ",
        "Start: tokensmith serve --data-dir new/data\n",
    ] {
        ensure!(said.contains(says), "{says}: {said}");
    }
    ensure!(files(&damaged.data())? == before, "the damaged store was changed");
    let line = damaged.refused(&["store", "salvage", "--data-dir=data", "--to=new/data"], 3)?;
    ensure!(line.contains("holds a store already"), "{line}");

    let saved = Home::new()?;
    copy_dir(&damaged.path().join("new"), saved.path())?;
    let server = saved.start().await?;
    let client = server.client()?;
    ensure!(accepted(&client, &token).await? && !accepted(&client, &revoked).await?);
    let all = client.get(CONFIG_MAPS, Some(ADMIN)).await?;
    let names: Vec<_> = all["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| o["metadata"]["name"].as_str())
        .collect();
    let mine = names.iter().filter(|name| name.starts_with('c')).count();
    ensure!(mine == 19 && !names.contains(&"c07"), "{names:?}");
    for object in all["items"].as_array().into_iter().flatten() {
        ensure!(revision(object)? > last + 1_000_000, "{object}");
    }
    server.stop().await
}

#[tokio::test]
async fn without_its_ring_a_saved_store_starts_by_force_alone() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    config_map(&server.client()?, "kept", "v").await?;
    server.stop().await?;
    {
        let db = sled::open(home.data().join("store/sled"))?;
        db.open_tree("tokensmith")?.remove(b"d/tokensmith/keys/ring")?;
        db.flush()?;
    }
    let output = home.run(&["store", "check", "--data-dir=data"])?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(3) && said.contains("key ring        missing"), "{said}");
    let said = home.done(&["store", "salvage", "--data-dir=data", "--to=new/data"])?;
    ensure!(said.contains("NO key ring") && said.contains("--data-dir new/data --force"), "{said}");
    let saved = Home::new()?;
    copy_dir(&home.path().join("new"), saved.path())?;
    let line = saved.refused(&["serve", "--data-dir=data", "--secure-port=0", crate::ARGS[0]], 1)?;
    ensure!(line.contains("the key ring is missing"), "{line}");
    let args = [crate::ARGS[0], crate::ARGS[1], "--force"];
    let server = tokensmith_tests::Server::start_in(saved.path(), &args, &[]).await?;
    server.client()?.get(&format!("{CONFIG_MAPS}/kept"), Some(ADMIN)).await?;
    server.stop().await
}

/// A ring that verifies and is not the last one: a key that was revoked since would sign by it again.
#[tokio::test]
async fn an_older_ring_is_not_saved_unless_it_is_asked_for() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let token = mint(&server.client()?).await?;
    server.stop().await?;
    let older = home.copy()?;
    let server = home.start().await?;
    let client = server.client()?;
    let key = active(&client.get("/admin/v1/keys", Some(ADMIN)).await?)?;
    let forced = json!({"force": true, "reason": "a test"});
    client.post(&format!("/admin/v1/keys/{key}/revoke"), Some(ADMIN), &forced).await?;
    server.stop().await?;
    let whole = home.copy()?;
    // Put back: the old database, beside the anchor of now; and no anchor at all.
    fs::remove_dir_all(home.data().join("store/sled"))?;
    copy_dir(&older.data().join("store/sled"), &home.data().join("store/sled"))?;
    fs::remove_file(whole.data().join("store/anchor"))?;
    let unsure = whole;
    for home in [&home, &unsure] {
        let output = home.run(&["store", "check", "--data-dir=data"])?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.code() == Some(3) && said.contains("--with-older-ring"), "{said}");
        ensure!(said.contains("NOT WHOLE: ") && said.contains("is or may be an older one"), "{said}");
        let line = home.refused(&["serve", "--data-dir=data", "--secure-port=0", crate::ARGS[0]], 1)?;
        ensure!(line.contains("whole: no key ring but one that may be older"), "{line}");
        let said = home.done(&["store", "salvage", "--data-dir=data", "--to=without/data"])?;
        ensure!(said.contains("NO key ring") && said.contains("--with-older-ring"), "{said}");
        let unknown = said.contains("its anchor is missing");
        ensure!(!unknown || said.contains("Revocations are or may be lost"), "{said}");
        let said =
            home.done(&["store", "salvage", "--data-dir=data", "--to=with/data", "--with-older-ring"])?;
        ensure!(said.contains("AN OLDER KEY RING") && said.contains(&key), "{said}");
        ensure!(said.contains("Warning: ") && said.contains("tokensmith keys revoke KID --force"), "{said}");
    }
    let (without, with) = (Home::new()?, Home::new()?);
    copy_dir(&home.path().join("without"), without.path())?;
    copy_dir(&home.path().join("with"), with.path())?;
    let line = without.refused(&["serve", "--data-dir=data", "--secure-port=0", crate::ARGS[0]], 1)?;
    ensure!(line.contains("the key ring is missing"), "{line}");
    let args = [crate::ARGS[0], crate::ARGS[1], "--force"];
    let server = tokensmith_tests::Server::start_in(without.path(), &args, &[]).await?;
    ensure!(!accepted(&server.client()?, &token).await?, "a key that was revoked is back");
    server.stop().await?;
    let server = with.start().await?;
    ensure!(accepted(&server.client()?, &token).await?, "it was asked for");
    server.stop().await
}

fn active(keys: &serde_json::Value) -> Result<String> {
    let key = keys["keys"].as_array().into_iter().flatten().find(|key| key["phase"] == "active");
    Ok(key.and_then(|key| key["id"].as_str()).context("no active key")?.to_owned())
}

/// A look that fails, on a full disk above all, leaves nothing that fills it more; another place can be given.
#[tokio::test]
async fn a_look_leaves_no_copy_and_makes_it_where_it_is_told() -> Result<()> {
    let home = Home::new()?;
    home.start().await?.stop().await?;
    let left = |dir: &Path| -> Result<Vec<_>> {
        Ok(fs::read_dir(dir)?.flatten().map(|e| e.file_name()).filter(|n| n != "lock").collect())
    };
    let store = home.data().join("store");
    let before = left(&store)?;
    let scratch = home.path().join("scratch");
    let line = home.refused(&["store", "check", "--data-dir=data", "--scratch=scratch"], 1)?;
    ensure!(line.contains("cannot use scratch"), "{line}");
    fs::create_dir(&scratch)?;
    home.done(&["store", "check", "--data-dir=data", "--scratch=scratch"])?;
    home.done(&["store", "salvage", "--data-dir=data", "--scratch=scratch", "--to=new/data"])?;
    ensure!(left(&scratch)?.is_empty() && left(&store)? == before);
    // What cannot be copied, wherever in the folder it comes.
    std::os::unix::fs::symlink("nothing", store.join("sled/z"))?;
    for args in [&[][..], &["--scratch=scratch"]] {
        let line = home.refused(&[&["store", "check", "--data-dir=data"], args].concat(), 1)?;
        ensure!(line.contains("--scratch DIR"), "{line}");
        ensure!(left(&scratch)?.is_empty() && left(&store)? == before, "a copy is left");
    }
    Ok(())
}
