//! The key set: what the ring means for those who sign, verify and publish, ready to use and never changed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use super::{Algorithm, Documents, KeyRing, Origin, Phase, PublicKey, Signer};
use crate::store::Revision;

/// One state of the keys. Swapped as a whole, so that the signer, the published keys and the documents always
/// belong together.
pub struct KeySet {
    /// The store's revision of the ring that this shows.
    pub(super) revision: Revision,
    pub(super) ring: KeyRing,
    /// `None` when the active key's private half cannot be had: then nothing is signed.
    pub(super) signer: Option<Arc<dyn Signer>>,
    published: Vec<Arc<PublicKey>>,
    by_id: HashMap<String, Arc<PublicKey>>,
    infos: Vec<KeyInfo>,
    pub(super) documents: Documents,
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
    /// The latest expiry, in Unix seconds, that its tokens may carry; `i64::MAX` for ever.
    pub last_exp: Option<i64>,
}

impl KeySet {
    /// Works out a ring and the listed keys: the active key first, then prepared, retired (newest first), listed.
    /// A key in both appears once; one that is revoked appears nowhere, whoever lists it.
    pub(super) fn new(
        revision: Revision,
        ring: KeyRing,
        signer: Option<Arc<dyn Signer>>,
        listed: &[PublicKey],
        render: impl FnOnce(&[Arc<PublicKey>]) -> Documents,
    ) -> Self {
        let mut keys: Vec<_> = ring.keys().iter().collect();
        keys.sort_by_key(|k| (rank(&k.phase), std::cmp::Reverse(k.phase.since())));
        let mut infos = Vec::with_capacity(keys.len() + listed.len());
        let mut published = Vec::with_capacity(keys.len() + listed.len());
        let mut seen = HashSet::new();
        for key in keys {
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
            });
            // check() has parsed every public half of a ring before it got here.
            if let (true, Ok(key)) = (public, PublicKey::from_spki(&key.spki)) {
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
            });
            published.push(Arc::new(key.clone()));
        }
        let by_id = published.iter().map(|k| (k.key_id().to_owned(), Arc::clone(k))).collect();
        let documents = render(&published);
        KeySet { revision, ring, signer, published, by_id, infos, documents }
    }

    /// The id of the key that signs.
    pub fn active_id(&self) -> &str {
        &self.ring.active().id
    }

    /// The keys that verifiers get, in the order of the JWKS.
    pub fn published(&self) -> &[Arc<PublicKey>] {
        &self.published
    }

    /// The keys that may have signed a token with this `kid`: one or none; without a `kid`, all of them.
    pub fn candidates(&self, kid: Option<&str>) -> Vec<&Arc<PublicKey>> {
        match kid {
            Some(kid) => self.by_id.get(kid).into_iter().collect(),
            None => self.published.iter().collect(),
        }
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

fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Active { .. } => 0,
        Phase::Prepared { .. } => 1,
        Phase::Retired { .. } => 2,
        Phase::Revoked { .. } => 3,
    }
}
