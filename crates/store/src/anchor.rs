//! The anchor: a small file beside the database that says what the database must hold.
//!
//! sled leaves out what it cannot read and takes an empty folder for a new database. So what was acknowledged is told a
//! second time, outside of it: identity, revision, the ring's checksum, the sums of objects and revocations.
//!
//! Two slots, written in turn, each with a sequence number and a checksum: a write that was torn leaves the other one.
//! That is one `pwrite` and one `fdatasync` for a group of writes. A rename would take two more syncs (the new file's
//! metadata and the folder) and gives nothing that the second slot does not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::checksum::{Place, of_record};
use crate::moment::{Moment, Point};
use crate::state::{self, Ledger, Objects, State};

/// The file's name in the store's folder.
pub(crate) const FILE: &str = "anchor";
/// What it is called while it is made.
const NEW: &str = "anchor.new";
/// Far enough from each other that one torn page does not hold both.
const SLOTS: [u64; 2] = [0, 4096];
const MAGIC: &[u8; 16] = b"tokensmith ancho";
const BODY: usize = 16 + 8 + 16 + Objects::LEN + Ledger::LEN;
const SLOT: usize = BODY + 32;

/// The anchor of a store that is open.
pub(crate) struct Anchor {
    inner: Mutex<Inner>,
    point: Point,
}

struct Inner {
    file: File,
    sequence: u64,
    state: State,
}

/// Why an anchor cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnchorError {
    #[error("{} cannot be read", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Both slots are not what was written.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
}

impl Anchor {
    /// Reads what the anchor in a folder says; `None` if there is none.
    pub(crate) fn read(dir: &Path) -> Result<Option<State>, AnchorError> {
        Ok(newest(&dir.join(FILE))?.map(|(_, state)| state))
    }

    /// Opens the one in a folder, or makes it, and has it say `state`.
    pub(crate) fn open(dir: &Path, state: State, point: Point) -> Result<Self, AnchorError> {
        let path = dir.join(FILE);
        let io = |source| AnchorError::Io { path: path.clone(), source };
        // One that cannot be read is replaced: whoever calls has judged that.
        let found = match newest(&path).ok().flatten() {
            Some(found) => found,
            None => {
                make(dir, &state, &point).map_err(io)?;
                (FIRST, state)
            }
        };
        let file = File::options().read(true).write(true).open(&path).map_err(io)?;
        let mut inner = Inner { file, sequence: found.0, state };
        if found.1 != state {
            inner.write().map_err(io)?;
        }
        Ok(Anchor { inner: Mutex::new(inner), point })
    }

    /// What it says.
    pub(crate) fn state(&self) -> State {
        self.lock().state
    }

    /// The objects' tree has come so far, durably. On disk when this returns.
    pub(crate) fn objects(&self, objects: Objects) -> io::Result<()> {
        self.advance(|state| state.objects = objects)
    }

    /// The ledger's tree has come so far, durably. On disk when this returns.
    pub(crate) fn ledger(&self, ledger: Ledger) -> io::Result<()> {
        self.advance(|state| state.ledger = ledger)
    }

    fn advance(&self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut inner = self.lock();
        change(&mut inner.state);
        if self.point.is_next(Moment::HalfAnchor) {
            inner.write_half()?;
        }
        self.point.reach(Moment::HalfAnchor);
        inner.write()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self) -> io::Result<()> {
        let next = self.sequence + 1;
        self.file.write_all_at(&encode(next, &self.state), slot(next))?;
        self.file.sync_data()?;
        self.sequence = next;
        Ok(())
    }

    /// What a power cut in the midst of a write may leave: for tests.
    fn write_half(&mut self) -> io::Result<()> {
        let next = self.sequence + 1;
        self.file.write_all_at(&encode(next, &self.state)[..SLOT / 2], slot(next))
    }
}

/// The sequence number that an anchor begins with.
const FIRST: u64 = 1;

