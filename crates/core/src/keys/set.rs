//! The key set: what the ring means for those who sign, verify and publish, ready to use and never changed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use time::OffsetDateTime;
use time::macros::format_description;

use super::policy::promise_due;
use super::ring::NEVER;
use super::service::KeysConfig;
use super::{
    Algorithm, Documents, Endpoints, KeyRing, Origin, Phase, PublicKey, RingKey, RotationPolicy, Signer, Step,
};
use crate::moment::Moment;
use crate::store::Revision;

/// One state of the keys. Swapped as a whole, so that the signers, the published keys and the documents always
/// belong together.
pub struct KeySet {
    /// The store's revision of the ring that this shows.
    pub(super) revision: Revision,
    pub(super) ring: KeyRing,
    /// The default algorithm's first.
    active: Vec<Active>,
    /// The prepared keys that could sign.
    ready: HashSet<String>,
    published: Vec<Arc<PublicKey>>,
    by_id: HashMap<String, Arc<PublicKey>>,
    infos: Vec<KeyInfo>,
    pub(super) documents: Documents,
}

/// Opened keys, by `kid`.
pub(super) type Signers = HashMap<String, Opened>;

/// A private half, opened once: the moment of a rotation is no time to parse keys.
pub(super) struct Opened {
    pub(super) signer: Arc<dyn Signer>,
    /// What it was opened from.
    pub(super) sealed: Vec<u8>,
}

/// A key that signs.
struct Active {
    /// It, with what has been promised for it.
    key: RingKey,
    /// `None` when its private half cannot be had: then nothing is signed with it.
    signer: Option<Arc<dyn Signer>>,
    /// The latest expiry that it has been asked for, since this set was made.
    asked: AtomicI64,
}

/// What the documents say besides the keys.
pub(super) struct DocumentSettings {
    issuer: String,
    endpoints: Endpoints,
    policy: RotationPolicy,
}

impl DocumentSettings {
    pub(super) fn of(config: &KeysConfig, policy: RotationPolicy) -> Self {
        let issuer = config.issuer.clone();
        let own = || format!("{}/openid/v1/jwks", issuer.trim_end_matches('/'));
        let endpoints = Endpoints {
            jwks_uri: config.jwks_uri.clone().unwrap_or_else(own),
            authorization: config.authorization_endpoint.clone(),
        };
        DocumentSettings { issuer, endpoints, policy }
    }
}

/// A key as lists and metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The `kid`.
    pub id: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// `active`, `prepared`, `retired`, `revoked`, or `listed` for a key of `--service-account-key-file`.
    pub phase: &'static str,
    /// Since when it is in that phase; `None` for listed keys.
    pub since: Option<OffsetDateTime>,
    /// Since when it has been published; `None` for listed and revoked keys.
    pub published_at: Option<OffsetDateTime>,
    /// Where it came from; `None` for listed keys.
    pub origin: Option<Origin>,
    /// The latest expiry, in Unix seconds, that those of its tokens may carry that expire.
    pub last_exp: Option<i64>,
    /// Whether some may be out that never do.
    pub undated: bool,
    /// Whether it signs what no token profile decides.
    pub default: bool,
    /// From when on a prepared key may sign.
    pub may_sign_from: Option<OffsetDateTime>,
    /// What happens to it next, and when, if nobody does anything.
    pub next: Option<(Next, OffsetDateTime)>,
}

/// What happens to a key next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Its tokens are dead everywhere: it leaves the key set.
    Removed,
    /// Another key takes its place.
    Retires,
    /// It begins to sign.
    Signs,
}

impl Next {
    /// As lists show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Next::Removed => "removed",
            Next::Retires => "retires",
            Next::Signs => "signs",
        }
    }
}

impl KeySet {
    /// Works out a ring and the listed keys: the active keys first (the default one before all), then prepared, retired
    /// (newest first), listed. A key in both appears once; one that is revoked appears nowhere, whoever lists it.
    pub(super) fn new(
        revision: Revision,
        ring: KeyRing,
        signers: &Signers,
        listed: &[PublicKey],
        documents: &DocumentSettings,
    ) -> Self {
        let DocumentSettings { issuer, endpoints, policy } = documents;
        let default = ring.active().id.clone();
        let mut keys: Vec<_> = ring.keys().iter().collect();
        keys.sort_by_key(|k| (k.id != default, rank(&k.phase), std::cmp::Reverse(k.phase.since())));
        let mut infos = Vec::with_capacity(keys.len() + listed.len());
        let mut published = Vec::with_capacity(keys.len() + listed.len());
        let mut seen = HashSet::new();
        let schedule = policy.schedule(&ring);
        for key in &keys {
            seen.insert(key.id.clone());
            let public = key.phase.published();
            infos.push(KeyInfo {
                id: key.id.clone(),
                algorithm: key.algorithm,
                phase: key.phase.name(),
                since: Some(key.phase.since()),
                published_at: public.then_some(key.published_at),
                origin: Some(key.origin),
                last_exp: key.last_exp,
                undated: key.undated,
                default: key.id == default,
                may_sign_from: key.is_prepared().then(|| policy.may_sign_from(key)),
                next: next(&schedule, &ring, key),
            });
            // check() has parsed every public half of a ring before it got here.
            if let (true, Ok(key)) = (public, PublicKey::from_spki_for(&key.spki, key.algorithm)) {
                published.push(Arc::new(key));
            }
        }
        for key in listed.iter().filter(|k| seen.insert(k.key_id().to_owned())) {
            infos.push(KeyInfo {
                id: key.key_id().to_owned(),
                algorithm: key.algorithm(),
                phase: "listed",
                since: None,
                published_at: None,
                origin: None,
                last_exp: None,
                undated: false,
                default: false,
                may_sign_from: None,
                next: None,
            });
            published.push(Arc::new(key.clone()));
        }
        let active = keys.iter().filter(|k| k.is_active()).map(|k| Active {
            key: (*k).clone(),
            signer: signers.get(&k.id).map(|opened| opened.signer.clone()),
            asked: AtomicI64::new(i64::MIN),
        });
        let active = active.collect();
        let ready = keys.iter().filter(|k| k.is_prepared() && signers.contains_key(&k.id));
        let ready = ready.map(|k| k.id.clone()).collect();
        let by_id = published.iter().map(|k| (k.key_id().to_owned(), Arc::clone(k))).collect();
        let documents = Documents::render(issuer, endpoints, &published, policy.max_age);
        let mut set = KeySet { revision, ring, active, ready, published, by_id, infos, documents };
        set.documents.modified = http_date(set.changed_at());
        set
    }

