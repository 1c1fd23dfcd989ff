//! Opening: the lock, the format, what a crash left.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokensmith_core::store::{Revision, StoreError};

use super::record::{META_FORMAT, META_OLDEST, META_REVISION, decode_change, log_key};
use crate::history::{Bounds, History};

/// The version of the layout that this program writes.
pub const FORMAT: u32 = 1;

/// How to open a database.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Memory for sled's page cache, bytes.
    pub cache_bytes: u64,
    /// How many changes are kept for watchers.
    pub history: usize,
}

impl Default for Options {
    /// 64 MiB (sled's own default is 1 GiB) and 10,000 changes.
    fn default() -> Self {
        Options { cache_bytes: 64 << 20, history: 10_000 }
    }
}

/// Why a database cannot be opened. Nothing has been changed then.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process{}", dir.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who, if the lock file says so.
        pid: Option<u32>,
    },
    /// The directory cannot be made or read.
    #[error("cannot use {}", dir.display())]
    Io {
        /// The directory or file.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A newer version of this program wrote it.
    #[error("{} has store format {found}, this program knows {FORMAT}: use the newer tokensmith that wrote it", dir.display())]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The database itself does not open.
    #[error("cannot open the database in {}", dir.display())]
    Sled {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: sled::Error,
    },
    /// What is in it cannot be read.
    #[error("cannot read the database")]
    Store(#[from] StoreError),
    /// No thread for the writer.
    #[error("cannot start the store's writer")]
    Thread(#[source] std::io::Error),
}

pub(super) struct Opened {
    pub(super) db: sled::Db,
    pub(super) tree: sled::Tree,
    pub(super) history: Arc<History>,
    pub(super) lock: File,
}

pub(super) fn open(dir: &Path, options: Options) -> Result<Opened, OpenError> {
    let io = |source| OpenError::Io { dir: dir.into(), source };
    // Whatever the umask, nobody else gets to the files in it, whose modes sled leaves to the umask.
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
    let lock = take_lock(dir)?;
    let sled = |source| OpenError::Sled { dir: dir.into(), source };
    let db = sled::Config::new()
        .path(dir.join("sled"))
        .cache_capacity(options.cache_bytes)
        .mode(sled::Mode::HighThroughput)
        .open()
        .map_err(sled)?;
    let tree = db.open_tree("tokensmith").map_err(sled)?;
    match tree.get(META_FORMAT).map_err(sled)? {
        None => {
            tree.insert(META_FORMAT, &FORMAT.to_be_bytes()).map_err(sled)?;
            db.flush().map_err(sled)?;
        }
        Some(found) => {
            let found = found.as_ref().try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
            if found > FORMAT {
                return Err(OpenError::NewerFormat { dir: dir.into(), found });
            }
        }
    }
    let number = |key: &[u8]| -> Result<Revision, OpenError> {
        let found = tree.get(key).map_err(sled)?;
        Ok(found.and_then(|v| v.as_ref().try_into().ok()).map(Revision::from_be_bytes).unwrap_or(0))
    };
    let (revision, oldest) = (number(META_REVISION)?, number(META_OLDEST)?);
    let history = History::new(Bounds { changes: options.history, bytes: 64 << 20 }, oldest);
    let mut changes = Vec::new();
    for item in tree.range(log_key(oldest + 1)..=log_key(revision)) {
        let (key, stored) = item.map_err(sled)?;
        changes.push(decode_change(&key, &stored)?);
    }
    history.extend(changes);
    Ok(Opened { db, tree, history, lock })
}

/// sled locks its file too, but says so only by an I/O error; this lock names who holds it.
fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let io = |source| OpenError::Io { dir: path.clone(), source };
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Err(OpenError::InUse { dir: dir.into(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}
