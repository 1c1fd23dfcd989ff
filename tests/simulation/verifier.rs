//! How real verifiers keep a key set. Each model says whose code it follows.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use tokensmith_tests::jws::Key;

use super::issuer::Issuer;
use super::keys::KeySet;

/// The key set's `max-age` in every run, seconds.
pub const MAX_AGE: i64 = 3600;

/// What a verifier does about its key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// PyJWT's `PyJWKClient`: keeps a set for 300 s; a `kid` that it does not have makes it fetch once more, but (since
    /// 2.15) only 30 s after the last fetch.
    PyJwt,
    /// jose's `createRemoteJWKSet`: keeps a set for 10 minutes, and fetches once more as PyJWT does. Exactly one key must
    /// match.
    Jose,
    /// jwks-rsa's `JwksClient`: keeps each key for 10 minutes by its `kid` (`cacheMaxAge`); one that it does not have makes it
    /// fetch at once, and changes nothing about those that it has.
    JwksRsa,
    /// Istio's `JwksResolver`: fetches every 20 minutes, whatever happens.
    Istio,
    /// Keeps a set for as long as `max-age` says, whatever happens.
    MaxAge,
    /// Keeps a set for 24 hours, whatever happens.
    Day,
    /// go-oidc v3's `RemoteKeySet`: keeps what it has whatever `max-age` says; a `kid` that it does not have makes it fetch
    /// at once.
    GoOidc3,
    /// go-oidc 2.5's `remoteKeySet`, as kube-apiserver's OIDC authenticator has it: a key that it has is used past its
    /// time; a `kid` that it does not have makes it fetch only when `max-age` is over (less 30 s).
    GoOidc2,
    /// A program that fetches when it starts and hands the set to Authlib, python-jose or joserfc.
    Once,
}

/// A verifier with what it holds.
pub struct Verifier {
    /// Whose ways it has.
    pub kind: Kind,
    held: Option<(Arc<KeySet>, i64)>,
    /// Of a kind that keeps each key by itself: until when.
    by_kid: HashMap<String, (Arc<Key>, i64)>,
    /// When it was started last.
    started: i64,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 9] = [
        Kind::PyJwt,
        Kind::Jose,
        Kind::JwksRsa,
        Kind::Istio,
        Kind::MaxAge,
        Kind::Day,
        Kind::GoOidc3,
        Kind::GoOidc2,
        Kind::Once,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::PyJwt => "PyJWT, 5 min",
            Kind::Jose => "jose, 10 min",
            Kind::JwksRsa => "jwks-rsa, 10 min",
            Kind::Istio => "Istio, 20 min",
            Kind::MaxAge => "max-age, 1 h",
            Kind::Day => "24 h",
            Kind::GoOidc3 => "go-oidc v3",
            Kind::GoOidc2 => "go-oidc 2.5",
            Kind::Once => "fetches once",
        }
    }

    /// The longest that it goes on with a key set, seconds: so long after a key was revoked it may take its tokens, and
    /// no longer. `None` where time alone ends nothing.
    pub fn keeps(self) -> Option<i64> {
        match self {
            Kind::PyJwt => Some(300),
            Kind::Jose | Kind::JwksRsa => Some(600),
            Kind::Istio => Some(1200),
            Kind::MaxAge => Some(MAX_AGE),
            Kind::Day => Some(86_400),
            Kind::GoOidc3 | Kind::GoOidc2 | Kind::Once => None,
        }
    }

    /// How long after a change of the key set an unknown `kid` makes it fetch for sure, whenever it fetched last; `None`
    /// where none ever does.
    pub fn asks_after(self) -> Option<i64> {
        match self {
            Kind::GoOidc3 | Kind::JwksRsa => Some(0),
            Kind::PyJwt | Kind::Jose => Some(30),
            Kind::GoOidc2 => Some(MAX_AGE),
            Kind::Istio | Kind::MaxAge | Kind::Day | Kind::Once => None,
        }
    }

    /// Whether what it fetches at an unknown `kid` changes nothing about the keys that it has.
    pub fn keeps_each_key(self) -> bool {
        self == Kind::JwksRsa
    }

    /// How long after a key was published it knows it for sure, if it is shown a token of it; `None` where only a new
    /// start helps.
    pub fn learns_after(self) -> Option<i64> {
        self.asks_after().or(self.keeps())
    }
}

