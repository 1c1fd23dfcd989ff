//! Tokens that were checked, by their SHA-256: a hit costs a hash and no signature check.
//!
//! Only good ones. A flood of forged tokens costs a signature check each (some 25 µs with RSA-2048), which is less than
//! what remembering them would let a stranger do to the memory of good ones.

use std::sync::Arc;

use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};
use tokensmith_core::tokens::Times;

use super::Verified;

/// A token's name here: nobody finds another token with it, and it is no credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        TokenDigest(out)
    }
}

/// A token that was good, and by what: whoever takes it out must see that this still holds.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) verified: Arc<Verified>,
    pub(super) times: Times,
    /// Of the verifier's list.
    pub(super) issuer: usize,
    /// Of the issuer's keys.
    pub(super) generation: u64,
}

/// Checked tokens, bounded; sharded, so that requests do not wait for each other.
pub(super) type TokenCache = Cache<TokenDigest, Entry>;
