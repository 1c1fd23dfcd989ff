//! What the last close has left: one digest of the database's files.
//!
//! sled mends what it opens, so a start looks at a copy first ([`open`](crate::open)). A database whose files are, byte for
//! byte, what its own close has left has no torn end that would be mended: it is opened itself, once. That saves a start the
//! copy and a second opening, which were half of it. What went bad while it was open is in the digest as it is: its records do
//! not verify, and the start is refused as ever, after sled has written a little behind them.
//!
//! The digest is compared with what is there, so nothing depends on when it, or the files, came to the disk: after a crash,
//! a power cut or damage it does not fit, and the start goes the long way. It says nothing of whether all is there; the
//! records' checksums and the anchor do.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{Context, SHA256};
use tokensmith_core::clock::{Clock, SystemClock};

use crate::anchor::Anchor;
use crate::database;
use crate::folder::Folder;
use crate::open::FORMAT;
use crate::state::State;

/// The digest's file in the store's folder.
pub(crate) const FILE: &str = "closed";
/// A larger database is not read for it: a stop must not take long.
const LARGEST: u64 = 1 << 30;
/// Nor may it take longer to read, on a slow disk whose files nobody has in memory: a server's end has a time of its own, and
/// past it says that the disk does not answer.
const LONGEST: Duration = Duration::from_secs(1);
/// So many bytes have a CRC-32 of their own. It is for accidents, as the records' sums are, and as fast as memory; SHA-256 over
/// all would cost some processors more than the copy does.
const BLOCK: usize = 1 << 20;
/// So long is what is said.
const DIGEST: usize = 32;

/// Where a database says, once it is closed, how it was left. Its store is locked until then.
pub(crate) struct Said {
    dir: PathBuf,
    sled: PathBuf,
    _lock: Arc<File>,
}

impl Said {
    pub(crate) fn of(folder: &Folder, lock: Arc<File>) -> Self {
        Said { dir: folder.dir.clone(), sled: folder.sled(), _lock: lock }
    }

    /// Says it of files that nobody has open any more.
    pub(crate) fn say(&self) {
        if database::size(&self.sled) <= LARGEST {
            self.say_within(LONGEST);
        }
    }

