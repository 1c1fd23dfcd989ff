//! sled, held at arm's length: the one place that calls it.
//!
//! What it cannot read, sled answers with a panic more often than with an error, on its own threads too, and an opening or
//! a closing may then never end. Here a panic becomes an error, said once and not as a crash; a database that has
//! panicked is not asked again, and not closed either.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock, mpsc};
use std::time::Duration;

use crate::closed::Said;

/// The database and its trees.
pub(crate) struct Database {
    /// Gone only while it is closed.
    trees: Option<Trees>,
    /// sled's own file.
    file: File,
    /// Whether it is one that is only looked at.
    copy: bool,
    /// What broke it.
    broken: OnceLock<String>,
    /// Whether it has ever said that something did not go.
    failed: AtomicBool,
    /// Where it says how it was left, if it does.
    said: Option<Said>,
}

/// What sled gives.
pub(crate) struct Trees {
    pub(crate) db: sled::Db,
    pub(crate) objects: sled::Tree,
    pub(crate) ledger: sled::Tree,
}

/// Why the database did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// It broke off: what it stands on is not as it was written.
    #[error("the database broke off: {0}")]
    Broken(String),
    /// It does not come to an end.
    #[error("the database does not open or close within {0:?}: the disk is slow or does not answer")]
    Hangs(Duration),
    /// It says so.
    #[error(transparent)]
    Sled(#[from] sled::Error),
}

impl Database {
    /// Opens the one in `dir`, making it if there is none.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Fault> {
        Self::begin(dir, cache_bytes, false)
    }

    /// Opens a copy that is only looked at. It is removed when it is closed, and not brought to disk for that: of a large
    /// store that would take longer than reading it.
    pub(crate) fn open_copy(dir: &Path, cache_bytes: u64) -> Result<Self, Fault> {
        Self::begin(dir, cache_bytes, true)
    }

    fn begin(dir: &Path, cache_bytes: u64, copy: bool) -> Result<Self, Fault> {
        let limit = SHORTEST.saturating_add(Duration::from_millis(size(dir) >> 13));
        let (done, answer) = mpsc::channel();
        let path: PathBuf = dir.into();
        let file = dir.join("db");
        let lock = file.clone();
        // A thread of its own: one that never ends is left behind, and said.
        let thread = std::thread::Builder::new().name("store-open".into()).spawn(move || {
            let opened = quietly(|| {
                let config = sled::Config::new()
                    .path(path)
                    .cache_capacity(cache_bytes)
                    .mode(sled::Mode::HighThroughput)
                    .temporary(copy);
                await_unlocked(&lock, CLOSING);
                let db = config.open()?;
                let (objects, ledger) = (db.open_tree("tokensmith")?, db.open_tree("ledger")?);
                Ok(Trees { db, objects, ledger })
            });
            let _ = done.send(opened);
        });
        thread.map_err(|e| Fault::Sled(e.into()))?;
        let trees = answer.recv_timeout(limit).map_err(|_| Fault::Hangs(limit))??;
        let file = File::open(file).map_err(|e| Fault::Sled(e.into()))?;
        let (broken, failed) = (OnceLock::new(), AtomicBool::new(false));
        Ok(Database { trees: Some(trees), file, copy, broken, failed, said: None })
    }

    /// The same that says, once it is closed, how it was left.
    pub(crate) fn saying(mut self, said: Said) -> Self {
        self.said = Some(said);
        self
    }

    /// Brings all that it was given to disk. sled's own flush on Linux is a `sync_file_range`, which leaves the file's new
    /// length and the disk's cache to chance: after a power cut the database would be behind its anchor.
    pub(crate) fn flush(&self) -> Result<(), Fault> {
        self.call(|t| t.db.flush())?;
        self.file.sync_data().map_err(|e| Fault::Sled(e.into()))
    }

    /// How long sled's file is.
    pub(crate) fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |m| m.len())
    }

    /// Has it do something.
    pub(crate) fn call<T>(&self, work: impl FnOnce(&Trees) -> sled::Result<T>) -> Result<T, Fault> {
        if let Some(why) = self.broken.get() {
            return Err(Fault::Broken(why.clone()));
        }
        let Some(trees) = &self.trees else { return Err(Fault::Broken("it is closed".into())) };
        quietly(|| work(trees)).inspect_err(|e| {
            self.failed.store(true, Ordering::Relaxed);
            if let Fault::Broken(why) = e
                && self.broken.set(why.clone()).is_ok()
            {
                tracing::error!(cause = %why, "the database is damaged: it is not used any more");
            }
        })
    }

    /// Lets it be: it is neither asked nor closed any more.
    pub(crate) fn give_up(&self) {
        let _ = self.broken.set("it was given up".into());
    }

    /// Whether it is a copy that is only looked at.
    pub(crate) fn is_copy(&self) -> bool {
        self.copy
    }

    /// Closes it, and says whether nothing of it is at work any more.
    pub(crate) fn close(mut self) -> Result<(), Fault> {
        self.end()
    }

    /// Whether it has not broken.
    pub(crate) fn sound(&self) -> bool {
        self.broken.get().is_none()
    }
}

/// Waits so long until sled's file is unlocked, and says whether it is. Who made the database a moment ago was this process,
/// and sled's own threads may hold its file a little longer than the handle that was closed; other processes are kept away by
/// the store's lock.
pub(crate) fn await_unlocked(file: &Path, mut left: Duration) -> bool {
    // The lock that this takes goes with the handle.
    while File::open(file).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock))) {
        if left.is_zero() {
            return false;
        }
        std::thread::park_timeout(PAUSE);
        left = left.saturating_sub(PAUSE);
    }
    true
}