impl Verifier {
    /// One that has just been started: it fetches when it is asked first.
    pub fn new(kind: Kind) -> Self {
        Verifier { kind, held: None, by_kid: HashMap::new(), started: i64::MIN }
    }

    /// Forgets everything, as a process does that is started again.
    pub fn restart(&mut self, now: i64) {
        (self.held, self.started) = (None, now);
        self.by_kid.clear();
    }

    /// When it was started last.
    pub fn started(&self) -> i64 {
        self.started
    }

    /// When it fetched last.
    pub fn fetched(&self) -> i64 {
        self.held.as_ref().map_or(i64::MIN, |(_, at)| *at)
    }

    /// When it fetched last by `now` without being asked, if it has not done so yet.
    pub fn tick(&self, now: i64) -> Option<i64> {
        let (_, at) = self.held.as_ref().filter(|_| self.kind == Kind::Istio)?;
        let every = Kind::Istio.keeps()?;
        let passed = (now - at) / every;
        (passed > 0).then_some(at + passed * every)
    }

    /// The key with which it would check a token of `kid` now.
    pub async fn key(&mut self, kid: &str, issuer: &mut Issuer) -> Result<Option<Arc<Key>>> {
        if self.kind.keeps_each_key() {
            return self.kept(kid, issuer).await;
        }
        if !self.fresh(issuer.now()) {
            self.fetch(issuer).await?;
        }
        let found = self.find(kid);
        if found.is_none() && self.looks_again(issuer.now()) {
            self.fetch(issuer).await?;
            return Ok(self.find(kid));
        }
        Ok(found)
    }

    /// `lru-memoizer` around `getSigningKey`: what is there of this `kid`, else what a new key set has.
    async fn kept(&mut self, kid: &str, issuer: &mut Issuer) -> Result<Option<Arc<Key>>> {
        let now = issuer.now();
        if let Some((key, _)) = self.by_kid.get(kid).filter(|(_, until)| now < *until) {
            return Ok(Some(key.clone()));
        }
        self.fetch(issuer).await?;
        let found = self.find(kid);
        match &found {
            Some(key) => drop(self.by_kid.insert(kid.to_owned(), (key.clone(), now + 600))),
            None => drop(self.by_kid.remove(kid)),
        }
        Ok(found)
    }

    /// Gets the key set.
    pub async fn fetch(&mut self, issuer: &mut Issuer) -> Result<()> {
        self.held = Some((issuer.key_set().await?, issuer.now()));
        Ok(())
    }

    fn fresh(&self, now: i64) -> bool {
        let Some((set, at)) = &self.held else { return false };
        match self.kind {
            // `JWKSetCache.is_expired`: time.monotonic() > timestamp + lifespan
            Kind::PyJwt => now <= at + 300,
            // `isFreshFor`: Date.now() < timestamp + cacheMaxAge
            Kind::Jose => now < at + 600,
            // Fetching is its ticker's business.
            Kind::Istio => true,
            // Expiry is looked at when no key fits, if at all.
            Kind::GoOidc3 | Kind::GoOidc2 | Kind::JwksRsa | Kind::Once => true,
            // RFC 9111 §4.2: fresh while the lifetime is greater than the age.
            Kind::MaxAge => now < at + set.max_age,
            Kind::Day => now < at + 86_400,
        }
    }

    /// Whether a `kid` that it does not have makes it fetch.
    fn looks_again(&self, now: i64) -> bool {
        let Some((set, at)) = &self.held else { return true };
        match self.kind {
            // Both are cooling down while less than 30 s have passed.
            Kind::PyJwt | Kind::Jose => now >= at + 30,
            Kind::GoOidc3 | Kind::JwksRsa => true,
            // `keysExpiryDelta`: !r.now().Add(keysExpiryDelta).After(expiry)
            Kind::GoOidc2 => now + 30 > at + set.max_age,
            Kind::Istio | Kind::MaxAge | Kind::Day | Kind::Once => false,
        }
    }

    fn find(&self, kid: &str) -> Option<Arc<Key>> {
        let mut found = self.held.as_ref()?.0.matching(kid);
        let first = found.next().cloned();
        match self.kind {
            // `JWKSMultipleMatchingKeys`
            Kind::Jose => first.filter(|_| found.next().is_none()),
            _ => first,
        }
    }
}
