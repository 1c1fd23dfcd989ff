//! The keys at work: the ring in the store, the key set in memory, and the promise before each signature.
//!
//! ```text
//! clock ─► tick ──┐                    ┌─► Store (compare-and-swap) ─► journal
//! command ────────┴─► write (one ring) ┤
//! watch, reread ────► install ─────────┴─► KeySet (swapped whole) ─► reserve, documents
//! ```
//!
//! From the schedule: `rotate` sleeps until the next step is due, `tick` applies what is due to a copy of the ring, and
//! `Keys::write` puts that into the store in the place of the revision that it was made from. From another replica:
//! `follow` is told of the new ring by the watch, or `reread` finds it, and `Keys::install` takes it if its revision is
//! newer. Both end in `Keys::adopt`, which opens the private halves that are new, and `Keys::swap`, which renders
//! the documents and puts the new set in the old one's place. (`put_ring` writes a ring at
//! the start, when there are no `Keys` yet.)

mod admin;
mod config;
pub(in crate::keys) mod generate;
mod health;
mod rotate;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use tokio::sync::Notify;
use tracing::{error, warn};

use super::issuer::{check_authorization_endpoint, check_jwks_uri};
use super::journal::{Cause, Entry as Record};
use super::policy::promise_ahead;
use super::ring_flags::RingFlags;
use super::seal::UnsealError;
use super::set::{DocumentSettings, Opened, Signers};
use super::{
    Algorithm, KeyRing, KeySet, LocalSigner, PublicKey, RingKey, RotationPolicy, SealKeys, SealSource, Signer,
};
use crate::clock::Clock;
use crate::error::chain;
use crate::pulse::Pulse;
use crate::store::{Entry, Expect, Revision, Store, StoreError};
pub use admin::{CommandError, CommandReport};
pub use config::{KeysConfig, KeysError, ReserveError};

/// Where the ring is in the store: one value, so that every change of it is one compare-and-swap.
pub const RING_KEY: &str = "/tokensmith/keys/ring";
/// Where its journal is: an entry a key, in the order of their numbers.
pub const JOURNAL: &str = "/tokensmith/keys/journal/";

/// The keys of one server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tokensmith_core::keys::KeysError> {
/// use std::sync::Arc;
/// use tokensmith_core::clock::SystemClock;
/// use tokensmith_core::keys::{Algorithm, Keys, KeysConfig, SealKey};
/// use tokensmith_store::MemoryStore;
///
/// let config = KeysConfig::new("https://issuer.example", SealKey::generate());
/// let config = KeysConfig { algorithm: Some(Algorithm::ES256), ..config };
/// let keys = Keys::open(Arc::new(MemoryStore::new()), Arc::new(SystemClock::new()), config).await?;
/// assert!(keys.current().documents().jwks.is_some(), "its key is published");
/// # Ok(())
/// # }
/// ```
pub struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    sealing: Arc<dyn SealSource>,
    /// The sealing keys as they were last read. Changed under `writing` alone.
    seal: ArcSwap<SealKeys>,
    policy: RotationPolicy,
    published: DocumentSettings,
    current: ArcSwap<KeySet>,
    inputs: Mutex<Inputs>,
    /// One writer at a time in this process; between processes the store's compare-and-swap decides.
    writing: tokio::sync::Mutex<()>,
    /// Up to which number the journal is known to be whole.
    posted: AtomicU64,
    /// When the ring was last known to be the store's, in milliseconds of the monotonic clock.
    synced: AtomicU64,
    /// When this was made, by the monotonic clock.
    opened: Duration,
    /// Of the task that keeps the schedule and follows the store.
    pulse: Pulse,
    /// The ring is another one: the schedule is to be looked at again.
    changed: Notify,
    problem: ArcSwapOption<String>,
}

/// What a key set is made from besides the ring. Locked while one is made, so that two never cross.
struct Inputs {
    listed: Vec<PublicKey>,
    /// Every key that signs or stands by.
    signers: Signers,
}

