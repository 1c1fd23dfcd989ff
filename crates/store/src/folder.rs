//! The parts of a store's folder, and who has it. [`open`](crate::open) says what they are.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokensmith_core::random;

use crate::anchor;
use crate::builder::BuildError;
use crate::damage::{Trouble, Whole};
use crate::database::Fault;
use crate::moment::{Moment, Point};
use crate::open::{OpenError, Options};
use crate::scan::damaged;
use crate::space::{Room, Space};

/// The parts of a store's folder.
pub(crate) struct Folder {
    pub(crate) dir: PathBuf,
    /// Where a test lets a start end.
    pub(crate) point: Point,
    /// How large a test has its disk be.
    #[cfg(debug_assertions)]
    small: Option<u64>,
}

impl Folder {
    pub(crate) fn new(dir: &Path) -> Self {
        Self::with(dir, &Options::default())
    }

    /// The one that is opened with these options.
    pub(crate) fn with(dir: &Path, options: &Options) -> Self {
        Folder {
            dir: dir.into(),
            point: Point::new(options),
            #[cfg(debug_assertions)]
            small: options.disk_bytes,
        }
    }

    pub(crate) fn sled(&self) -> PathBuf {
        self.dir.join("sled")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Where a copy may be made. A name of its own each time: a database that broke off and was left as it is must not
    /// find another under its path.
    pub(crate) fn opening(&self) -> PathBuf {
        self.dir.join(format!("{OPENING}{}", random::suffix(8)))
    }

    /// Removes the copies that were looked at.
    pub(crate) fn clean(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(OPENING) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// What room there is on its disk.
    pub(crate) fn room(&self) -> Room {
        let Ok(space) = Space::of(&self.dir) else { return Room::UNKNOWN };
        #[cfg(debug_assertions)]
        let space = space.small(&self.dir, self.small);
        space.room()
    }

    pub(crate) fn copy(&self) -> PathBuf {
        self.dir.join("copy")
    }

    pub(crate) fn old(&self) -> PathBuf {
        self.dir.join("old")
    }

    pub(crate) fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io { dir: self.dir.clone(), source }
    }

    pub(crate) fn damaged(&self, troubles: Vec<Trouble>, whole: Whole) -> OpenError {
        OpenError::Damaged(Box::new(damaged(&self.dir, troubles, whole)))
    }

    pub(crate) fn fault(&self, source: impl std::error::Error + Send + Sync + 'static) -> OpenError {
        OpenError::Database { dir: self.dir.clone(), source: Box::new(source) }
    }

    /// Why the database does not open.
    pub(crate) fn unopened(&self, e: Fault) -> OpenError {
        match e {
            // Nothing is known to be wrong with it.
            Fault::Hangs(_) => OpenError::Slow { dir: self.dir.clone(), source: Box::new(e) },
            e => self.fault(e),
        }
    }

    pub(crate) fn build(&self, e: BuildError) -> OpenError {
        match e {
            BuildError::Io { dir, source } => OpenError::Io { dir, source },
            BuildError::Fault(e) => self.fault(e),
        }
    }

    /// Puts `copy` in the place of the database. Cut off anywhere, the next start finds one or the other whole.
    pub(crate) fn swap(&self) -> io::Result<()> {
        if self.sled().exists() {
            remove(&self.old())?;
            fs::rename(self.sled(), self.old())?;
            self.point.reach(Moment::HalfSwap);
        }
        fs::rename(self.copy(), self.sled())?;
        self.point.reach(Moment::AfterSwap);
        File::open(&self.dir)?.sync_all()?;
        remove(&self.old())
    }
}

const OPENING: &str = "opening-";

/// Whether a folder is there and holds something.
pub(crate) fn is_there(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// Removes a folder that need not be there.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Copies a folder; file systems that can share the blocks do. sled's blobs are linked: it writes each once, under a name
/// that is not there, and only ever removes it.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    let blobs = from.ends_with("blobs");
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else if !blobs || fs::hard_link(entry.path(), &to).is_err() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Takes a store's lock without opening it, for who works on its folder. It is held as long as the file is open.
///
/// # Errors
/// Another process has it.
pub fn lock(dir: &Path) -> Result<File, OpenError> {
    take_lock(dir)
}

/// Removes a store's folder with all that is in it.
///
/// # Errors
/// Another process has it, or the disk does not let it go.
pub fn discard(dir: &Path) -> Result<(), OpenError> {
    // Held meanwhile: who begins to use the folder now is told.
    let _lock = take_lock(dir)?;
    remove(dir).map_err(|source| OpenError::Io { dir: dir.into(), source })
}

/// sled locks its file too, but says so only by an I/O error; this lock names who holds it.
pub(crate) fn take_lock(dir: &Path) -> Result<File, OpenError> {
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
    // Who it is, if there is room for that: a full disk must not keep a start from making some.
    let _ =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// sled's snapshots in a folder: where its pages are, so that it need not read its whole file. All that they say is in
/// that file, too.
fn snapshots(sled: &Path) -> io::Result<Vec<PathBuf>> {
    named(sled, SNAPSHOT)
}

/// What is in a folder under names that begin so.
fn named(dir: &Path, begin: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(begin) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

const SNAPSHOT: &str = "snap.";
/// What one is called that is set aside begins so; its own name follows.
const UNREAD: &str = "unread.";

/// Whether there is one, set aside or not.
pub(crate) fn has_snapshot(sled: &Path) -> io::Result<bool> {
    Ok(!snapshots(sled)?.is_empty() || !named(sled, UNREAD)?.is_empty())
}

/// Puts the snapshots back that a start has set aside which was killed.
pub(crate) fn put_back(sled: &Path) -> io::Result<()> {
    let place = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (sled.join(name.strip_prefix(UNREAD).unwrap_or(&name)), path)
    };
    return_to_place(sled, named(sled, UNREAD)?.into_iter().map(place))
}

/// Puts snapshots back in their place, unless sled has made another since: it has gone on from that one, has used what it took
/// for free, and by an older one reads what is not there any more. A store of format 1, which has no anchor, keeps them
/// in any case: only they show that it cannot be taken for whole.
fn return_to_place(sled: &Path, aside: impl Iterator<Item = (PathBuf, PathBuf)>) -> io::Result<()> {
    let anchored = sled.parent().is_some_and(|store| store.join(anchor::FILE).exists());
    let stale = anchored && !snapshots(sled)?.is_empty();
    let back =
        |(path, to): (PathBuf, PathBuf)| if stale { fs::remove_file(to) } else { fs::rename(to, path) };
    aside.map(back).fold(Ok(()), Result::and)
}

pub(crate) fn drop_snapshots(sled: &Path) -> io::Result<()> {
    snapshots(sled)?.into_iter().try_for_each(fs::remove_file)
}

/// Removes the snapshots that a crash has left half-written. sled takes them for its newest, and does not open.
pub(crate) fn drop_unfinished(sled: &Path) -> io::Result<()> {
    let unfinished = |path: &PathBuf| path.extension().is_some_and(|e| e == "generating");
    snapshots(sled)?.into_iter().filter(unfinished).try_for_each(fs::remove_file)
}

/// The snapshots of a database that is opened without them and without a copy: back in their place when this goes, unless
/// they were given up.
pub(crate) struct Aside {
    sled: PathBuf,
    /// From where, to where.
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    pub(crate) fn begin(sled: &Path) -> io::Result<Self> {
        let mut aside = Aside { sled: sled.into(), moved: Vec::new() };
        for path in snapshots(sled)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let to = sled.join(format!("{UNREAD}{name}"));
            fs::rename(&path, &to)?;
            aside.moved.push((path, to));
        }
        Ok(aside)
    }

    /// They are of no use.
    pub(crate) fn give_up(mut self) -> io::Result<()> {
        self.moved.drain(..).try_for_each(|(_, to)| fs::remove_file(to))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let Aside { sled, moved } = self;
        if let Err(e) = return_to_place(sled, moved.drain(..)) {
            tracing::warn!(cause = %e, "a snapshot of the database in {} is not in its place", sled.display());
        }
    }
}
