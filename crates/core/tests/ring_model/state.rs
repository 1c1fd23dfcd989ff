//! What the model remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use time::OffsetDateTime;
use tokensmith_core::keys::{KeyRing, NewKey};

/// Time in the model: whole units since its start.
pub type Time = i8;
/// Three servers.
pub const REPLICAS: usize = 3;
/// How many keys the pool has: as many as can be made in so few steps.
pub const POOL: usize = 5;

/// Everything at one moment. Keys are named by their place in the pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The true time.
    pub now: Time,
    /// How many clock steps may still come.
    pub steps: u8,
    /// The one value in the store, and its revision.
    pub stored: Stored,
    pub replicas: [Replica; REPLICAS],
    /// Per key: the latest expiry of a token that it signed.
    pub tokens: [Option<Time>; POOL],
    /// Per key: when a verifier could last fetch a key set without it.
    pub absent: [Time; POOL],
    /// Per key: when it was revoked in the store.
    pub revoked: [Option<Time>; POOL],
    /// Per key: when it came as one that signs unannounced (`keys revoke --fresh`).
    pub fresh: [Option<Time>; POOL],
    /// How many keys of the pool have been used.
    pub made: usize,
    /// Whether a revoked key has signed though everybody could have known.
    pub signed_late: bool,
}

/// A ring and its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stored {
    pub ring: RingId,
    pub revision: u8,
}

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    /// How far its clock is off.
    pub offset: Time,
    /// The ring as it last saw it, and when that was.
    pub seen: Stored,
    pub seen_at: Time,
    /// A change that is worked out and not yet written.
    pub plan: Option<Plan>,
}

/// A change on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub ring: RingId,
    /// The revision that it was worked out from.
    pub from: u8,
    /// How many keys of the pool it takes.
    pub takes: usize,
    /// The key that it revokes.
    pub revokes: Option<usize>,
    /// The key that it lets sign unannounced.
    pub fresh: Option<usize>,
}

/// A ring's place among all that came up: millions of states share a few thousand rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RingId(usize);

/// All rings that came up, each once.
#[derive(Default)]
pub struct Rings(Mutex<Known>);

#[derive(Default)]
struct Known {
    all: Vec<Arc<KeyRing>>,
    ids: HashMap<Arc<KeyRing>, usize>,
}

impl Rings {
    pub fn id(&self, ring: KeyRing) -> RingId {
        let mut known = self.0.lock().unwrap();
        if let Some(id) = known.ids.get(&ring) {
            return RingId(*id);
        }
        let (ring, id) = (Arc::new(ring), known.all.len());
        known.all.push(ring.clone());
        known.ids.insert(ring, id);
        RingId(id)
    }

    pub fn get(&self, id: RingId) -> Arc<KeyRing> {
        self.0.lock().unwrap().all[id.0].clone()
    }
}

/// A key's place in the pool.
pub fn place(pool: &[NewKey], id: &str) -> usize {
    pool.iter().position(|key| key.public.key_id() == id).unwrap()
}

/// A time of the model as the ring writes it.
pub fn at(time: Time) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time::Duration::days(10_000) + time::Duration::seconds(i64::from(time))
}

/// A token's expiry as the ring writes it.
pub fn unix(time: Time) -> i64 {
    at(time).unix_timestamp()
}
