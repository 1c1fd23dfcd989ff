//! What is there after a restore, what is not, and what can never come back silently.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use serde_json::json;
use tokensmith_tests::client::Lines;
use tokensmith_tests::server::{ADMIN, pause};

use crate::{CONFIG_MAPS, Home, accepted, config_map, mint, revision, revoke};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writers_is_one_revision_and_comes_back_with_keys_revocations_and_trust() -> Result<()>
{
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    let before = mint(&client).await?;
    client.post("/admin/v1/keys/rotate", Some(ADMIN), &json!({"force": true, "reason": "a test"})).await?;
    let (after, revoked) = (mint(&client).await?, mint(&client).await?);
    revoke(&client, json!({ "token": revoked })).await?;
    // Each writer writes its next object only when the last is there: none may be without those before it.
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (client, stop) = (client.clone(), stop.clone());
            tokio::spawn(async move {
                let mut written = 0;
                while !stop.load(Ordering::Acquire) {
                    config_map(&client, &format!("w{writer}-{written:05}"), &"x".repeat(2000)).await?;
                    if written % 3 == 2 {
                        let gone = format!("{CONFIG_MAPS}/w{writer}-{:05}", written - 1);
                        client.delete(&gone, Some(ADMIN)).await?;
                    }
                    written += 1;
                }
                anyhow::Ok(written)
            })
        })
        .collect();
    while config_map_count(&client).await? < 60 {
        pause(std::time::Duration::from_millis(20)).await;
    }
    let said = home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    ensure!(said.contains("of https://backup.example, begun "), "{said}");
    stop.store(true, Ordering::Release);
    for writer in writers {
        ensure!(writer.await?? > 10, "nobody has written");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(home.path().join("b"))?.permissions());
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    let last = config_map(&client, "later", "x").await?;
    let (lost, lost_revoked) = (mint(&client).await?, mint(&client).await?);
    revoke(&client, json!({ "token": lost_revoked })).await?;
    let ca = std::fs::read(home.data().join("ca.crt"))?;
    server.stop().await?;

    let back = Home::with_key_of(&home)?;
    std::fs::copy(home.path().join("b"), back.path().join("b"))?;
    let said = back.done(&["restore", "--from=b", "--data-dir=data"])?;
    for says in [
        "The data are from ",
        "tokens that were revoked later are good again",
        "keys that were revoked later",
        "watches begin anew",
    ] {
        ensure!(said.contains(says), "{says}: {said}");
    }
    let server = back.start().await?;
    let client = server.client()?;
    ensure!(std::fs::read(back.data().join("ca.crt"))? == ca, "clients trust another CA");
    for token in [&before, &after, &lost] {
        ensure!(accepted(&client, token).await?, "a token of before is refused");
    }
    ensure!(!accepted(&client, &revoked).await?, "what was revoked before the backup is good again");
    ensure!(accepted(&client, &lost_revoked).await?, "as the restore has said");
    // One revision: of each writer all up to some number, but for what it has deleted.
    let all = client.get(CONFIG_MAPS, Some(ADMIN)).await?;
    let names: Vec<_> = all["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| o["metadata"]["name"].as_str())
        .collect();
    ensure!(!names.contains(&"later"));
    for writer in 0..3 {
        let mine: Vec<usize> =
            names.iter().filter_map(|n| n.strip_prefix(&format!("w{writer}-"))?.parse().ok()).collect();
        let top = *mine.last().unwrap_or(&0);
        for n in 0..top {
            // Deleted after the next was written; the last of all may not be deleted yet.
            let there = mine.contains(&n);
            ensure!(
                there == (n % 3 != 1) || (n % 3 == 1 && n + 1 == top),
                "writer {writer}: {n} of {top}: {there}"
            );
        }
    }
    // No revision of before is given again, and a watch from there begins anew.
    let new = config_map(&client, "new", "x").await?;
    ensure!(new > last + 1_000_000_000, "{new} after {last}");
    for object in all["items"].as_array().into_iter().flatten() {
        ensure!(revision(object)? > last, "{object}");
    }
    let watch = format!("{CONFIG_MAPS}?watch=true&timeoutSeconds=5&resourceVersion={last}");
    let gone = client
        .send_lines("GET", &watch, Some(ADMIN), &[], None, Some(Lines { wanted: 1, without: None }))
        .await?;
    let text = String::from_utf8_lossy(&gone.body).into_owned();
    ensure!(gone.status == 200 && text.contains("\"code\":410"), "{} {text}", gone.status);
    server.stop().await
}

