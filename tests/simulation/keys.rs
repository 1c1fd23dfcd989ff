//! A key set as a verifier gets it, and a token checked against one key of it.

use std::sync::Arc;

use anyhow::{Context, Result};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use serde::Deserialize;
use tokensmith_tests::Answer;
use tokensmith_tests::jws::Key;

/// The issuer of all tokens.
pub const ISSUER: &str = "https://simulation.example";
/// What they are for.
pub const AUDIENCE: &str = "https://verifier.example";
/// How long past its expiry a verifier still takes a token, seconds.
pub const LEEWAY: i64 = 60;

/// What `/openid/v1/jwks` answered.
pub struct KeySet {
    keys: Vec<(Jwk, Arc<Key>)>,
    /// `Cache-Control`, seconds.
    pub max_age: i64,
}

impl KeySet {
    /// Reads an answer. Keys that are not for ES256 signatures are left out, as verifiers do; one that is in `before`
    /// too, to the letter, is not parsed again.
    pub fn of(answer: &Answer, before: Option<&KeySet>) -> Result<Self> {
        let max_age = answer.header("cache-control").rsplit("max-age=").next();
        let max_age = max_age.and_then(|age| age.parse().ok()).context("no max-age")?;
        let set: JwkSet = serde_json::from_slice(&answer.body)?;
        let known =
            |jwk: &Jwk| before?.keys.iter().find(|(known, _)| known == jwk).map(|(_, key)| key.clone());
        let mut keys = Vec::new();
        for jwk in set.keys.into_iter().filter(signs) {
            let key = match known(&jwk) {
                Some(key) => key,
                None => Arc::new(Key::of(&jwk)?),
            };
            keys.push((jwk, key));
        }
        Ok(KeySet { keys, max_age })
    }

    /// The keys of a `kid`: one, or the set is broken.
    pub fn matching(&self, kid: &str) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter().filter(move |(jwk, _)| jwk.common.key_id.as_deref() == Some(kid)).map(|(_, key)| key)
    }
}

fn signs(jwk: &Jwk) -> bool {
    matches!(jwk.algorithm, AlgorithmParameters::EllipticCurve(_))
        && jwk.common.key_algorithm == Some(KeyAlgorithm::ES256)
        && jwk.common.public_key_use == Some(PublicKeyUse::Signature)
}

/// The times of a token whose signature, issuer and audience are right.
#[derive(Clone, Copy, Deserialize)]
pub struct Times {
    exp: i64,
    nbf: i64,
    iat: i64,
}

impl Times {
    /// Whether a verifier takes the token at `now`.
    pub fn cover(self, now: i64) -> bool {
        let Times { exp, nbf, iat } = self;
        now <= exp + LEEWAY && now >= nbf - LEEWAY && now >= iat - LEEWAY
    }
}

/// The times of a token whose signature, issuer and audience are right, as every verifier of the simulation demands.
/// Whether they cover a moment is asked later: it is not the machine's.
pub fn read(token: &str, key: &Key) -> Option<Times> {
    #[derive(Deserialize)]
    struct Claims {
        iss: String,
        aud: Vec<String>,
        #[serde(flatten)]
        times: Times,
    }
    let claims: Claims = key.payload(token).ok()?;
    (claims.iss == ISSUER && claims.aud == [AUDIENCE]).then_some(claims.times)
}