impl Keys {
    /// Reads the ring, or makes the first one, and brings in what the operator asks for: a signing key or an
    /// algorithm other than the active one is prepared, and signs once it has been published for long enough.
    ///
    /// # Errors
    /// The keys cannot be used. Nothing in the store has been changed then, but for dates that lay ahead.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: KeysConfig,
    ) -> Result<Arc<Self>, KeysError> {
        if let Some(uri) = &config.jwks_uri {
            check_jwks_uri(uri)?;
        }
        if let Some(url) = &config.authorization_endpoint {
            check_authorization_endpoint(url)?;
        }
        let policy = config.policy();
        let mut wanted = RingFlags::new(&config, policy)?;
        let seal = config.seal.load().map_err(KeysError::Seal)?;
        let mut problem = None;
        let mut attempts = 0..ATTEMPTS;
        let (ring, revision, signers) = loop {
            attempts.next().ok_or(KeysError::Busy)?;
            let found = store.get(RING_KEY).await?;
            let before = found.as_ref().map(|entry| KeyRing::from_json(&entry.value)).transpose()?;
            let now = clock.now();
            let mut ring = match &before {
                // Before anything is written: who has the wrong sealing key changes nothing.
                Some(ring) => {
                    open_all(&seal, ring)?;
                    let mut mended = ring.clone();
                    if policy.set_back(&mut mended, now) {
                        // By itself, as what follows may be refused until a wait is over, which must begin.
                        mended.log(Some(ring), &Cause::set_back(), now);
                        put_ring(&*store, &mended, found.as_ref()).await?;
                        continue;
                    }
                    mended
                }
                None if !config.anew && !store.list("/", None, 1).await?.entries.is_empty() => {
                    return Err(KeysError::Missing);
                }
                None => wanted.first(&seal, now).await?,
            };
            if let Err(failure) = wanted.ask(&mut ring, &seal, now).await {
                // What the operator gave is wrong: say so. What failed here: the old key keeps signing.
                match failure {
                    KeysError::Generate(cause) => {
                        problem = Some(format!("no new signing key could be made: {cause}"))
                    }
                    other => return Err(other),
                }
            }
            let reason = if before.is_none() { "the first start" } else { "the server's flags" };
            ring.log(before.as_ref(), &Cause::start(reason), now);
            let signers = open_all(&seal, &ring)?;
            if let (Some(entry), true) = (&found, before.as_ref() == Some(&ring)) {
                break (ring, entry.revision, signers);
            }
            if let Some(revision) = put_ring(&*store, &ring, found.as_ref()).await? {
                break (ring, revision, signers);
            }
        };
        let published = DocumentSettings::of(&config, policy);
        let set = KeySet::new(revision, ring, &signers, &config.verification_keys, &published);
        if let Some(problem) = &set.documents.problem {
            warn!("{problem}");
        }
        let opened = clock.monotonic();
        let keys = Arc::new(Keys {
            store,
            clock,
            sealing: config.seal,
            seal: ArcSwap::from_pointee(seal),
            policy,
            published,
            current: ArcSwap::from_pointee(set),
            inputs: Mutex::new(Inputs { listed: config.verification_keys, signers }),
            writing: tokio::sync::Mutex::new(()),
            posted: AtomicU64::new(0),
            synced: AtomicU64::new(millis(opened)),
            opened,
            pulse: Pulse::default(),
            changed: Notify::new(),
            problem: ArcSwapOption::from_pointee(problem),
        });
        keys.post().await;
        Ok(keys)
    }

    /// The keys as they are now. Costs one atomic load.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// When keys change.
    pub fn policy(&self) -> &RotationPolicy {
        &self.policy
    }

    /// The sealing keys that are in force.
    pub fn seal_keys(&self) -> Arc<SealKeys> {
        self.seal.load_full()
    }

    /// The signer of `algorithm` (`None`: the default one) for a token that expires at `exp` (Unix seconds; [`NEVER`]
    /// for none). When this returns, the ring says durably that the signer's key stays published until then, so
    /// sign only what expires no later.
    ///
    /// Nearly always an atomic load and a comparison: a promise is written ahead, about once an hour.
    ///
    /// # Errors
    /// Nothing may be signed just now.
    ///
    /// [`NEVER`]: super::ring::NEVER
    pub async fn reserve(
        &self,
        algorithm: Option<Algorithm>,
        exp: i64,
    ) -> Result<Arc<dyn Signer>, ReserveError> {
        // Who has not seen the ring for longer than replicas may lag does not know whether its key still signs.
        if self.stale() {
            self.refresh().await?;
        }
        if let Some(signer) = self.current.load().covered(algorithm, exp) {
            return Ok(signer);
        }
        let _writing = self.writing.lock().await;
        for _ in 0..ATTEMPTS {
            let set = self.current();
            if let Some(signer) = set.covered(algorithm, exp) {
                return Ok(signer);
            }
            let algorithm = algorithm.unwrap_or(set.ring.default_algorithm());
            if set.ring.active_of(algorithm).is_none() {
                return Err(ReserveError::NoKey(algorithm));
            }
            if !set.has_signer(algorithm) {
                return Err(ReserveError::NoSigner);
            }
            let mut ring = set.ring.clone();
            ring.promise(algorithm, promise_ahead(exp));
            self.write(ring, set.revision).await?;
        }
        Err(ReserveError::Busy)
    }

    /// Replaces the keys that verify because they are listed; the documents follow at once.
    pub fn set_verification_keys(&self, keys: Vec<PublicKey>) {
        let mut inputs = self.inputs.lock().unwrap_or_else(|e| e.into_inner());
        inputs.listed = keys;
        let set = self.current();
        self.swap(set.revision, set.ring.clone(), &inputs);
    }

    /// Writes the ring if nobody has since `revision`; says whether it did. Either way the key set is then the
    /// store's.
    async fn write(&self, mut ring: KeyRing, revision: Revision) -> Result<bool, ReserveError> {
        // What does not open here would not open after a restart either.
        let opened = self.open_missing(&ring)?;
        ring.posted(self.posted.load(Ordering::Relaxed));
        let value = Bytes::from(ring.to_json());
        let asked = self.clock.monotonic();
        match self.store.put(RING_KEY, value, Expect::Unchanged(revision)).await {
            Ok(revision) => {
                self.seen(asked);
                let mut inputs = self.inputs.lock().unwrap_or_else(|e| e.into_inner());
                inputs.signers.extend(opened);
                self.adopt(revision, ring, &mut inputs);
                Ok(true)
            }
            Err(StoreError::Conflict(Some(entry))) => {
                self.install(&entry)?;
                self.seen(asked);
                Ok(false)
            }
            Err(StoreError::Conflict(None)) => Err(ReserveError::Missing),
            Err(other) => Err(ReserveError::Store(other)),
        }
    }

    /// Opens the private halves of a ring that are not open yet.
    fn open_missing(&self, ring: &KeyRing) -> Result<Signers, ReserveError> {
        let missing: Vec<&RingKey> = {
            let inputs = self.inputs.lock().unwrap_or_else(|e| e.into_inner());
            ring.keys().iter().filter(|k| k.sealed.is_some() && !is_open(&inputs.signers, k)).collect()
        };
        let open = |key: &&RingKey| match self.open_key(key) {
            Ok(opened) => Ok((key.id.clone(), opened)),
            Err(cause) => {
                error!(key.id, cause = %chain(&cause), "a private half cannot be opened");
                Err(ReserveError::Sealed(key.id.clone()))
            }
        };
        missing.iter().map(open).collect()
    }

    /// Opens a private half. If the sealing keys in memory do not, those of the file may: another process may have
    /// renewed them.
    fn open_key(&self, key: &RingKey) -> Result<Opened, UnsealError> {
        match open_signer(&self.seal.load(), key) {
            Err(UnsealError::Broken) => {
                let fresh = self.sealing.load().map_err(|_| UnsealError::Broken)?;
                let opened = open_signer(&fresh, key)?;
                self.seal.store(Arc::new(fresh));
                Ok(opened)
            }
            done => done,
        }
    }

    /// Brings what the ring says of its own changes to the journal. Whoever comes first does; nothing is written
    /// twice, since each entry has its own place.
    async fn post(&self) {
        let set = self.current();
        for entry in set.ring.outbox().iter().filter(|e| e.number > self.posted.load(Ordering::Relaxed)) {
            let value = serde_json::to_vec(entry).expect("an entry is made of strings and numbers");
            match self.store.put(&journal_key(entry.number), value.into(), Expect::Absent).await {
                Ok(_) | Err(StoreError::Conflict(_)) => {
                    self.posted.fetch_max(entry.number, Ordering::Relaxed);
                }
                // The ring still has them: the next change tries again.
                Err(cause) => return warn!(cause = %chain(&cause), "the journal of the key ring is behind"),
            }
        }
    }

    async fn refresh(&self) -> Result<(), ReserveError> {
        let asked = self.clock.monotonic();
        let found = self.store.get(RING_KEY).await.map_err(ReserveError::Store)?;
        self.install(&found.ok_or(ReserveError::Missing)?)?;
        self.seen(asked);
        Ok(())
    }

    /// Takes over what the store had at some time. That it still has it is known only to who has asked: a watch may be
    /// late.
    fn install(&self, entry: &Entry) -> Result<(), ReserveError> {
        let mut inputs = self.inputs.lock().unwrap_or_else(|e| e.into_inner());
        if entry.revision > self.current.load().revision {
            let ring = KeyRing::from_json(&entry.value)?;
            self.adopt(entry.revision, ring, &mut inputs);
        }
        Ok(())
    }

    /// Makes the key set of a ring, opening what is not open yet.
    fn adopt(&self, revision: Revision, ring: KeyRing, inputs: &mut Inputs) {
        let signs: Vec<&RingKey> = ring.keys().iter().filter(|k| k.sealed.is_some()).collect();
        let fits =
            |id: &str, o: &Opened| signs.iter().any(|k| k.id == id && k.algorithm == o.signer.algorithm());
        inputs.signers.retain(|id, opened| fits(id, opened));
        let mut failed = None;
        for key in signs.into_iter().filter(|k| !is_open(&inputs.signers, k)).collect::<Vec<_>>() {
            match self.open_key(key) {
                Ok(opened) => drop(inputs.signers.insert(key.id.clone(), opened)),
                // One that was open before its half was sealed anew goes on here, until a restart.
                Err(cause) => {
                    failed = Some(format!("signing key {} cannot be opened: {}", key.id, chain(&cause)));
                }
            }
        }
        if let Some(problem) = &failed {
            error!("{problem}");
        }
        self.problem.store(failed.map(Arc::new));
        self.swap(revision, ring, inputs);
    }

    fn swap(&self, revision: Revision, ring: KeyRing, inputs: &Inputs) {
        let set = KeySet::new(revision, ring, &inputs.signers, &inputs.listed, &self.published);
        // Late news of an old revision must not undo a newer one.
        if revision >= self.current.load().revision {
            self.current.store(Arc::new(set));
            self.changed.notify_one();
        }
    }
}

