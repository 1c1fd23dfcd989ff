//! A token that opens nothing and makes verifiers fetch the key set: its `kid` is one that nobody knows.
//!
//! Many verifiers forget a revoked key only when they meet an unknown `kid` (`keys::verifiers`). Whoever is shown this
//! token by its operator meets one. To come so far as its key, a verifier must find the issuer, the audience and the
//! times good: they are a real token's.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use time::OffsetDateTime;

use super::{TokenIssuer, lifetime, usual_seconds};
use crate::error::Error;
use crate::keys::{Algorithm, SignError, Signer};
use crate::moment::Moment;
use crate::random;
use crate::tokens::{TokenProfile, jws};

/// Whom the token names: a namespace that no name may be, so that it can never be an account.
pub const SUBJECT: &str = "system:serviceaccount:_:tokensmith-poke";

/// The token and what is to be known of it.
#[derive(Clone, Debug)]
pub struct Poke {
    /// The token. It is no secret: it opens nothing.
    pub token: String,
    /// Its `kid`.
    pub key_id: String,
    /// Its `alg`: what a real token for the audience has.
    pub algorithm: Algorithm,
    /// When verifiers stop looking at its key.
    pub expires_at: OffsetDateTime,
}

impl TokenIssuer {
    /// Makes one for an audience.
    ///
    /// # Errors
    /// There is no audience, or nothing signs for it.
    pub async fn poke(&self, audience: &str) -> Result<Poke, Error> {
        if audience.is_empty() {
            return Err(Error::BadRequest("audience: which verifier's is needed".into()));
        }
        let audiences = [audience.to_owned()];
        let profile = self.profile(&audiences)?;
        let set = self.keys.current();
        // A verifier may look at the algorithm before it looks for the key.
        let algorithm = profile.and_then(TokenProfile::algorithm);
        let algorithm = algorithm.unwrap_or(set.ring().default_algorithm());
        let active = set.ring().active_of(algorithm).and_then(|key| set.candidates(Some(&key.id)).next());
        let active = active.ok_or_else(|| Error::Internal {
            cause: format!("there is no {algorithm} key that signs"),
            source: None,
        })?;
        let now = self.clock.now().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (most, profile_most) =
            (self.config.max_expiration_seconds, profile.and_then(TokenProfile::max_seconds));
        let life = lifetime(usual_seconds(profile), most, profile_most, false).in_token;
        let expires_at = now.plus(time::Duration::seconds(life));
        let claims = json!({
            "aud": audiences,
            "exp": expires_at.unix_timestamp(),
            "iat": now.unix_timestamp(),
            "iss": self.config.issuer,
            "jti": random::uuid().to_string(),
            "nbf": now.unix_timestamp(),
            "sub": SUBJECT,
        });
        let nobody = Nobody { id: random::key_id(), algorithm, length: active.signature_len() };
        let token = jws::sign(&nobody, claims.to_string().as_bytes()).await;
        let token = token.map_err(|e| Error::internal("failed to generate token", e))?;
        Ok(Poke { token, key_id: nobody.id, algorithm, expires_at })
    }
}

/// "Signs" with what no key could have signed.
struct Nobody {
    id: String,
    algorithm: Algorithm,
    length: usize,
}

impl Signer for Nobody {
    fn key_id(&self) -> &str {
        &self.id
    }

    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// All ones: for RSA not below any modulus of that length (RFC 8017 §5.2.2), for ECDSA beyond every group's order
    /// (FIPS 186-5 §6.4.2), for Ed25519 likewise (RFC 8032 §5.1.7), for ML-DSA no hint. So no key, not even one that is made
    /// for it, verifies it; random bytes would be some ECDSA key's signature, and zeros every key's where a library does
    /// not look (CVE-2022-21449).
    fn sign<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, SignError>> {
        async { Ok(vec![0xff; self.length]) }.boxed()
    }
}
