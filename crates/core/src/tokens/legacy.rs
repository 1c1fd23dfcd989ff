//! Tokens in Secrets (`pkg/serviceaccount/legacy.go`): they never expire, and live as long as their Secret.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use tokensmith_api::json::{Members, write_str};
use tokensmith_objects::Stored;

use super::claims::{Payload, Reference};
use super::verifier::TokenRule;
use super::{jws, username, verifier};
use crate::access::{AuthError, Authenticated, LegacySecret, Notes};
use crate::error::Error;
use crate::keys::{Keys, ring::NEVER};
use crate::moment::Moment;
use crate::view::Snapshot;

/// `iss` of legacy tokens, whatever the server's issuer is.
pub const ISSUER: &str = "kubernetes/serviceaccount";
/// The Secret type that asks for such a token.
pub const SECRET_TYPE: &str = "kubernetes.io/service-account-token";
/// The annotation that names the account.
pub const ACCOUNT: &str = "kubernetes.io/service-account.name";
/// The annotation with the account's UID, written with the token.
pub const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// The label with the day of the last use.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// The label that turns a token off.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// Makes the token of a Secret.
///
/// # Errors
/// 500: no key may sign just now, or it does not.
pub async fn mint(keys: &Keys, namespace: &str, secret: &str, account: &Reference) -> Result<String, Error> {
    let mut payload = Vec::with_capacity(400);
    let mut claims = Members::begin(&mut payload);
    for (name, value) in [
        ("iss", ISSUER),
        ("kubernetes.io/serviceaccount/namespace", namespace),
        ("kubernetes.io/serviceaccount/secret.name", secret),
        ("kubernetes.io/serviceaccount/service-account.name", &account.name),
        ("kubernetes.io/serviceaccount/service-account.uid", &account.uid),
        ("sub", &username(namespace, &account.name)),
    ] {
        write_str(claims.member(name), value);
    }
    claims.end();
    let failed = |e: &dyn std::error::Error| format!("failed to generate token: {e}");
    let signer = keys.reserve(None, NEVER).await.map_err(|e| Error::internal(failed(&e), e))?;
    jws::sign(&*signer, &payload).await.map_err(|e| Error::internal(failed(&e), e))
}

/// Checks a legacy token whose signature is right. `at` is told which rule it is at.
pub(super) fn check(
    token: &str,
    payload: &Payload,
    objects: &Snapshot,
    now: OffsetDateTime,
    at: &mut TokenRule,
) -> Result<Authenticated, AuthError> {
    *at = TokenRule::Subject;
    let refuse = |text: String| Err(AuthError(text));
    let (namespace, secret) = (&payload.legacy_namespace, &payload.legacy_secret);
    let account = Reference::new(&payload.legacy_account, &payload.legacy_account_uid);
    for (claim, value) in [
        ("sub", &payload.subject),
        ("namespace", namespace),
        ("secretName", secret),
        ("serviceAccountName", &account.name),
        ("serviceAccountUID", &account.uid),
    ] {
        if value.is_empty() {
            return refuse(format!("{claim} claim is missing"));
        }
    }
    if payload.subject != username(namespace, &account.name) {
        return refuse("sub claim is invalid".into());
    }
    *at = TokenRule::BoundObject;
    let found = objects.get("", "secrets", namespace, secret).filter(|s| s.deletion_timestamp().is_none());
    let Some(found) = found else { return refuse("Token has been invalidated".into()) };
    let stored = held(found);
    // In constant time: how far a guess was right must not show.
    if !bool::from(stored.ct_eq(token.as_bytes())) {
        return refuse("Token does not match server's copy".into());
    }
    *at = TokenRule::Account;
    let Some(owner) = objects.get("", "serviceaccounts", namespace, &account.name) else {
        return refuse(format!("serviceaccounts \"{}\" not found", account.name));
    };
    if owner.deletion_timestamp().is_some() {
        return refuse(format!("ServiceAccount {namespace}/{} has been deleted", account.name));
    }
    if owner.uid() != account.uid {
        return refuse(format!(
            "ServiceAccount UID ({}) does not match claim ({})",
            owner.uid(),
            account.uid
        ));
    }
    *at = TokenRule::Label;
    if found.label(INVALID_SINCE).is_some() {
        return refuse(format!(
            "the token in secret {namespace}/{secret} for service account {namespace}/{} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
            account.name
        ));
    }
    let legacy_secret = LegacySecret {
        namespace: namespace.clone(),
        name: secret.clone(),
        auto_generated: lists(owner, secret),
        label_due: found.label(LAST_USED).as_deref() != Some(day(now).as_str()),
    };
    let notes = Notes { legacy_secret: Some(legacy_secret), ..Notes::default() };
    let identity = verifier::identity(namespace, &account);
    Ok(Authenticated { identity, audiences: None, notes })
}

/// The token that a Secret holds.
pub(super) fn held(secret: &Stored) -> Vec<u8> {
    BASE64_STANDARD.decode(&*secret.text(&["data", "token"])).unwrap_or_default()
}

/// The date of a time, `YYYY-MM-DD`, UTC.
pub fn day(now: OffsetDateTime) -> String {
    now.in_utc().date().to_string()
}

/// Whether the account lists the Secret: then a controller of old made it, not a person.
fn lists(account: &Stored, secret: &str) -> bool {
    let secrets = account.value(&["secrets"]);
    secrets.as_ref().and_then(Value::as_array).into_iter().flatten().any(|s| s["name"] == secret)
}
