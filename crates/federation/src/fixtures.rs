//! What tests of several services stand on.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use futures::FutureExt;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokensmith_core::clock::ManualClock;
use tokensmith_core::keys::{LocalSigner, PrivateKey, PrivatePem, Signer};

use crate::cloud::{Means, Secret};
use crate::issuers::Issuers;

/// The issuer of the tokens.
pub(crate) const ISSUER: &str = "https://tokens.example.com";
/// When it is.
pub(crate) const NOW: OffsetDateTime = datetime!(2026-06-01 12:00 UTC);

/// A key of `keys/`.
pub(crate) fn key(name: &str) -> LocalSigner {
    let path = format!("{}/../../keys/{name}", env!("CARGO_MANIFEST_DIR"));
    let pem = PrivatePem::new(std::fs::read(path).unwrap());
    LocalSigner::new(&PrivateKey::from_pem(&pem).unwrap()).unwrap()
}

/// A token with these claims, signed by a key under its own name.
pub(crate) fn token(key: &LocalSigner, claims: &Value) -> String {
    with_header(key, &json!({ "alg": key.algorithm().as_str(), "kid": key.key_id() }), claims)
}

/// The same, with another header.
pub(crate) fn with_header(key: &LocalSigner, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(signed.as_bytes()).now_or_never().unwrap().unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Some claims with others put in; a null takes one away.
pub(crate) fn changed(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// Means with a clock that stands, and without documents.
pub(crate) fn means() -> (Means, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW));
    let means = Means {
        clock: clock.clone(),
        issuers: Arc::new(Issuers::default()),
        secret: Arc::new(Secret([7; 32])),
        url: "https://127.0.0.1:6444".into(),
    };
    (means, clock)
}