async fn config_map_count(client: &tokensmith_tests::Client) -> Result<usize> {
    Ok(client.get(CONFIG_MAPS, Some(ADMIN)).await?["items"].as_array().map_or(0, Vec::len))
}

#[tokio::test]
async fn a_revocation_after_a_restore_covers_what_the_lost_server_has_signed_since() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    let account = json!({"account": "default/default"});
    // Each raises the marks of what is signed then.
    for _ in 0..5 {
        revoke(&client, account.clone()).await?;
    }
    let lost = mint(&client).await?;
    server.stop().await?;
    let back = Home::with_key_of(&home)?;
    std::fs::copy(home.path().join("b"), back.path().join("b"))?;
    back.done(&["restore", "--from=b", "--data-dir=data"])?;
    let server = back.start().await?;
    let client = server.client()?;
    ensure!(accepted(&client, &lost).await?);
    for n in 0..10 {
        revoke(&client, account.clone()).await?;
        ensure!(!accepted(&client, &lost).await?, "a covered token is good again after {n} more revocations");
    }
    let new = mint(&client).await?;
    ensure!(accepted(&client, &new).await?);
    server.stop().await
}

#[tokio::test]
async fn all_tokens_of_before_can_be_refused_and_new_ones_are_good() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    let before = mint(&client).await?;
    home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    let lost = mint(&client).await?;
    revoke(&client, json!({ "token": lost })).await?;
    server.stop().await?;
    let back = Home::with_key_of(&home)?;
    std::fs::copy(home.path().join("b"), back.path().join("b"))?;
    let said = back.done(&["restore", "--from=b", "--data-dir=data", "--revoke-tokens"])?;
    ensure!(said.contains("all tokens that these keys signed before are refused"), "{said}");
    for _ in 0..2 {
        let server = back.start().await?;
        let client = server.client()?;
        ensure!(!accepted(&client, &before).await? && !accepted(&client, &lost).await?);
        let new = mint(&client).await?;
        ensure!(accepted(&client, &new).await?, "a new token is refused");
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_lost_store_has_revoked_since_is_taken_over() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    let (revoked, good) = (mint(&client).await?, mint(&client).await?);
    revoke(&client, json!({ "token": revoked })).await?;
    let keys = client.get("/admin/v1/keys", Some(ADMIN)).await?;
    let spare = keys["keys"].as_array().into_iter().flatten().find(|k| k["phase"] == "prepared");
    let spare = spare.and_then(|k| k["id"].as_str()).unwrap_or_default().to_owned();
    let forced = json!({"force": true, "reason": "a test"});
    client.post(&format!("/admin/v1/keys/{spare}/revoke"), Some(ADMIN), &forced).await?;
    // While it runs it is left alone.
    let line = home.refused(&["restore", "--from=b", "--data-dir=data", "--force"], 1)?;
    ensure!(line.contains("in use by another process"), "{line}");
    server.stop().await?;
    let line = home.refused(&["restore", "--from=b", "--data-dir=data"], 3)?;
    ensure!(line.contains("holds a store already"), "{line}");
    let said = home.done(&["restore", "--from=b", "--data-dir=data", "--force"])?;
    ensure!(said.contains("Taken over from the store that was there: 1 further revocation"), "{said}");
    ensure!(said.contains(&format!("key {spare} was revoked in the store that was there")), "{said}");
    let aside = std::fs::read_dir(home.data())?
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("store.before-"));
    ensure!(aside.count() == 1, "what was there is moved, not removed");
    let server = home.start().await?;
    let client = server.client()?;
    ensure!(!accepted(&client, &revoked).await? && accepted(&client, &good).await?);
    server.stop().await
}

