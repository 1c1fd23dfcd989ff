//! Checking a token that a request carries (`pkg/serviceaccount/jwt.go`), in upstream's order and words.

use std::sync::Arc;

use time::OffsetDateTime;

use super::claims::{Payload, Reference, granted};
use super::jws::{SignatureError, TokenType};
use super::revocations::{Revocations, Subject};
use super::{Jws, groups, legacy, live, username, why};
use crate::access::{
    AuthError, Authenticated, BearerToken, Clearance, Identity, Notes, Step, TokenAuthenticator, WarnAfter,
};
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

/// What a token is held against, one after the other: bound tokens in the order of [`BOUND`](TokenRule::BOUND), those of
/// Secrets in that of [`LEGACY`](TokenRule::LEGACY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRule {
    /// The account is there, and is the one that it was.
    Account,
    /// It is for who asks.
    Audience,
    /// So is what it is bound to.
    BoundObject,
    /// It is from one of the server's issuers.
    Issuer,
    /// There is a key that may have signed it.
    Key,
    /// Nobody has turned its Secret's token off.
    Label,
    /// Nobody has revoked it.
    Revocation,
    /// The signature is the key's.
    Signature,
    /// It is a JWS with claims.
    Structure,
    /// A legacy token says whose it is.
    Subject,
    /// It is its time.
    Time,
    /// It is not of a type that no account's token has.
    Type,
}

impl TokenRule {
    /// The order for bound tokens.
    pub const BOUND: &[TokenRule] = &[
        TokenRule::Structure,
        TokenRule::Issuer,
        TokenRule::Type,
        TokenRule::Key,
        TokenRule::Signature,
        TokenRule::Audience,
        TokenRule::Time,
        TokenRule::Account,
        TokenRule::BoundObject,
        TokenRule::Revocation,
    ];
    /// The order for the tokens of Secrets, which have no times.
    pub const LEGACY: &[TokenRule] = &[
        TokenRule::Structure,
        TokenRule::Issuer,
        TokenRule::Type,
        TokenRule::Key,
        TokenRule::Signature,
        TokenRule::Audience,
        TokenRule::Subject,
        TokenRule::BoundObject,
        TokenRule::Account,
        TokenRule::Label,
        TokenRule::Revocation,
    ];

    /// As people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenRule::Account => "account",
            TokenRule::Audience => "audience",
            TokenRule::BoundObject => "bound object",
            TokenRule::Issuer => "issuer",
            TokenRule::Key => "key",
            TokenRule::Label => "label",
            TokenRule::Revocation => "revocation",
            TokenRule::Signature => "signature",
            TokenRule::Structure => "structure",
            TokenRule::Subject => "subject",
            TokenRule::Time => "time",
            TokenRule::Type => "type",
        }
    }
}

/// What an access token is told: whatever else it says, it is none of an account's.
const TYPE: &str = "service account tokens have no type or JWT, and this token has another";

/// Whether a token can be an account's by its type (RFC 8725 §3.11): one that was exchanged never is.
pub(super) fn of_account(jws: &Jws<'_>) -> Result<(), AuthError> {
    match jws.token_type() {
        TokenType::Jwt => Ok(()),
        TokenType::AccessToken | TokenType::Jose | TokenType::Other => Err(AuthError(TYPE.into())),
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
        self.judge(token, audiences, objects, now, &mut TokenRule::Structure)
    }

    fn explain(
        &self,
        token: &BearerToken,
        audiences: &[String],
        objects: &Snapshot,
        now: OffsetDateTime,
        asker: &Clearance,
        steps: &mut Vec<Step>,
    ) -> Result<Option<Authenticated>, AuthError> {
        let mut at = TokenRule::Structure;
        let found = self.judge(token, audiences, objects, now, &mut at);
        let looked = why::Looked { verifier: self, token: token.expose().trim(), objects, now, asker };
        steps.extend(looked.steps(at, &found));
        found
    }
}

impl Verifier {
    /// Whose a token is. `at` is the rule that it is held against at any moment: of one that is refused, the rule that
    /// refuses it.
    fn judge(
        &self,
        token: &BearerToken,
        audiences: &[String],
        objects: &Snapshot,
        now: OffsetDateTime,
        at: &mut TokenRule,
    ) -> Result<Option<Authenticated>, AuthError> {
        *at = TokenRule::Structure;
        let text = token.expose().trim();
        let Some(jws) = Jws::parse(text) else { return Ok(None) };
        let Ok(payload) = serde_json::from_slice::<Payload>(jws.payload()) else { return Ok(None) };
        *at = TokenRule::Issuer;
        let legacy = payload.issuer == legacy::ISSUER;
        if !legacy && !self.issuers.contains(&payload.issuer) {
            return Ok(None);
        }
        *at = TokenRule::Type;
        of_account(&jws)?;
        *at = TokenRule::Key;
        let keys = self.keys.current();
        let signed_by = jws.verify(keys.candidates(jws.key_id())).map_err(|e| {
            if e == SignatureError::Wrong {
                *at = TokenRule::Signature;
            }
            AuthError(e.to_string())
        })?;
        *at = TokenRule::Audience;
        let granted = self.audiences(&payload, audiences)?;
        let (mut found, revoked) = match legacy {
            // Nothing but its bytes tells it from the next token of its Secret, and these may be the same.
            true => {
                let found = legacy::check(text, &payload, objects, now, at)?;
                (found, self.revocations.covering_secret_token(text))
            }
            false => {
                let found = bound(&payload, objects, now, at)?;
                (found, self.revocations.covering(&subject(&payload, signed_by.key_id())))
            }
        };
        *at = TokenRule::Revocation;
        if revoked.is_some() {
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

fn bound(
    payload: &Payload,
    objects: &Snapshot,
    now: OffsetDateTime,
    at: &mut TokenRule,
) -> Result<Authenticated, AuthError> {
    *at = TokenRule::Time;
    payload.times().check(now.unix_timestamp()).map_err(|e| AuthError(e.to_string()))?;
    let private = &payload.kubernetes;
    live::judge(private, objects, now, at)?;
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