    fn say_within(&self, limit: Duration) {
        let clock = SystemClock::new();
        // sled's threads may be at work in it a little longer than whoever closed it waits.
        if !database::await_unlocked(&self.sled.join("db"), limit) {
            return;
        }
        let in_time = || match clock.monotonic() < limit {
            true => Ok(()),
            false => Err(io::ErrorKind::TimedOut.into()),
        };
        let path = self.dir.join(FILE);
        let Ok(Some(state)) = Anchor::read(&self.dir) else { return };
        let said = digest(&self.sled, &state, &in_time).and_then(|digest| fs::write(&path, digest));
        if let Err(e) = said {
            tracing::debug!(cause = %e, "the next start will look at a copy of the database");
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether the files are as it was said when the anchor was at `state`.
pub(crate) fn holds(folder: &Folder, state: &State) -> bool {
    let path = folder.dir.join(FILE);
    // What is no digest is not read: somebody's pipe would never end.
    if !fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() && m.len() == DIGEST as u64) {
        return false;
    }
    fs::read(path)
        .is_ok_and(|said| digest(&folder.sled(), state, &|| Ok(())).is_ok_and(|found| said == found))
}

/// Takes away what was said: what is open now changes.
pub(crate) fn forget(folder: &Folder) {
    let _ = fs::remove_file(folder.dir.join(FILE));
}

/// Asked before each block: an error ends it.
type GoOn<'a> = &'a dyn Fn() -> io::Result<()>;

/// Of all files in a folder, their names, lengths and bytes, and of what the anchor says of them.
fn digest(sled: &Path, state: &State, go_on: GoOn<'_>) -> io::Result<[u8; DIGEST]> {
    digest_by(FORMAT, sled, state, go_on)
}

/// As a program says it that writes this format.
fn digest_by(format: u32, sled: &Path, state: &State, go_on: GoOn<'_>) -> io::Result<[u8; DIGEST]> {
    let mut context = Context::new(&SHA256);
    context.update(b"tokensmith store closed 1");
    // What a newer program has closed an older one looks at in a copy, and refuses with its files as they were.
    context.update(&format.to_be_bytes());
    context.update(&state.identity);
    context.update(&state.objects.to_bytes());
    context.update(&state.ledger.to_bytes());
    add(sled, &mut context, &mut vec![0; BLOCK], go_on)?;
    Ok(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

fn add(dir: &Path, context: &mut Context, block: &mut [u8], go_on: GoOn<'_>) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    context.update(&(entries.len() as u64).to_be_bytes());
    for entry in entries {
        let name = entry.file_name();
        let is_dir = entry.file_type()?.is_dir();
        context.update(&[u8::from(is_dir)]);
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_encoded_bytes());
        match is_dir {
            true => add(&entry.path(), context, block, go_on)?,
            false => add_file(&entry.path(), context, block, go_on)?,
        }
    }
    Ok(())
}

fn add_file(path: &Path, context: &mut Context, block: &mut [u8], go_on: GoOn<'_>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut len = 0_u64;
    loop {
        go_on()?;
        let read = fill(&mut file, block)?;
        context.update(&crc32fast::hash(&block[..read]).to_be_bytes());
        len += read as u64;
        if read < block.len() {
            context.update(&len.to_be_bytes());
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::moment::Point;
    use crate::state::Objects;

    fn state(revision: u64) -> State {
        State { objects: Objects { revision, ..Objects::default() }, ..State::default() }
    }

    /// A file that spans blocks, one that fills one, an empty one, one in a folder; closed at revision 5.
    fn world() -> (tempfile::TempDir, Folder) {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path());
        let sled = folder.sled();
        fs::create_dir_all(sled.join("blobs")).unwrap();
        fs::write(sled.join("db"), vec![7; 2 * BLOCK + 100]).unwrap();
        fs::write(sled.join("snap"), vec![7; BLOCK]).unwrap();
        fs::write(sled.join("conf"), b"").unwrap();
        fs::write(sled.join("blobs/1"), b"blob").unwrap();
        Anchor::open(home.path(), state(5), Point::default()).unwrap();
        let lock = Arc::new(File::create(home.path().join("lock")).unwrap());
        Said::of(&folder, lock).say();
        assert!(holds(&folder, &state(5)));
        (home, folder)
    }

    fn changed(change: impl FnOnce(&Path)) -> bool {
        let (_home, folder) = world();
        change(&folder.sled());
        !holds(&folder, &state(5))
    }

    #[test]
    fn what_is_as_it_was_holds_until_it_is_forgotten() {
        let (_home, folder) = world();
        assert!(!holds(&folder, &state(6)), "the anchor says something else");
        assert!(holds(&folder, &state(5)));
        forget(&folder);
        assert!(!holds(&folder, &state(5)));
    }

    #[test]
    fn any_change_shows() {
        for at in [0, BLOCK - 1, BLOCK, 2 * BLOCK + 99] {
            assert!(changed(|sled| {
                let mut bytes = fs::read(sled.join("db")).unwrap();
                bytes[at] ^= 1;
                fs::write(sled.join("db"), bytes).unwrap();
            }));
        }
        for len in [0, 1, BLOCK as u64, 2 * BLOCK as u64, 2 * BLOCK as u64 + 101] {
            assert!(changed(|sled| {
                File::options().write(true).open(sled.join("db")).unwrap().set_len(len).unwrap();
            }));
        }
        assert!(changed(|sled| fs::remove_file(sled.join("conf")).unwrap()));
        assert!(changed(|sled| fs::write(sled.join("more"), b"").unwrap()));
        assert!(changed(|sled| fs::rename(sled.join("snap"), sled.join("snapped")).unwrap()));
        assert!(changed(|sled| fs::rename(sled.join("blobs/1"), sled.join("blobs/2")).unwrap()));
        assert!(changed(|sled| fs::rename(sled.join("blobs/1"), sled.join("b1")).unwrap()));
        assert!(changed(|sled| fs::write(sled.with_file_name(FILE), [0; 32]).unwrap()));
        assert!(changed(|sled| fs::write(sled.with_file_name(FILE), b"").unwrap()));
    }

    #[test]
    fn what_is_no_file_of_a_digest_is_not_read_and_what_a_newer_program_has_closed_is_copied() {
        let (home, folder) = world();
        let (said, moved) = (home.path().join(FILE), home.path().join("moved"));
        fs::rename(&said, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &said).unwrap();
        assert!(!holds(&folder, &state(5)));
        forget(&folder);
        fs::create_dir(&said).unwrap();
        assert!(!holds(&folder, &state(5)));
        fs::remove_dir(&said).unwrap();
        fs::write(&said, digest_by(FORMAT + 1, &folder.sled(), &state(5), &|| Ok(())).unwrap()).unwrap();
        assert!(!holds(&folder, &state(5)));
        fs::rename(moved, said).unwrap();
        assert!(holds(&folder, &state(5)));
    }

    #[test]
    fn what_cannot_be_read_in_time_or_is_still_at_work_is_not_said() {
        let (home, folder) = world();
        let said = Said::of(&folder, Arc::new(File::create(home.path().join("lock")).unwrap()));
        said.say_within(Duration::ZERO);
        assert!(!home.path().join(FILE).exists());
        said.say();
        assert!(holds(&folder, &state(5)));
        forget(&folder);
        let busy = File::open(folder.sled().join("db")).unwrap();
        busy.lock().unwrap();
        said.say_within(Duration::from_millis(500));
        assert!(!home.path().join(FILE).exists());
        drop(busy);
        said.say();
        assert!(holds(&folder, &state(5)));
    }
}