/// Makes an anchor beside its place and renames it: cut off anywhere, there is none, or it is whole. An empty or a torn
/// one would be taken for damaged, and the store would not start any more.
fn make(dir: &Path, state: &State, point: &Point) -> io::Result<()> {
    let bytes = encode(FIRST, state);
    let new = dir.join(NEW);
    let file = File::create(&new)?;
    if point.is_next(Moment::HalfNewAnchor) {
        file.write_all_at(&bytes[..SLOT / 2], slot(FIRST))?;
    }
    point.reach(Moment::HalfNewAnchor);
    file.write_all_at(&bytes, slot(FIRST))?;
    file.sync_all()?;
    std::fs::rename(new, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn slot(sequence: u64) -> u64 {
    SLOTS[(sequence % 2) as usize]
}

fn newest(path: &Path) -> Result<Option<(u64, State)>, AnchorError> {
    let io = |source| AnchorError::Io { path: path.into(), source };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let found = SLOTS.iter().filter_map(|at| {
        let (sequence, state) = decode(bytes.get(*at as usize..)?.get(..SLOT)?)?;
        // A slot that was copied over the other is no newer for it.
        (slot(sequence) == *at).then_some((sequence, state))
    });
    found.max_by_key(|(sequence, _)| *sequence).map(Some).ok_or_else(|| AnchorError::Damaged(path.into()))
}

fn encode(sequence: u64, state: &State) -> Vec<u8> {
    let body = [
        &MAGIC[..],
        &sequence.to_be_bytes(),
        &state.identity,
        &state.objects.to_bytes(),
        &state.ledger.to_bytes(),
    ]
    .concat();
    let checksum = of_record(Place::Anchor, b"", sequence, &body);
    [body, checksum.to_vec()].concat()
}

fn decode(bytes: &[u8]) -> Option<(u64, State)> {
    let (body, checksum) = bytes.split_at_checked(BODY)?;
    let mut rest = body.strip_prefix(MAGIC)?;
    let sequence = state::number(&mut rest)?;
    let identity = state::chunk(&mut rest)?;
    let (objects, ledger) = (Objects::read(&mut rest)?, Ledger::read(&mut rest)?);
    let whole = of_record(Place::Anchor, b"", sequence, body) == checksum;
    whole.then_some((sequence, State { identity, objects, ledger }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revision: u64) -> State {
        State { identity: [7; 16], objects: Objects { revision, ..Objects::default() }, ..State::default() }
    }

    fn open(dir: &Path, state: State) -> Anchor {
        Anchor::open(dir, state, Point::default()).unwrap()
    }

    #[test]
    fn the_last_state_is_there_whatever_becomes_of_one_slot() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        assert_eq!(Anchor::read(home.path()).unwrap(), None);
        let anchor = open(home.path(), state(0));
        for revision in 1..=20 {
            anchor.objects(state(revision).objects).unwrap();
            assert_eq!(Anchor::read(home.path()).unwrap(), Some(state(revision)));
            let whole = std::fs::read(&path).unwrap();
            // The next write, torn at any place.
            let next = encode(revision + 2, &state(revision + 1));
            for cut in 0..next.len() {
                let mut torn = whole.clone();
                let at = slot(revision + 2) as usize;
                torn.resize(torn.len().max(at + SLOT), 0);
                torn[at..at + cut].copy_from_slice(&next[..cut]);
                std::fs::write(&path, torn).unwrap();
                assert_eq!(Anchor::read(home.path()).unwrap(), Some(state(revision)), "{cut}");
            }
            std::fs::write(&path, whole).unwrap();
        }
    }

    #[test]
    fn an_anchor_without_a_whole_slot_is_damaged() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        let anchor = open(home.path(), state(0));
        anchor.objects(state(1).objects).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        SLOTS.iter().for_each(|at| flipped[*at as usize + 40] ^= 1);
        // Both slots with the older one's bytes: its sequence belongs to one place.
        let mut swapped = whole.clone();
        swapped.resize(4096 + SLOT, 0);
        swapped.rotate_left(4096);
        for wrong in [Vec::new(), vec![0; whole.len()], whole[..100].to_vec(), flipped, swapped] {
            std::fs::write(&path, wrong).unwrap();
            assert!(matches!(Anchor::read(home.path()), Err(AnchorError::Damaged(_))));
        }
    }
}
