//! One change of one object, as all see it who watch it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokensmith_objects::Stored;

use crate::store::Revision;

/// A change of an object. It is made once, whoever watches; so is what it looks like on the wire.
pub struct Moved {
    /// Where the object is.
    pub key: Arc<str>,
    /// When it changed.
    pub revision: Revision,
    /// What was there before, at its own revision; at 0 where that is not known, as after a restart.
    pub old: Option<Arc<Stored>>,
    /// What is there now, at this revision.
    pub new: Option<Arc<Stored>>,
    looks: Mutex<Looks>,
    /// Bytes that the looks of all changes take.
    made: Arc<AtomicUsize>,
}

/// Of what all changes look like so many bytes are kept, and up to twice as many until the next change comes.
pub(super) const LOOKS: usize = 4 << 20;

#[derive(Default)]
struct Looks {
    /// A handful: as many as there are representations that somebody watches.
    made: Vec<Look>,
    /// Nothing is kept any more: who is so far behind makes it for themselves.
    closed: bool,
}

struct Look {
    event: &'static str,
    shape: Box<str>,
    bytes: Bytes,
}

impl Moved {
    pub(super) fn new(
        (key, revision): (Arc<str>, Revision),
        (old, new): (Option<Arc<Stored>>, Option<Arc<Stored>>),
        made: &Arc<AtomicUsize>,
    ) -> Arc<Self> {
        Arc::new(Moved { key, revision, old, new, looks: Mutex::default(), made: made.clone() })
    }

    /// How many bytes the larger one of its objects has as JSON.
    pub fn size(&self) -> usize {
        len(&self.old).max(len(&self.new))
    }

    /// What keeping it costs. What is there now is kept by the snapshot anyway, and once it has been replaced it is what was
    /// there before the next change.
    pub(super) fn kept(&self) -> usize {
        len(&self.old) + self.key.len()
    }

    /// What it looks like as this event in this shape: made by the first who asks, while the others wait, and kept where there
    /// is room. All that what is made depends on, beside the change itself, must be in `shape`.
    pub fn shown(&self, event: &'static str, shape: &str, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut looks = self.looks();
        if let Some(found) = looks.find(event, shape) {
            return found;
        }
        let bytes = make();
        let room = self.made.load(Ordering::Relaxed).saturating_add(bytes.len()) <= 2 * LOOKS;
        if !looks.closed && room {
            self.made.fetch_add(bytes.len(), Ordering::Relaxed);
            looks.made.push(Look { event, shape: shape.into(), bytes: bytes.clone() });
        }
        bytes
    }

    /// The same if it is there already; never waits.
    pub fn seen(&self, event: &'static str, shape: &str) -> Option<Bytes> {
        self.looks.try_lock().ok()?.find(event, shape)
    }

    /// Lets go of what it looks like, for good.
    pub(super) fn forget(&self) {
        let mut looks = self.looks();
        looks.closed = true;
        let made = std::mem::take(&mut looks.made);
        self.made.fetch_sub(made.iter().map(|look| look.bytes.len()).sum(), Ordering::Relaxed);
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        // Whoever panicked has put nothing in.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn len(object: &Option<Arc<Stored>>) -> usize {
    object.as_ref().map_or(0, |object| object.json().len())
}

impl Looks {
    fn find(&self, event: &'static str, shape: &str) -> Option<Bytes> {
        let found = self.made.iter().find(|look| look.event == event && *look.shape == *shape);
        found.map(|look| look.bytes.clone())
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.key, self.revision)
    }
}
