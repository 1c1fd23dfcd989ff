//! Which tokens in Secrets a revocation covers. They have no id, no time and no record: the Secrets of the moment are
//! searched, and what they hold is revoked by its bytes.

use tokensmith_objects::Stored;

use super::claims::Payload;
use super::{Jws, legacy, revocations};
use crate::keys::KeySet;
use crate::ledger::What;
use crate::view::Snapshot;

/// The SHA-256 of each covered token, as [`What::Sha256`] has it.
pub(super) fn covered(what: &What, objects: &Snapshot, keys: &KeySet) -> Vec<String> {
    let namespace = match what {
        What::Account(account) => account.namespace.as_str(),
        What::Key(_) => "",
        What::Jti(_) | What::Pod(_) | What::Sha256(_) => return Vec::new(),
    };
    let secrets = objects.list("", "secrets", namespace);
    secrets.filter_map(|(_, secret)| digest(what, secret, keys)).collect()
}

/// Asks what the verifier asks: the claims, not the annotations, say whose the token is.
fn digest(what: &What, secret: &Stored, keys: &KeySet) -> Option<String> {
    let token = String::from_utf8(legacy::held(secret)).ok()?;
    let jws = Jws::parse(&token)?;
    let payload: Payload = serde_json::from_slice(jws.payload()).ok()?;
    if payload.issuer != legacy::ISSUER || payload.legacy_secret != secret.name() {
        return None;
    }
    let covered = match what {
        What::Account(account) => payload.legacy_account == account.name,
        What::Key(kid) => match jws.key_id() {
            Some(named) => named == kid,
            None => jws.verify(keys.candidates(None)).is_ok_and(|key| key.key_id() == kid),
        },
        What::Jti(_) | What::Pod(_) | What::Sha256(_) => false,
    };
    covered.then(|| revocations::digest(&token))
}