    /// The signer of an algorithm (`None`: the default one), if its key's promise reaches to `exp`.
    pub(super) fn covered(&self, algorithm: Option<Algorithm>, exp: i64) -> Option<Arc<dyn Signer>> {
        let active = self.active_of(algorithm)?;
        let signer = active.signer.clone().filter(|_| active.key.promised(exp))?;
        // Looked at first: nearly all requests of a second ask for the same, and would fight for the cache line.
        if exp != NEVER && active.asked.load(Ordering::Relaxed) < exp {
            active.asked.fetch_max(exp, Ordering::Relaxed);
        }
        Some(signer)
    }

    /// The promises that requests would soon have to wait for.
    pub(super) fn promises_due(&self) -> Vec<(Algorithm, i64)> {
        let due = |a: &Active| promise_due(a.key.last_exp?, a.asked.load(Ordering::Relaxed));
        self.active.iter().filter_map(|a| Some((a.key.algorithm, due(a)?))).collect()
    }

    /// Whether the key that signs with an algorithm can be used here.
    pub(super) fn has_signer(&self, algorithm: Algorithm) -> bool {
        self.active_of(Some(algorithm)).is_some_and(|a| a.signer.is_some())
    }

    /// Whether all keys that are to sign can.
    pub(super) fn can_sign(&self) -> bool {
        self.active.iter().all(|a| a.signer.is_some())
    }

    /// Whether a prepared key could sign.
    pub(super) fn can_sign_with(&self, id: &str) -> bool {
        self.ready.contains(id)
    }

    fn active_of(&self, algorithm: Option<Algorithm>) -> Option<&Active> {
        match algorithm {
            None => self.active.first(),
            Some(algorithm) => self.active.iter().find(|a| a.key.algorithm == algorithm),
        }
    }

    /// The id of the key that signs what no token profile decides.
    pub fn active_id(&self) -> &str {
        &self.ring.active().id
    }

    /// The keys that verifiers get, in the order of the JWKS.
    pub fn published(&self) -> &[Arc<PublicKey>] {
        &self.published
    }

    /// The keys that may have signed a token with this `kid`: one or none; without a `kid`, all of them.
    pub fn candidates(&self, kid: Option<&str>) -> impl Iterator<Item = &PublicKey> {
        let (one, all) = match kid {
            Some(kid) => (self.by_id.get(kid), [].as_slice()),
            None => (None, self.published.as_slice()),
        };
        one.into_iter().chain(all).map(Arc::as_ref)
    }

    /// When the published keys last changed, as far as the ring knows; it does not know when a key was listed.
    pub fn changed_at(&self) -> OffsetDateTime {
        let published = self.ring.keys().iter().map(|k| k.published_at);
        published.fold(self.ring.published_at(), OffsetDateTime::max)
    }

    /// The discovery document and the key set, ready to send.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// All keys, revoked ones too, for people and metrics.
    pub fn infos(&self) -> &[KeyInfo] {
        &self.infos
    }

    /// The ring behind it.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("revision", &self.revision).field("keys", &self.infos).finish()
    }
}

fn next(
    schedule: &[(OffsetDateTime, Step)],
    ring: &KeyRing,
    key: &RingKey,
) -> Option<(Next, OffsetDateTime)> {
    let concerns = |step: &Step| match step {
        Step::Promote { id } if *id == key.id => Some(Next::Signs),
        // The new default takes the place of the old one, too.
        Step::Promote { id } if key.is_active() => {
            let next = ring.get(id)?.algorithm;
            let displaced = next == key.algorithm
                || (ring.next_default() == Some(next) && key.algorithm == ring.default_algorithm());
            displaced.then_some(Next::Retires)
        }
        Step::SwitchDefault if key.algorithm == ring.default_algorithm() && key.is_active() => {
            Some(Next::Retires)
        }
        Step::Remove { id } if *id == key.id => Some(Next::Removed),
        Step::Retire { id } if *id == key.id => Some(Next::Retires),
        _ => None,
    };
    schedule.iter().filter_map(|(at, step)| Some((concerns(step)?, *at))).min_by_key(|(_, at)| *at)
}

/// A time as headers have it (RFC 9110 §5.6.7, IMF-fixdate); `None` for one that no header can hold.
fn http_date(at: OffsetDateTime) -> Option<String> {
    let form = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at.in_utc().format(form).ok()
}

fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Active { .. } => 0,
        Phase::Prepared { .. } => 1,
        Phase::Retired { .. } => 2,
        Phase::Revoked { .. } => 3,
    }
}