const PAUSE: Duration = Duration::from_millis(10);

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Database {
    /// Closes it, for as long as that takes up to a bound: sled's closing waits for a thread of its own, which may have
    /// ended. One that has broken is left as it is: it may hold its locks for ever.
    fn end(&mut self) -> Result<(), Fault> {
        let Some(trees) = self.trees.take() else { return Ok(()) };
        if let Some(why) = self.broken.get() {
            std::mem::forget(trees);
            return Err(Fault::Broken(why.clone()));
        }
        let copy = self.copy;
        let (done, closed) = mpsc::channel();
        let thread = std::thread::Builder::new().name("store-close".into()).spawn(move || {
            let written = quietly(|| {
                let written = if copy { Ok(0) } else { trees.db.flush() };
                drop(trees);
                written
            });
            let _ = done.send(written.is_ok());
        });
        let written = thread.ok().and_then(|_| closed.recv_timeout(CLOSING).ok());
        let Some(written) = written else {
            tracing::error!("the database does not close: it is left as it is");
            return Err(Fault::Hangs(CLOSING));
        };
        if let Some(said) = self.said.take().filter(|_| written && !*self.failed.get_mut()) {
            said.say();
        }
        Ok(())
    }
}

/// So long may a closing take.
const CLOSING: Duration = Duration::from_secs(3);
/// An opening may take so long, and a millisecond more for each 8 KiB of the folder.
const SHORTEST: Duration = Duration::from_secs(30);

/// How large a folder is. A file that is linked more than once in it counts once.
pub(crate) fn size(dir: &Path) -> u64 {
    fn add(dir: &Path, linked: &mut HashSet<(u64, u64)>) -> u64 {
        let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
        entries
            .flatten()
            .map(|entry| match entry.metadata() {
                Ok(m) if m.is_dir() => add(&entry.path(), linked),
                Ok(m) if m.nlink() > 1 && !linked.insert((m.dev(), m.ino())) => 0,
                Ok(m) => m.len(),
                Err(_) => 0,
            })
            .sum()
    }
    add(dir, &mut HashSet::new())
}

thread_local! {
    /// Whether a panic of this thread is caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

fn quietly<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(before);
    match done {
        Ok(done) => Ok(done?),
        Err(panic) => Err(Fault::Broken(message(&*panic))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    // Texts of sled may go over many lines and show bytes of a page.
    let text = text.unwrap_or("a panic without words").lines().next().unwrap_or_default();
    text.chars().take(120).collect()
}

/// sled's own threads, whose panics nobody else hears.
const THREADS: [&str; 2] = ["log flusher", "sled-io-"];

/// Keeps panics of the database that become errors from being printed as crashes: a hook of the whole process, for a program to
/// ask for, before it opens a store. All other panics go on to the hook that was there. Once in a process; without it panics
/// become errors all the same, and the hook that is there hears of them, too.
pub fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let theirs = thread.name().is_some_and(|name| THREADS.iter().any(|t| name.starts_with(t)));
            if theirs {
                let said = message(info.payload());
                tracing::error!(cause = %said, "a thread of the database has ended");
            } else if !CAUGHT.get() {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_the_database_is_not_asked_again() {
        let home = tempfile::tempdir().unwrap();
        let db = Database::open(home.path(), 1 << 20).unwrap();
        db.call(|t| t.objects.insert("k", "v")).unwrap();
        let panicked = db.call::<()>(|_| panic!("page {} is not there\nand more", 7)).unwrap_err();
        assert_eq!(panicked.to_string(), "the database broke off: page 7 is not there");
        assert!(!db.sound());
        let again = db.call(|t| t.objects.get("k")).unwrap_err();
        assert_eq!(again.to_string(), panicked.to_string());
        // Nor is it closed: that might never end.
        drop(db);
    }

    #[test]
    fn a_copy_is_gone_once_it_is_closed_and_a_database_stays() {
        let home = tempfile::tempdir().unwrap();
        let (dir, other) = (home.path().join("sled"), home.path().join("opening-1"));
        let db = Database::open(&dir, 1 << 20).unwrap();
        // Above what sled keeps in its own file.
        let large = vec![7; 600_000];
        db.call(|t| t.objects.insert("k", &large[..])).unwrap();
        db.flush().unwrap();
        drop(db);
        crate::folder::copy(&dir, &other).unwrap();
        let copy = Database::open_copy(&other, 1 << 20).unwrap();
        assert!(copy.call(|t| t.objects.get("k")).unwrap().is_some());
        drop(copy);
        assert!(!other.exists());
        let db = Database::open(&dir, 1 << 20).unwrap();
        assert_eq!(db.call(|t| t.objects.get("k")).unwrap().unwrap(), large);
    }

    /// On a fast disk sled's own threads held the file for longer than it took to open it again: a first start failed.
    #[test]
    fn a_database_whose_file_is_still_locked_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        drop(Database::open(home.path(), 1 << 20).unwrap());
        let file = File::open(home.path().join("db")).unwrap();
        file.lock().unwrap();
        let holder = std::thread::spawn(move || {
            std::thread::park_timeout(PAUSE * 5);
            drop(file);
        });
        Database::open(home.path(), 1 << 20).unwrap();
        holder.join().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_a_database_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("conf"), "nonsense that is long enough").unwrap();
        assert!(Database::open(home.path(), 1 << 20).is_err());
        assert!(Database::open(&home.path().join("conf"), 1 << 20).is_err());
    }
}