/// How often a compare-and-swap is tried before the writer gives up; each loss means that another one won.
const ATTEMPTS: usize = 16;

/// Writes the ring in the place of what was found, unless another one has.
async fn put_ring(
    store: &dyn Store,
    ring: &KeyRing,
    found: Option<&Entry>,
) -> Result<Option<Revision>, StoreError> {
    let expect = found.map_or(Expect::Absent, |entry| Expect::Unchanged(entry.revision));
    match store.put(RING_KEY, Bytes::from(ring.to_json()), expect).await {
        Ok(revision) => Ok(Some(revision)),
        Err(StoreError::Conflict(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

fn journal_key(number: u64) -> String {
    // As many digits as a u64 can have, so that keys are in the order of numbers.
    format!("{JOURNAL}{number:020}")
}

fn record(value: &[u8]) -> Option<Record> {
    serde_json::from_slice(value).ok()
}

/// Opens every private half.
fn open_all(seal: &SealKeys, ring: &KeyRing) -> Result<Signers, KeysError> {
    let sealed = ring.keys().iter().filter(|k| k.sealed.is_some());
    sealed
        .map(|key| match open_signer(seal, key) {
            Ok(opened) => Ok((key.id.clone(), opened)),
            Err(source) => Err(KeysError::Unseal { id: key.id.clone(), source }),
        })
        .collect()
}

fn open_signer(seal: &SealKeys, key: &RingKey) -> Result<Opened, UnsealError> {
    let sealed = key.sealed.as_deref().ok_or(UnsealError::Broken)?;
    let private = seal.open(&key.id, key.algorithm, sealed)?;
    let signer = Arc::new(LocalSigner::new(&private).map_err(UnsealError::Key)?);
    Ok(Opened { signer, sealed: sealed.to_vec() })
}

fn is_open(signers: &Signers, key: &RingKey) -> bool {
    signers.get(&key.id).is_some_and(|opened| {
        Some(&opened.sealed) == key.sealed.as_ref() && opened.signer.algorithm() == key.algorithm
    })
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