#[tokio::test]
async fn without_its_sealing_key_a_backup_gives_objects_and_new_keys_by_force_alone() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    config_map(&client, "kept", "v").await?;
    let token = mint(&client).await?;
    home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    server.stop().await?;
    let back = Home::new()?;
    std::fs::copy(home.path().join("b"), back.path().join("b"))?;
    let line = back.refused(&["restore", "--from=b", "--data-dir=data"], 1)?;
    ensure!(line.contains("the sealing key is missing") && !back.data().exists(), "{line}");
    let line = back.refused(&["restore", "--from=b", "--data-dir=data", "--sealing-key-file=none"], 1)?;
    ensure!(line.contains("there is no none"), "{line}");
    std::fs::write(back.path().join("other"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")?;
    std::process::Command::new("chmod").arg("600").arg(back.path().join("other")).status()?;
    let line = back.refused(&["restore", "--from=b", "--data-dir=data", "--sealing-key-file=other"], 1)?;
    ensure!(line.contains("does not open signing key") && !back.data().exists(), "{line}");
    let said = back.done(&["restore", "--from=b", "--data-dir=data", "--without-keys"])?;
    ensure!(said.contains("There is no key ring"), "{said}");
    let line = back.refused(&["serve", "--data-dir=data", "--secure-port=0", crate::ARGS[0]], 1)?;
    ensure!(line.contains("the key ring is missing"), "{line}");
    let server =
        tokensmith_tests::Server::start_in(back.path(), &[crate::ARGS[0], crate::ARGS[1], "--force"], &[])
            .await?;
    let client = server.client()?;
    client.get(&format!("{CONFIG_MAPS}/kept"), Some(ADMIN)).await?;
    ensure!(!accepted(&client, &token).await?, "its key is gone");
    server.stop().await
}

/// What the store that is there has revoked is taken over, or it is said that it is not.
#[tokio::test]
async fn a_store_that_cannot_be_read_is_not_replaced_without_a_word() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    let token = mint(&client).await?;
    revoke(&client, json!({ "token": token })).await?;
    server.stop().await?;
    let (newer, part, killed) = (home.copy()?, home.copy()?, home.copy()?);
    let restore = ["restore", "--from=b", "--data-dir=data", "--force"];
    // Of a version that is not known.
    {
        let db = sled::open(newer.data().join("store/sled"))?;
        db.open_tree("tokensmith")?.insert(b"mformat", &99_u32.to_be_bytes())?;
        db.flush()?;
    }
    let line = newer.refused(&restore, 3)?;
    ensure!(line.contains("cannot be read") && line.contains("--revoke-tokens"), "{line}");
    let mut aside = std::fs::read_dir(newer.data())?.flatten();
    ensure!(!aside.any(|e| e.file_name().to_string_lossy().starts_with("store.before-")));
    let said = newer.done(&[&restore[..], &["--revoke-tokens"]].concat())?;
    ensure!(said.contains("Warning: ") && said.contains("is not taken over"), "{said}");
    // In part.
    std::fs::remove_file(part.data().join("store/anchor"))?;
    let said = part.done(&restore)?;
    ensure!(said.contains("can be read in part at most (its anchor is missing)"), "{said}");
    // One that was killed between its two renames has moved the store and not put another in its place.
    for moved in ["20250101T000000Z", "20260101T000000Z"] {
        let to = killed.data().join(format!("store.before-{moved}"));
        match moved.starts_with("2026") {
            true => std::fs::rename(killed.data().join("store"), to)?,
            false => std::fs::create_dir(to)?,
        }
    }
    let said = killed.done(&restore[..3])?;
    ensure!(said.contains("Taken over from the store that was there: 1 further revocation"), "{said}");
    for home in [&newer, &part, &killed] {
        let server = home.start().await?;
        ensure!(!accepted(&server.client()?, &token).await?, "what was revoked is good again");
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_groups_directory_and_an_older_format_are_backed_up_offline() -> Result<()> {
    let home = Home::new()?;
    let args = [crate::ARGS[0], crate::ARGS[1], "--allow-group-access"];
    tokensmith_tests::Server::start_in(home.path(), &args, &[]).await?.stop().await?;
    std::process::Command::new("chmod").args(["-R", "g+rwX", "data"]).current_dir(home.path()).status()?;
    let offline = ["backup", "--offline", "--data-dir=data", "--to=b"];
    let line = home.refused(&offline, 3)?;
    ensure!(line.contains("--allow-group-access"), "{line}");
    let said = home.done(&[&offline[..], &["--allow-group-access"]].concat())?;
    ensure!(said.contains("backed up to b") && !said.contains("format"), "{said}");
    // As version 1 left it.
    let old = Home::with_key_of(&home)?;
    std::fs::create_dir_all(old.data().join("store"))?;
    {
        let db = sled::open(old.data().join("store/sled"))?;
        let objects = db.open_tree("tokensmith")?;
        objects.insert(b"mformat", &1_u32.to_be_bytes())?;
        objects.insert(b"mrevision", &70_u64.to_be_bytes())?;
        objects.insert(b"d/registry/pods/a/b", [&69_u64.to_be_bytes()[..], b"{}"].concat())?;
        db.flush()?;
    }
    let chmod = ["-R", "go-rwx", "data"];
    std::process::Command::new("chmod").args(chmod).current_dir(old.path()).status()?;
    let said = old.done(&offline)?;
    ensure!(said.contains("Warning: ") && said.contains("is brought to format 2"), "{said}");
    ensure!(!old.done(&offline)?.contains("Warning: "));
    Ok(())
}
