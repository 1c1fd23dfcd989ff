//! The keys at work: the ring in the store, the key set in memory, and the promise before each signature.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use futures::StreamExt;
use tracing::{error, info, warn};

use super::issuer::{IssuerError, check_jwks_uri};
use super::policy::promise_ahead;
use super::seal::UnsealError;
use super::wanted::Wanted;
use super::{
    Algorithm, Documents, KeyError, KeyRing, KeySet, LocalSigner, PrivatePem, PublicKey, RingError,
    RotationPolicy, SealKey, Signer, Step,
};
use crate::clock::Clock;
use crate::store::{Change, Changes, Entry, Expect, Revision, Store, StoreError};

/// Where the ring is in the store: one value, so that every change of it is one compare-and-swap.
pub const RING_KEY: &str = "/tokensmith/keys/ring";

/// What an operator decides about keys.
#[derive(Debug)]
pub struct KeysConfig {
    /// What generated keys are for. `None`: RS256 for a first key, and no change asked of a ring that signs.
    pub algorithm: Option<Algorithm>,
    /// Opens and closes the private halves in the store.
    pub seal: SealKey,
    /// `--service-account-signing-key-file`: the key that is to sign.
    pub signing_key: Option<PrivatePem>,
    /// `--service-account-key-file`: keys that verify, and are published, while they are listed.
    pub verification_keys: Vec<PublicKey>,
    /// How long verifiers may use the documents.
    pub max_age: Duration,
    /// How long a new key is published before it signs; raised to `max_age` plus `lag` if shorter.
    pub publish_before: Duration,
    /// How long past its expiry a token is accepted.
    pub leeway: Duration,
    /// How long a replica may go on without having seen the ring.
    pub lag: Duration,
    /// The issuer in tokens and in the discovery document, byte for byte.
    pub issuer: String,
    /// `--service-account-jwks-uri`; `None`: the issuer and `/openid/v1/jwks`.
    pub jwks_uri: Option<String>,
}

impl KeysConfig {
    /// The defaults for an issuer: key sets cached for an hour as Kubernetes has it, a minute of leeway and lag.
    pub fn new(issuer: impl Into<String>, seal: SealKey) -> Self {
        KeysConfig {
            algorithm: None,
            seal,
            signing_key: None,
            verification_keys: Vec::new(),
            max_age: Duration::from_secs(3600),
            publish_before: Duration::from_secs(3660),
            leeway: Duration::from_secs(60),
            lag: Duration::from_secs(60),
            issuer: issuer.into(),
            jwks_uri: None,
        }
    }
}

