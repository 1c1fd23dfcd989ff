//! A backup that is not as it was written, and a restore that is cut off.

use std::fs;

use anyhow::{Result, ensure};
use tokensmith_tests::server::ADMIN;

use crate::{Home, accepted, config_map, mint, run};

#[tokio::test]
async fn a_damaged_backup_is_refused_before_anything_is_written() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    config_map(&client, "there", "v").await?;
    home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    server.stop().await?;
    let back = Home::with_key_of(&home)?;
    let whole = fs::read(home.path().join("b"))?;
    let mut seed = 1u64;
    let mut spread = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap_or(0) % below
    };
    // Every byte is tried in core's tests; here the command is.
    for n in 0..30 {
        let (mut bytes, at) = (whole.clone(), spread(whole.len()));
        match n % 3 {
            0 => bytes[at] ^= 1 << spread(8),
            1 => bytes.truncate(at),
            _ => bytes[at..(at + 512).min(whole.len())].fill(0),
        }
        if bytes == whole {
            continue;
        }
        fs::write(back.path().join("b"), &bytes)?;
        let line = back.refused(&["restore", "--from=b", "--data-dir=data"], 1)?;
        ensure!(line.contains("b cannot be used: "), "{n} at {at}: {line}");
        let left: Vec<_> = fs::read_dir(back.data())?.flatten().map(|e| e.file_name()).collect();
        ensure!(left == ["seal.key"], "{left:?}");
    }
    fs::write(back.path().join("b"), &whole)?;
    back.done(&["backup", "verify", "b", "--sealing-key-file=data/seal.key"])?;
    back.done(&["restore", "--from=b", "--data-dir=data", "--dry-run"])?;
    ensure!(!back.data().join("store").exists(), "a dry run has made something");
    Ok(())
}

/// Whenever a restore is killed, there is no store, and the next one is as if it had not been; or there is a whole one.
#[tokio::test]
async fn a_restore_that_is_killed_leaves_nothing_that_starts() -> Result<()> {
    let home = Home::new()?;
    let server = home.start().await?;
    let client = server.client()?;
    for n in 0..50 {
        config_map(&client, &format!("c{n}"), &"x".repeat(20_000)).await?;
    }
    let token = mint(&client).await?;
    home.done(&["backup", "--to=b", "--kubeconfig=kubeconfig"])?;
    server.stop().await?;
    let args = ["restore", "--from=b", "--data-dir=data"];
    let mut cut = 0;
    for millis in [1, 20, 40, 60, 80, 120, 160, 240] {
        let back = Home::with_key_of(&home)?;
        fs::copy(home.path().join("b"), back.path().join("b"))?;
        let mut command = std::process::Command::new(tokensmith_tests::server::binary()?);
        command.args(args).current_dir(back.path()).stdout(std::process::Stdio::null());
        let mut child = command.spawn()?;
        tokensmith_tests::server::pause(std::time::Duration::from_millis(millis)).await;
        child.kill()?;
        child.wait()?;
        let again = run(back.path(), &args)?;
        match again.status.code() {
            Some(0) => cut += 1,
            // It was done already.
            Some(3) => {}
            _ => anyhow::bail!("{again:?}"),
        }
        if millis == 40 {
            let server = back.start().await?;
            let client = server.client()?;
            ensure!(accepted(&client, &token).await?);
            let all = client.get(crate::CONFIG_MAPS, Some(ADMIN)).await?;
            ensure!(all["items"].as_array().map_or(0, Vec::len) > 50, "objects are missing");
            server.stop().await?;
        }
    }
    ensure!(cut > 0, "none was cut");
    // What a killed one leaves does not start.
    let back = Home::with_key_of(&home)?;
    fs::create_dir_all(back.data().join(".store.restoring"))?;
    fs::write(back.data().join(".store.restoring/sled"), "half")?;
    std::process::Command::new("chmod").args(["-R", "go-rwx"]).arg(back.data()).status()?;
    let line = back.refused(&["serve", "--data-dir=data", "--secure-port=0"], 3)?;
    ensure!(line.contains("its store is missing"), "{line}");
    fs::copy(home.path().join("b"), back.path().join("b"))?;
    back.done(&args)?;
    ensure!(!back.data().join(".store.restoring").exists());
    Ok(())
}
