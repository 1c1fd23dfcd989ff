//! A key set as it is published, each entry whatever it is. Keys themselves are read by core's `PublicKey`.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokensmith_core::keys::{JwkError, PublicKey};

/// The entries, in their order.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    /// As many as are looked at.
    pub keys: Vec<PublishedKey>,
    /// How many there are.
    pub count: usize,
}

/// One entry.
#[derive(Clone, Debug)]
pub struct PublishedKey {
    /// Its members.
    pub members: Map<String, Value>,
    /// The key, or why it is none that is used.
    pub key: Result<PublicKey, JwkError>,
}

/// Why there is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeySet {
    /// Too long to be read.
    #[error("it is longer than {0} bytes, and was not read to its end")]
    Long(usize),
    /// Not JSON, or not the JSON of one.
    #[error("it is no JSON object with a list of \"keys\"")]
    Malformed,
}

/// Members that are a private half, or a shared secret (RFC 7518 §6).
const PRIVATE: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

impl KeySet {
    /// How many entries are looked at. AWS takes 100 of a type.
    pub const MAX: usize = 250;

    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<KeySet, NoKeySet> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let object = bytes.trim_ascii_start().starts_with(b"{");
        let set: Option<Set<'_>> = object.then(|| serde_json::from_slice(bytes).ok()).flatten();
        let entries = set.ok_or(NoKeySet::Malformed)?.keys;
        let keys = entries.iter().take(Self::MAX).map(|entry| PublishedKey::read(entry.get())).collect();
        Ok(KeySet { keys, count: entries.len() })
    }

    /// The entries whose name is this.
    pub fn named<'a>(&'a self, kid: &'a str) -> impl Iterator<Item = &'a PublishedKey> {
        self.keys.iter().filter(move |key| key.text("kid") == Some(kid))
    }
}

impl PublishedKey {
    fn read(entry: &str) -> PublishedKey {
        let members = serde_json::from_str(entry).unwrap_or_default();
        PublishedKey { members, key: PublicKey::from_jwk(entry) }
    }

    /// A member that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// What people may call it.
    pub fn name(&self) -> String {
        match self.text("kid") {
            Some(kid) => format!("key {kid:?}"),
            None => format!("a key without kid ({})", self.text("kty").unwrap_or("of no type")),
        }
    }

    /// The algorithm that tokens of it have: what it says, or what is usual for its type.
    pub fn algorithm(&self) -> Option<&str> {
        self.text("alg").or(match (self.text("kty")?, self.text("crv")) {
            ("RSA", _) => Some("RS256"),
            ("EC", Some("P-256")) => Some("ES256"),
            ("EC", Some("P-384")) => Some("ES384"),
            ("EC", Some("P-521")) => Some("ES512"),
            ("OKP", Some("Ed25519")) => Some("EdDSA"),
            _ => None,
        })
    }

    /// Whether `use` and `key_ops` let it check signatures (RFC 7517 §4.2, §4.3).
    pub fn for_signatures(&self) -> bool {
        let verifies = |ops: &Vec<Value>| ops.iter().any(|op| op == "verify");
        self.text("use").is_none_or(|usage| usage == "sig")
            && self.members.get("key_ops").and_then(Value::as_array).is_none_or(verifies)
    }

    /// The members that nobody but the issuer should have.
    pub fn secrets(&self) -> Vec<&'static str> {
        PRIVATE.iter().copied().filter(|name| self.members.contains_key(*name)).collect()
    }

    /// The bits of an RSA modulus.
    pub fn rsa_bits(&self) -> Option<usize> {
        if self.text("kty") != Some("RSA") {
            return None;
        }
        let n = BASE64_URL_SAFE_NO_PAD.decode(self.text("n")?).ok()?;
        let significant = &n[n.iter().take_while(|byte| **byte == 0).count()..];
        let leading = significant.first()?.leading_zeros() as usize;
        Some(significant.len() * 8 - leading)
    }
}
