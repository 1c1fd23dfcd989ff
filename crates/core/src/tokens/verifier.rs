//! Checking a token that a request carries (`pkg/serviceaccount/jwt.go`), in upstream's order and words.

use std::sync::Arc;

use time::OffsetDateTime;

use super::claims::{Payload, Reference, granted};
use super::jws::TokenType;
use super::revocations::{Revocations, Subject};
use super::{Jws, groups, legacy, live, username};
use crate::access::{AuthError, Authenticated, BearerToken, Identity, Notes, TokenAuthenticator, WarnAfter};
use crate::keys::{Keys, ring::NEVER};
use crate::view::Snapshot;

/// Accepts the tokens that this server mints, and the legacy ones that it fills Secrets with.
///
/// Keeps no acceptance: each use is checked against the keys and objects of that moment, so a token ends with its
/// account, its bound object, its key or its revocation at once (upstream may go on for ten seconds).
pub struct Verifier {
    pub(super) keys: Arc<Keys>,
    pub(super) revocations: Arc<Revocations>,
    pub(super) issuers: Vec<String>,
    pub(super) api_audiences: Vec<String>,
}

/// What an access token is told: whatever else it says, it is none of an account's.
const TYPE: &str = "service account tokens have no type or JWT, and this token has another";

/// Whether a token can be an account's by its type (RFC 8725 §3.11): one that was exchanged never is.
pub(super) fn of_account(jws: &Jws<'_>) -> Result<(), AuthError> {
    match jws.token_type() {
        TokenType::Jwt => Ok(()),
        TokenType::AccessToken | TokenType::Other => Err(AuthError(TYPE.into())),
    }
}

impl Verifier {
    /// `issuers` are all that are accepted; `api_audiences` are what a token without `aud` is for.
    pub fn new(
        keys: Arc<Keys>,
        revocations: Arc<Revocations>,
        issuers: Vec<String>,
        api_audiences: Vec<String>,
    ) -> Self {
        Verifier { keys, revocations, issuers, api_audiences }
    }
}

impl TokenAuthenticator for Verifier {
    fn authenticate(
        &self,
        token: &BearerToken,
        audiences: &[String],
        objects: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<Option<Authenticated>, AuthError> {
        let text = token.expose().trim();
        let Some(jws) = Jws::parse(text) else { return Ok(None) };
        let Ok(payload) = serde_json::from_slice::<Payload>(jws.payload()) else { return Ok(None) };
        let legacy = payload.issuer == legacy::ISSUER;
        if !legacy && !self.issuers.contains(&payload.issuer) {
            return Ok(None);
        }
        of_account(&jws)?;
        let keys = self.keys.current();
        let signed_by = jws.verify(keys.candidates(jws.key_id())).map_err(|e| AuthError(e.to_string()))?;
        let granted = self.audiences(&payload, audiences)?;
        let (mut found, revoked) = match legacy {
            // Nothing but its bytes tells it from the next token of its Secret, and these may be the same.
            true => {
                let found = legacy::check(text, &payload, objects, now)?;
                (found, self.revocations.covers_secret_token(text))
            }
            false => {
                let found = bound(&payload, objects, now)?;
                (found, self.revocations.covering(&subject(&payload, signed_by.key_id())).is_some())
            }
        };
        if revoked {
            return Err(AuthError("service account token has been revoked".into()));
        }
        found.notes.audience_less = payload.audiences.is_empty();
        found.audiences = Some(granted);
        Ok(Some(found))
    }
}

impl Verifier {
    /// The wanted audiences that the token is for, in the order wanted; checked before the times.
    fn audiences(&self, payload: &Payload, wanted: &[String]) -> Result<Vec<String>, AuthError> {
        let has = if payload.audiences.is_empty() { &self.api_audiences } else { &payload.audiences };
        let granted = granted(has, wanted);
        if granted.is_empty() && !self.api_audiences.is_empty() {
            return Err(AuthError(format!(
                "token audiences {} is invalid for the target audiences {}",
                quoted(has),
                quoted(wanted)
            )));
        }
        Ok(granted)
    }
}

/// What revocations ask about. The key is the one whose signature was right, whatever the header says.
pub(super) fn subject<'a>(payload: &'a Payload, kid: &'a str) -> Subject<'a> {
    let private = &payload.kubernetes;
    Subject {
        jti: &payload.id,
        namespace: &private.namespace,
        account: &private.account.name,
        pod: private.pod.as_ref().map(|pod| pod.name.as_str()),
        kid,
        issued_at: payload.issued_at.unwrap_or(i64::MIN),
        expires_at: payload.expires_at.unwrap_or(NEVER),
    }
}

fn bound(payload: &Payload, objects: &Snapshot, now: OffsetDateTime) -> Result<Authenticated, AuthError> {
    payload.times().check(now.unix_timestamp()).map_err(|e| AuthError(e.to_string()))?;
    let private = &payload.kubernetes;
    live::check(private, objects, now)?;
    let warn_after = private.warn_after.map(|after| match now.unix_timestamp().saturating_sub(after) {
        seconds if seconds > 0 => WarnAfter::Stale { subject: payload.subject.clone(), seconds },
        _ => WarnAfter::Valid,
    });
    let mut identity = identity(&private.namespace, &private.account);
    let mut tell = |key: &str, value: String| {
        identity.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    if !payload.id.is_empty() {
        tell("credential-id", format!("JTI={}", payload.id));
    }
    if let Some(node) = &private.node {
        tell("node-name", node.name.clone());
        if !node.uid.is_empty() {
            tell("node-uid", node.uid.clone());
        }
    }
    if let Some(pod) = &private.pod {
        tell("pod-name", pod.name.clone());
        tell("pod-uid", pod.uid.clone());
    }
    Ok(Authenticated { identity, audiences: None, notes: Notes { warn_after, ..Notes::default() } })
}

/// The user behind an account.
pub(super) fn identity(namespace: &str, account: &Reference) -> Identity {
    Identity {
        name: username(namespace, &account.name),
        uid: account.uid.clone(),
        groups: groups(namespace),
        ..Identity::default()
    }
}

/// A list as Go prints it with `%q`.
fn quoted(list: &[String]) -> String {
    let items: Vec<_> = list.iter().map(|s| tokensmith_objects::field::go_quote(s)).collect();
    format!("[{}]", items.join(" "))
}
