//! Algorithms and key files, from the outside of the types: nothing here looks into a key.

mod algorithms;
mod files;
mod jwk;
#[cfg(feature = "ml-dsa")]
mod ml_dsa;
mod vectors;

use super::{Passphrase, PrivateKey, PrivatePem, PublicKey};

/// A test-only key file of `keys/`.
fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/../../keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn private(name: &str) -> PrivateKey {
    PrivateKey::from_pem(&PrivatePem::new(file(name))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn public(name: &str) -> PublicKey {
    PublicKey::list_from_pem(&file(name)).unwrap_or_else(|e| panic!("{name}: {e}")).remove(0)
}

/// What opens every encrypted file of `keys/`.
fn passphrase() -> Passphrase {
    Passphrase::new("test-only")
}
