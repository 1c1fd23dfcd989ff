//! A token and keys at hand: all that can be told without asking anyone. Pure.

use tokensmith_core::keys::{PublicKey, PublishedKeys};
use tokensmith_core::tokens::claims::Payload;
use tokensmith_core::tokens::jws::SignatureError;
use tokensmith_core::tokens::{Jws, Times};

use crate::verified::judge;
use crate::{Rejection, SubjectPattern, Verified};

/// How long a token may be, bytes. Kubernetes' have 1 to 2 KiB, ML-DSA's up to 7; most servers take no longer headers.
pub const MAX_TOKEN: usize = 16 << 10;

/// What a token must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// `iss`, byte for byte.
    pub issuer: &'a str,
    /// Whom it may be for; one of them suffices.
    pub audiences: &'a [String],
    /// Whose it may be; empty lets every account in.
    pub allow_subjects: &'a [SubjectPattern],
}

/// Checks a token with an issuer's keys as they are at hand, at `now` in Unix seconds.
///
/// # Errors
/// It does not hold.
pub fn verify_by_keys(
    token: &str,
    keys: &PublishedKeys,
    expected: &Expected<'_>,
    now: i64,
) -> Result<Verified, Rejection> {
    let parsed = Parsed::new(token)?;
    if parsed.issuer() != expected.issuer {
        return Err(Rejection::Issuer);
    }
    let verdict = parsed.judge(expected, now);
    parsed.signed_by(keys.candidates(parsed.key_id()?))?;
    // Who cannot sign is told no more than that.
    verdict
}

/// Refuses what is longer than any token, before anything is spent on it.
pub(crate) fn within_length(token: &str) -> Result<(), Rejection> {
    if token.len() > MAX_TOKEN { Err(Rejection::TooLong) } else { Ok(()) }
}

/// A token taken apart. Nothing in it is to be believed before [`Self::signed_by`].
pub(crate) struct Parsed<'a> {
    jws: Jws<'a>,
    payload: Payload,
}

impl<'a> Parsed<'a> {
    pub(crate) fn new(token: &'a str) -> Result<Self, Rejection> {
        within_length(token)?;
        let jws = Jws::parse(token).ok_or(Rejection::Malformed)?;
        let payload = serde_json::from_slice(jws.payload()).map_err(|_| Rejection::Malformed)?;
        Ok(Parsed { jws, payload })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.payload.issuer
    }

    pub(crate) fn times(&self) -> Times {
        self.payload.times()
    }

    /// Every issuer of Kubernetes' tokens names the key. Trying all of them would let a stranger choose the cost.
    pub(crate) fn key_id(&self) -> Result<&str, SignatureError> {
        self.jws.key_id().ok_or(SignatureError::NoKey)
    }

    /// What its claims come to, but for the issuer, by which the keys were found.
    pub(crate) fn judge(&self, expected: &Expected<'_>, now: i64) -> Result<Verified, Rejection> {
        judge(&self.payload, expected.audiences, expected.allow_subjects, now)
    }

    pub(crate) fn signed_by(&self, candidates: &[PublicKey]) -> Result<(), SignatureError> {
        self.jws.verify(candidates).map(drop)
    }
}