/// Why the keys cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Two flags contradict each other.
    #[error(
        "the signing key file holds an {file} key, but the signing algorithm is to be {flag}: leave one of them out"
    )]
    Algorithm {
        /// The file's.
        file: Algorithm,
        /// The flag's.
        flag: Algorithm,
    },
    /// The first key could not be made.
    #[error("could not make a signing key")]
    Generate(#[source] KeyError),
    /// A flag about the issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The ring in the store, or the change that was asked for.
    #[error("the key ring cannot be used")]
    Ring(#[from] RingError),
    /// The signing-key file.
    #[error("the signing key file cannot be used")]
    SigningKey(#[source] KeyError),
    /// The store.
    #[error("the key ring cannot be read or written")]
    Store(#[from] StoreError),
    /// The active key's private half.
    #[error(
        "the private half of signing key {id} cannot be opened: put the seal key that belongs to this data back"
    )]
    Unseal {
        /// The `kid`.
        id: String,
        /// Why.
        #[source]
        source: UnsealError,
    },
}

/// Why nothing may be signed just now.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Other writers kept being faster.
    #[error("the key ring kept changing")]
    Busy,
    /// The ring is gone from the store.
    #[error("the key ring is missing from the store")]
    Missing,
    /// The active key's private half cannot be opened here.
    #[error("the active signing key cannot be used")]
    NoSigner,
    /// No key of the algorithm may sign.
    #[error("no {0} key may sign")]
    NoKey(Algorithm),
    /// The ring in the store makes no sense.
    #[error("the key ring cannot be read")]
    Ring(#[from] RingError),
    /// The store did not answer, so it is not known which key may sign, or the promise could not be written.
    #[error("the key ring cannot be read or written")]
    Store(#[source] StoreError),
}

/// The keys of one server.
pub struct Keys {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    seal: SealKey,
    policy: RotationPolicy,
    lag: Duration,
    issuer: String,
    jwks_uri: String,
    current: ArcSwap<KeySet>,
    inputs: Mutex<Inputs>,
    /// One writer at a time in this process; between processes the store's compare-and-swap decides.
    writing: tokio::sync::Mutex<()>,
    /// When the ring was last known to be the store's, in milliseconds of the monotonic clock.
    synced: AtomicU64,
    problem: ArcSwapOption<String>,
}

/// What a key set is made from besides the ring. Locked while one is made, so that two never cross.
struct Inputs {
    listed: Vec<PublicKey>,
    signer: Option<Arc<dyn Signer>>,
}

impl Keys {
    /// Reads the ring, or makes the first one, and brings in what the operator asks for: a signing key or an
    /// algorithm other than the active one is prepared, and signs once it has been published for long enough.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config: KeysConfig,
    ) -> Result<Arc<Self>, KeysError> {
        if let Some(uri) = &config.jwks_uri {
            check_jwks_uri(uri)?;
        }
        let mut wanted = Wanted::new(&config)?;
        let mut problem = None;
        let (ring, revision) = loop {
            let found = store.get(RING_KEY).await?;
            let mut ring = match &found {
                Some(entry) => KeyRing::from_json(&entry.value)?,
                None => KeyRing::new(wanted.first(&config.seal)?, clock.now()),
            };
            if let Err(failure) = wanted.ask(&mut ring, &config.seal, clock.now()) {
                // What the operator gave is wrong: say so. What failed here: the old key keeps signing.
                match failure {
                    KeysError::Generate(cause) => {
                        problem = Some(format!("no new signing key could be made: {cause}"))
                    }
                    other => return Err(other),
                }
            }
            let value = Bytes::from(ring.to_json());
            let expect = match &found {
                Some(entry) if entry.value == value => break (ring, entry.revision),
                Some(entry) => Expect::Unchanged(entry.revision),
                None => Expect::Absent,
            };
            match store.put(RING_KEY, value, expect).await {
                Ok(revision) => break (ring, revision),
                Err(StoreError::Conflict(_)) => continue,
                Err(other) => return Err(other.into()),
            }
        };
        let active = ring.active();
        let signer = open_signer(&config.seal, &active.id, active.sealed.as_deref())
            .map_err(|source| KeysError::Unseal { id: active.id.clone(), source })?;
        let policy = RotationPolicy {
            max_age: config.max_age,
            publish_before: config.publish_before.max(config.max_age + config.lag),
            leeway: config.leeway,
        };
        let jwks_uri = config
            .jwks_uri
            .unwrap_or_else(|| format!("{}/openid/v1/jwks", config.issuer.trim_end_matches('/')));
        let render = |keys: &[_]| Documents::render(&config.issuer, &jwks_uri, keys, config.max_age);
        let set = KeySet::new(revision, ring, Some(Arc::clone(&signer)), &config.verification_keys, render);
        if let Some(problem) = &set.documents.problem {
            warn!("{problem}");
        }
        let synced = AtomicU64::new(millis(clock.monotonic()));
        Ok(Arc::new(Keys {
            store,
            clock,
            seal: config.seal,
            policy,
            lag: config.lag,
            issuer: config.issuer,
            jwks_uri,
            current: ArcSwap::from_pointee(set),
            inputs: Mutex::new(Inputs { listed: config.verification_keys, signer: Some(signer) }),
            writing: tokio::sync::Mutex::new(()),
            synced,
            problem: ArcSwapOption::from_pointee(problem),
        }))
    }

    /// The keys as they are now. Costs one atomic load.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// The signer of `algorithm` (`None`: the default one) for a token that expires at `exp` (Unix seconds; [`NEVER`]
    /// for none). When this returns, the ring says durably that the signer's key stays published until then, so
    /// sign only what expires no later.
    ///
    /// Nearly always an atomic load and a comparison: a promise is written ahead, about once an hour.
    ///
    /// [`NEVER`]: super::ring::NEVER
    pub async fn reserve(
        &self,
        algorithm: Option<Algorithm>,
        exp: i64,
    ) -> Result<Arc<dyn Signer>, ReserveError> {
        let active = self.current.load().ring.active().algorithm;
        if let Some(other) = algorithm.filter(|a| *a != active) {
            return Err(ReserveError::NoKey(other));
        }
        // Who has not seen the ring for longer than replicas may lag does not know whether its key still signs.
        if self.stale() {
            self.refresh().await?;
        }
        if let Some(signer) = covered(&self.current.load(), exp) {
            return Ok(signer);
        }
        let _writing = self.writing.lock().await;
        for _ in 0..ATTEMPTS {
            let set = self.current();
            if let Some(signer) = covered(&set, exp) {
                return Ok(signer);
            }
            if set.signer.is_none() {
                return Err(ReserveError::NoSigner);
            }
            let mut ring = set.ring.clone();
            ring.promise(promise_ahead(exp));
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

    /// What keeps the keys from being all right, for readiness; `None` when they are.
    pub fn problem(&self) -> Option<String> {
        if self.current.load().signer.is_none() {
            return Some("the active signing key cannot be used".into());
        }
        if self.stale() {
            return Some("the key ring has not been seen for too long".into());
        }
        self.problem.load().as_deref().cloned()
    }

    /// When the ring will change next, if nothing else happens.
    pub fn next_change(&self) -> Option<time::OffsetDateTime> {
        self.policy.next(&self.current.load().ring)
    }

    /// Keeps the key set current and carries out what is due, for as long as the server runs.
    pub async fn run(&self) {
        loop {
            match self.store.watch(RING_KEY, self.current.load().revision).await {
                Ok(changes) => self.follow(changes).await,
                Err(cause) => warn!(cause = %chain(&cause), "cannot watch the key ring"),
            }
            // The watch broke off or its start was compacted: begin again from what is there now.
            if let Err(cause) = self.refresh().await {
                warn!(cause = %chain(&cause), "cannot read the key ring");
            }
            self.clock.sleep_until(self.clock.now() + RETRY).await;
        }
    }

    /// Until the watch ends.
    async fn follow(&self, mut changes: Changes) {
        loop {
            if let Err(cause) = self.advance().await {
                error!(cause = %chain(&cause), "cannot carry out a change of the key ring that is due");
            }
            let now = self.clock.now();
            let poll = now + self.lag / 2;
            // A step that failed stays due: wait before the next attempt.
            let wake = self.next_change().map_or(poll, |due| due.max(now + RETRY).min(poll));
            tokio::select! {
                change = changes.next() => match change {
                    Some(Ok(change)) => self.changed(change),
                    Some(Err(_)) | None => return,
                },
                () = self.clock.sleep_until(wake) => if let Err(cause) = self.refresh().await {
                    warn!(cause = %chain(&cause), "cannot read the key ring");
                },
            }
        }
    }

    fn changed(&self, change: Change) {
        if change.key != RING_KEY {
            return;
        }
        let Some(value) = change.value else {
            error!("the key ring was deleted from the store: nothing is signed until it is restored");
            return;
        };
        let entry = Entry { key: change.key, value, revision: change.revision };
        if let Err(cause) = self.install(&entry) {
            error!(cause = %chain(&cause), "the changed key ring is ignored");
        }
    }

    /// Carries out the steps that are due. A replica that loses the race looks again.
    async fn advance(&self) -> Result<(), ReserveError> {
        let _writing = self.writing.lock().await;
        for _ in 0..ATTEMPTS {
            let set = self.current();
            let now = self.clock.now();
            let mut ring = set.ring.clone();
            for step in self.policy.due(&ring, now) {
                if let Step::Promote { id } = &step {
                    // Never retire a key that signs for one that cannot.
                    let sealed = ring.get(id).and_then(|k| k.sealed.as_deref());
                    if let Err(cause) = open_signer(&self.seal, id, sealed) {
                        self.fail(format!("signing key {id} is due but cannot be used: {}", chain(&cause)));
                        continue;
                    }
                }
                step.apply(&mut ring, now)?;
                info!(?step, "the key ring changes");
            }
            if ring == set.ring || self.write(ring, set.revision).await? {
                return Ok(());
            }
        }
        Err(ReserveError::Busy)
    }

    /// Writes the ring if nobody has since `revision`; says whether it did. Either way the key set is then the
    /// store's.
    async fn write(&self, ring: KeyRing, revision: Revision) -> Result<bool, ReserveError> {
        let value = Bytes::from(ring.to_json());
        match self.store.put(RING_KEY, value, Expect::Unchanged(revision)).await {
            Ok(revision) => {
                self.seen();
                let mut inputs = self.inputs.lock().unwrap_or_else(|e| e.into_inner());
                self.replace(revision, ring, &mut inputs);
                Ok(true)
            }
            Err(StoreError::Conflict(Some(entry))) => self.install(&entry).map(|()| false),
            Err(StoreError::Conflict(None)) => Err(ReserveError::Missing),
            Err(other) => Err(ReserveError::Store(other)),
        }
    }

    async fn refresh(&self) -> Result<(), ReserveError> {
        match self.store.get(RING_KEY).await.map_err(ReserveError::Store)? {
            Some(entry) => self.install(&entry),
            None => Err(ReserveError::Missing),
        }
    }

    fn install(&self, entry: &Entry) -> Result<(), ReserveError> {
        let mut inputs = self.inputs.lock().unwrap_or_else(|e| e.into_inner());
        if entry.revision > self.current.load().revision {
            let ring = KeyRing::from_json(&entry.value)?;
            self.replace(entry.revision, ring, &mut inputs);
        }
        self.seen();
        Ok(())
    }

    /// Makes the key set of a ring, opening the active key unless it is already open.
    fn replace(&self, revision: Revision, ring: KeyRing, inputs: &mut Inputs) {
        let active = ring.active();
        if inputs.signer.as_ref().is_none_or(|s| s.key_id() != active.id) {
            inputs.signer = match open_signer(&self.seal, &active.id, active.sealed.as_deref()) {
                Ok(signer) => {
                    self.problem.store(None);
                    Some(signer)
                }
                Err(cause) => {
                    error!(key.id = active.id, cause = %chain(&cause), "the active signing key cannot be opened");
                    None
                }
            };
        }
        self.swap(revision, ring, inputs);
    }

    fn swap(&self, revision: Revision, ring: KeyRing, inputs: &Inputs) {
        let max_age = self.policy.max_age;
        let render = |keys: &[_]| Documents::render(&self.issuer, &self.jwks_uri, keys, max_age);
        let set = KeySet::new(revision, ring, inputs.signer.clone(), &inputs.listed, render);
        // Late news of an old revision must not undo a newer one.
        if revision >= self.current.load().revision {
            self.current.store(Arc::new(set));
        }
    }

    fn seen(&self) {
        self.synced.store(millis(self.clock.monotonic()), Ordering::Relaxed);
    }

    fn stale(&self) -> bool {
        let synced = Duration::from_millis(self.synced.load(Ordering::Relaxed));
        self.clock.monotonic().saturating_sub(synced) > self.lag
    }

    fn fail(&self, problem: String) {
        error!("{problem}");
        self.problem.store(Some(Arc::new(problem)));
    }
}

/// How often a compare-and-swap is tried before the writer gives up; each loss means that another one won.
const ATTEMPTS: usize = 16;
const RETRY: Duration = Duration::from_secs(1);

fn open_signer(seal: &SealKey, id: &str, sealed: Option<&[u8]>) -> Result<Arc<dyn Signer>, UnsealError> {
    let key = seal.open(id, sealed.ok_or(UnsealError::Broken)?)?;
    Ok(Arc::new(LocalSigner::new(&key).map_err(UnsealError::Key)?))
}

/// The signer, if its key's promise reaches to `exp`.
fn covered(set: &KeySet, exp: i64) -> Option<Arc<dyn Signer>> {
    let promised = set.ring.active().last_exp.is_some_and(|last| last >= exp);
    set.signer.clone().filter(|_| promised)
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
