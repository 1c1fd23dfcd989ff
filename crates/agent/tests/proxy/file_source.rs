//! Tokens from a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokensmith_agent::source::{TokenError, TokenSource};
use tokensmith_core::clock::ManualClock;

use crate::world::*;

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    source: TokenSource,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(START));
    let source = TokenSource::file(folder.path().join("token"), clock.clone());
    Place { folder, clock, source }
}

impl Place {
    fn write(&self, content: &str) {
        replace(&self.folder.path().join("token"), content);
    }

    async fn token(&self) -> Result<String, TokenError> {
        let token = self.source.token(None).await?;
        Ok(token.token.expose_str().unwrap().to_owned())
    }
}

/// Another inode, as everyone who keeps a token fresh does it.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn a_replaced_file_is_seen_within_a_second() {
    let place = place();
    place.write(&format!("{}\n", jwt("a", START + HOUR, 1)));
    assert_eq!(place.token().await.unwrap(), jwt("a", START + HOUR, 1));
    place.write(&jwt("a", START + HOUR, 2));
    place.clock.advance(Duration::from_millis(900));
    assert_eq!(
        place.token().await.unwrap(),
        jwt("a", START + HOUR, 1),
        "looked at no more than once a second"
    );
    place.clock.advance(Duration::from_millis(100));
    assert_eq!(place.token().await.unwrap(), jwt("a", START + HOUR, 2));
    assert_eq!(place.source.status()[0].refreshes, 2);
}

#[tokio::test]
async fn the_kubelets_links_are_followed() {
    let place = place();
    let folder = place.folder.path();
    for (name, id) in [("..1", 1), ("..2", 2)] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("token"), jwt("a", START + HOUR, id)).unwrap();
    }
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/token", folder.join("token")).unwrap();
    assert_eq!(place.token().await.unwrap(), jwt("a", START + HOUR, 1));
    symlink("..2", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    place.clock.advance(SECOND);
    assert_eq!(place.token().await.unwrap(), jwt("a", START + HOUR, 2));
}

#[tokio::test]
async fn a_file_changed_in_place_is_read_after_half_a_minute_at_the_latest() {
    let place = place();
    let path = place.folder.path().join("token");
    fs::write(&path, jwt("a", START + HOUR, 1)).unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    place.token().await.unwrap();
    // Same inode, same size, same time.
    fs::write(&path, jwt("a", START + HOUR, 2)).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    place.clock.advance(29 * SECOND);
    assert_eq!(place.token().await.unwrap(), jwt("a", START + HOUR, 1));
    place.clock.advance(SECOND);
    assert_eq!(place.token().await.unwrap(), jwt("a", START + HOUR, 2));
}

#[tokio::test]
async fn the_last_good_token_is_served_while_it_is_good() {
    let place = place();
    let good = jwt("a", START + HOUR, 1);
    place.write(&good);
    place.token().await.unwrap();
    let path = place.folder.path().join("token");
    let large = "a".repeat((64 << 10) + 1);
    for content in [None, Some(""), Some(" \n"), Some("two words"), Some(large.as_str())] {
        match content {
            Some(content) => place.write(content),
            None => fs::remove_file(&path).unwrap(),
        }
        place.clock.advance(SECOND);
        assert_eq!(place.token().await.unwrap(), good);
        assert!(place.source.status()[0].trouble.is_some(), "{:?}", content.map(str::len));
        place.source.healthy().await.unwrap();
    }
    fs::remove_file(&path).unwrap();
    place.clock.advance(HOUR);
    let error = place.token().await.unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(place.source.healthy().await.is_err());
    place.write(&jwt("a", START + 2 * HOUR, 2));
    place.clock.advance(SECOND);
    assert_eq!(place.token().await.unwrap(), jwt("a", START + 2 * HOUR, 2));
    assert!(place.source.status()[0].trouble.is_none());
}

#[tokio::test]
async fn a_good_token_is_not_given_up_for_an_expired_one() {
    let place = place();
    place.write(&jwt("a", START + HOUR, 1));
    place.token().await.unwrap();
    place.write(&jwt("a", START - HOUR, 2));
    place.clock.advance(SECOND);
    assert_eq!(place.token().await.unwrap(), jwt("a", START + HOUR, 1));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_without_showing_it() {
    let place = place();
    let path = place.folder.path().join("token");
    assert!(place.token().await.unwrap_err().to_string().contains("No such file"));
    let large = "s3cret".repeat(20_000);
    for (content, words) in [
        ("", "empty"),
        ("s3cret s3cret", "characters"),
        ("s3cret\u{e4}", "characters"),
        (large.as_str(), "more than 65536 bytes"),
    ] {
        place.write(content);
        place.clock.advance(SECOND);
        let error = place.token().await.unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("s3cret") && !error.contains('\n'), "{error}");
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    place.clock.advance(SECOND);
    assert!(place.token().await.unwrap_err().to_string().contains("not a file"));
    fs::remove_dir(&path).unwrap();
    place.write(&jwt("a", START - HOUR, 1));
    place.clock.advance(SECOND);
    let error = place.token().await.unwrap_err();
    let (file, error) = (path.display(), error.to_string());
    let words = format!(
        "the token in {file} has expired at 2026-01-01T09:00:00Z: whoever keeps the file does not renew it"
    );
    assert_eq!(error, words);
    assert_eq!(place.source.healthy().await.unwrap_err().to_string(), words);
}

#[tokio::test]
async fn a_file_has_tokens_for_its_audiences_alone() {
    let place = place();
    place.write(&jwt("https://api.example.com", START + HOUR, 1));
    assert!(place.source.token(Some("https://api.example.com")).await.is_ok());
    assert!(place.source.token(Some("")).await.is_ok());
    let error = place.source.token(Some("vault")).await.unwrap_err();
    assert!(matches!(error, TokenError::Audience { .. }), "{error}");
    // Of an opaque one nobody knows.
    place.write("opaque-token");
    place.clock.advance(SECOND);
    assert_eq!(place.token().await.unwrap(), "opaque-token");
    assert!(place.source.token(Some("vault")).await.is_err());
}

#[tokio::test]
async fn a_rejected_token_is_looked_for_again_at_once_but_not_each_time() {
    let place = place();
    let path = place.folder.path().join("token");
    let same_size = |id| jwt("a", START + HOUR, id);
    fs::write(&path, same_size(1)).unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let token = place.source.token(None).await.unwrap();
    let disguised = |id| {
        fs::write(&path, same_size(id)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
    };
    disguised(2);
    assert_eq!(place.token().await.unwrap(), same_size(1));
    place.source.rejected(None, &token);
    assert_eq!(place.token().await.unwrap(), same_size(2));
    let second = place.source.token(None).await.unwrap();
    disguised(3);
    place.source.rejected(None, &second);
    assert_eq!(place.token().await.unwrap(), same_size(2), "within half a minute of the first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_miss_while_it_is_replaced() {
    let place = Arc::new(place());
    place.write(&jwt("a", START + HOUR, 0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let source = place.source.clone();
            tokio::spawn(async move {
                for _ in 0..2000 {
                    let token = source.token(Some("a")).await.unwrap();
                    assert!(token.token.expose_str().unwrap().starts_with("e30."));
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for n in 1..200 {
        place.write(&jwt("a", START + HOUR, n));
        place.clock.advance(SECOND);
        tokio::task::yield_now().await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
