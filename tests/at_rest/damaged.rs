//! A store whose files are not as they were written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tokensmith_tests::server::copy_dir;

use crate::place::Place;

/// What is done to the store's folder, given an earlier one of the same server.
type Damage = fn(&Path, &Path) -> Result<()>;

#[tokio::test]
async fn a_damaged_store_ends_the_start_in_one_line_and_stays_as_it_is() -> Result<()> {
    let base = Place::new().await?;
    let earlier = base.copy()?;
    base.works().await?;
    let damages: [(&str, Damage); 7] = [
        ("its database is missing", |store, _| empty(&store.join("sled"))),
        ("its anchor is missing", |store, _| Ok(fs::remove_file(store.join("anchor"))?)),
        ("its anchor cannot be read", |store, _| Ok(fs::write(store.join("anchor"), "")?)),
        ("and the anchor has seen ", |store, earlier| {
            empty(&store.join("sled"))?;
            copy_dir(&earlier.join("sled"), &store.join("sled"))
        }),
        ("", |store, earlier| {
            fs::copy(earlier.join("sled/db"), store.join("sled/db"))?;
            Ok(())
        }),
        ("", |store, _| cut(&store.join("sled/db"), 2)),
        ("", |store, _| cut(&store.join("sled/db"), 100)),
    ];
    for (says, damage) in damages {
        let place = base.copy()?;
        let store = place.path("data/store");
        damage(&store, &earlier.path("data/store"))?;
        let before = files(&place.path("data"))?;
        let line = place.says_at_the_start(&[])?;
        ensure!(line.contains("/store is damaged: ") && line.contains(says), "{line}");
        ensure!(line.contains("; whole: ") && line.contains("`tokensmith store check --data-dir "), "{line}");
        ensure!(line.contains("`tokensmith store salvage --data-dir "), "{line}");
        ensure!(files(&place.path("data"))? == before, "{says}: the start has changed files");
    }
    base.works().await
}

fn empty(dir: &Path) -> Result<()> {
    fs::remove_dir_all(dir)?;
    Ok(fs::create_dir(dir)?)
}

/// Leaves one part of so many.
fn cut(file: &Path, parts: u64) -> Result<()> {
    let file = fs::File::options().write(true).open(file)?;
    Ok(file.set_len(file.metadata()?.len() / parts)?)
}

/// Every file below a folder, but for the lock of the store.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if !path.ends_with("lock") {
            found.insert(path.clone(), fs::read(path)?);
        }
    }
    Ok(found)
}
