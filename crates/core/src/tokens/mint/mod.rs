//! TokenRequest (`pkg/registry/core/serviceaccount/storage/token.go`): its steps in upstream's order, because the order
//! decides which error a client sees.

mod bound;
mod poke;

use std::sync::Arc;

use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokensmith_objects::validate::{self, Limits};
use tokensmith_objects::{FieldError, Object, Stored};
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span};

use super::claims::{Bound, Claims, Reference};
use super::ledger::TokenLedger;
use super::lifetime::lifetime;
use super::{ExtraClaims, TokenProfile, TokenProfiles, extra_claims, jws, mark, profile};
use crate::access::Identity;
use crate::access::admission::{Admissions, Operation, Write};
use crate::clock::Clock;
use crate::error::Error;
use crate::keys::{Algorithm, Keys};
use crate::moment::Moment;
use crate::object_timestamp;
use crate::view::{Snapshot, View};
pub use poke::{Poke, SUBJECT as POKE_SUBJECT};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
/// What a request gets that does not say, seconds (`pkg/apis/authentication/v1/defaults.go`).
const DEFAULT_EXPIRATION: i64 = 3600;

/// What an operator decides about tokens.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// `iss`: the first `--service-account-issuer`.
    pub issuer: String,
    /// What a token is for when the request names no audience.
    pub api_audiences: Vec<String>,
    /// What validation allows.
    pub limits: Limits,
    /// `--service-account-max-token-expiration`, seconds.
    pub max_expiration_seconds: Option<i64>,
    /// `--service-account-extend-token-expiration`
    pub extend_expiration: bool,
    /// `--token-profile-file`
    pub profiles: TokenProfiles,
}

/// Mints tokens.
pub struct TokenIssuer {
    view: Arc<View>,
    clock: Arc<dyn Clock>,
    keys: Arc<Keys>,
    admission: Arc<Admissions>,
    ledger: Arc<TokenLedger>,
    config: IssuerConfig,
}

/// A token and what is to be known of it.
#[derive(Debug)]
pub struct Minted {
    /// The request with everything filled in: the answer.
    pub reply: Object,
    /// `jti`
    pub id: String,
    /// The `kid` of the key that signed.
    pub key_id: String,
    /// For the `Warning` headers.
    pub warnings: Vec<String>,
}

/// A token, and what it is known by.
struct Signed {
    token: String,
    id: String,
    key_id: String,
}

/// How often a token is signed that revocations overtake.
const ATTEMPTS: usize = 8;

impl TokenIssuer {
    /// `admission` is asked before each token, as before every other write.
    pub fn new(
        view: Arc<View>,
        clock: Arc<dyn Clock>,
        keys: Arc<Keys>,
        admission: Arc<Admissions>,
        ledger: Arc<TokenLedger>,
        config: IssuerConfig,
    ) -> Self {
        TokenIssuer { view, clock, keys, admission, ledger, config }
    }

    /// What the operator decided.
    pub fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// Mints a token for an account. `request` is the decoded TokenRequest, before defaulting. With `dry_run` it does, too, as
    /// upstream: who asks relies on the answer having one.
    ///
    /// # Errors
    /// In upstream's order and words: 400 for metadata of another namespace or an object that no token is bound to, those of
    /// admission, 404 for an account or an object that is not there, 409 for one with another UID, 422 for what validation refuses;
    /// 429 where revocations overtake it again and again, and 500 where no key may sign.
    pub async fn issue(
        &self,
        user: &Identity,
        namespace: &str,
        name: &str,
        request: Object,
        dry_run: bool,
    ) -> Result<Minted, Error> {
        // What the URL says is anything; the fields are said once there is such an account, and a token.
        let span = debug_span!("mint", sa.namespace = Empty, sa.name = Empty, jti = Empty, key.id = Empty);
        self.issue_in(&span, user, (namespace, name), request, dry_run).instrument(span.clone()).await
    }

    /// Whether admission lets a user ask for such a token: what it says of what was sent. Nothing is minted.
    ///
    /// # Errors
    /// That of the first member that refuses.
    pub async fn admit(
        &self,
        user: &Identity,
        account: (&str, &str),
        mut request: Object,
    ) -> Result<(), Error> {
        let objects = self.view.snapshot();
        let write = Write { dry_run: true, ..write(user, account, &objects) };
        self.admission.mutate(&write, Some(&mut request), &mut Vec::new()).await
    }

    async fn issue_in(
        &self,
        span: &Span,
        user: &Identity,
        (namespace, name): (&str, &str),
        mut request: Object,
        dry_run: bool,
    ) -> Result<Minted, Error> {
        if !["", namespace].contains(&request.namespace()) {
            let text =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Error::BadRequest(text.into()));
        }
        let objects = self.view.snapshot();
        let write = Write { dry_run, ..write(user, (namespace, name), &objects) };
        let mut warnings = Vec::new();
        self.admission.mutate(&write, Some(&mut request), &mut warnings).await?;
        // Admission may have waited for somebody.
        let mut objects = self.view.snapshot();
        let write = Write { objects: &objects, ..write };
        let found = self.account(&objects, namespace, name, &request)?;
        let account = Reference::new(name, found.uid());
        span.record("sa.namespace", namespace).record("sa.name", name);
        let now = self.clock.now().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let audiences = self.audiences(&request);
        let profile = self.profile(&audiences)?;
        let asked = complete(&mut request, &account, namespace, &audiences, profile, now);
        self.admission.permit(&write, Some(&request)).await?;
        self.validate(asked, profile)?;
        self.admission.validate(&write, Some(&request), &mut warnings).await?;
        // The last member may have waited for long. A token is never for what has gone meanwhile, nor for what has come in its
        // place: the request has the account's UID by now, so that a new one of its name is a conflict.
        let before = std::mem::replace(&mut objects, self.view.snapshot());
        let found = self.account(&objects, namespace, name, &request)?;
        let bound = match request.at(&["spec", "boundObjectRef"]) {
            Some(Value::Object(_)) => Some(bound::find(&before, &objects, namespace, name, &request)?),
            _ => None,
        };
        let to_pod = matches!(bound, Some(Bound::Pod { .. }));
        let ours = audiences.iter().all(|a| self.config.api_audiences.contains(a));
        let extendable = self.config.extend_expiration && to_pod && ours;
        let profile_max = profile.and_then(TokenProfile::max_seconds);
        let life = lifetime(asked, self.config.max_expiration_seconds, profile_max, extendable);
        if life.in_reply < asked {
            warnings.push(format!(
                "requested expiration of {asked} seconds shortened to {} seconds",
                life.in_reply
            ));
            request.set(&["spec", "expirationSeconds"], life.in_reply);
        }

        let annotated = annotated_claims(found, profile)?;
        let extra = annotated.as_ref().map(ExtraClaims::as_slice);
        let extra = extra.or(profile.map(TokenProfile::claims)).unwrap_or_default();
        let issued_at = now.unix_timestamp();
        let expires_at = issued_at.saturating_add(life.in_token);
        let claims = Claims {
            issuer: &self.config.issuer,
            audiences: &audiences,
            issued_at,
            expires_at,
            id: "",
            namespace,
            account: &account,
            bound: bound.as_ref(),
            warn_after: life.warn_after.map(|after| issued_at.saturating_add(after)),
            extra,
        };
        let signed = self.sign(span, &user.name, claims, profile.and_then(TokenProfile::algorithm)).await?;
        request.set(&["status", "token"], signed.token);
        request.set(
            &["status", "expirationTimestamp"],
            object_timestamp(now.plus(Duration::seconds(life.in_reply))),
        );
        tracing::debug!("a token was minted");
        Ok(Minted { reply: request, id: signed.id, key_id: signed.key_id, warnings })
    }

    /// Signs with an id that no revocation covers: one that came meanwhile has it signed again, at once.
    async fn sign(
        &self,
        span: &Span,
        requester: &str,
        claims: Claims<'_>,
        algorithm: Option<Algorithm>,
    ) -> Result<Signed, Error> {
        let failed = |e: &dyn std::error::Error| format!("failed to generate token: {e}");
        for _ in 0..ATTEMPTS {
            let id = mark::id(self.ledger.epoch()).to_string();
            let claims = Claims { id: &id, ..claims.clone() };
            // First the promise that the key stays published for as long as the token lives, then the signature.
            let signer = self.keys.reserve(algorithm, claims.expires_at).await;
            let signer = signer.map_err(|e| Error::internal(failed(&e), e))?;
            span.record("jti", id.as_str()).record("key.id", signer.key_id());
            let token =
                jws::sign(&*signer, &claims.to_json()).await.map_err(|e| Error::internal(failed(&e), e))?;
            match self.ledger.issued(requester, &claims, signer.key_id()).await {
                None => return Ok(Signed { token, id, key_id: signer.key_id().to_owned() }),
                Some(epoch) => self.ledger.reach(epoch).await?,
            }
        }
        let message = format!(
            "tokens of service account {}/{} are being revoked again and again, ask again in a second",
            claims.namespace, claims.account.name
        );
        Err(Error::TooManyRequests { message, retry_after: 1, causes: Vec::new() })
    }

    /// The account, if the request's metadata mean that one.
    fn account<'a>(
        &self,
        objects: &'a Snapshot,
        namespace: &str,
        name: &str,
        request: &Object,
    ) -> Result<&'a Stored, Error> {
        if !["", name].contains(&request.name()) {
            let error = FieldError::invalid(
                "metadata.name",
                &request.name().into(),
                "must match the service account name if specified",
            );
            return Err(Error::invalid(GROUP, KIND, name, vec![error]));
        }
        let found = objects.get("", "serviceaccounts", namespace, name);
        let found = found.ok_or_else(|| Error::not_found("", "serviceaccounts", name))?;
        if !["", found.uid()].contains(&request.uid()) {
            let cause = format!(
                "the UID in the token request ({}) does not match the UID of the service account ({})",
                request.uid(),
                found.uid()
            );
            return Err(Error::conflict(GROUP, KIND, name, cause));
        }
        Ok(found)
    }

    /// What the token is for.
    fn audiences(&self, request: &Object) -> Vec<String> {
        let given = request.at(&["spec", "audiences"]).and_then(Value::as_array);
        let given: Vec<String> =
            given.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect();
        if given.is_empty() { self.config.api_audiences.clone() } else { given }
    }

    /// The profile of the audiences.
    fn profile(&self, audiences: &[String]) -> Result<Option<&TokenProfile>, Error> {
        self.config.profiles.choose(audiences).map_err(|e| {
            let error = FieldError::invalid("spec.audiences", &profile::shown(audiences), e);
            Error::invalid(GROUP, KIND, "", vec![error])
        })
    }

    /// Upstream names no object here, so neither does the message.
    fn validate(&self, asked: i64, profile: Option<&TokenProfile>) -> Result<(), Error> {
        let min = self.config.limits.min_token_expiration_seconds;
        let min = profile.and_then(TokenProfile::min_seconds).map_or(min, |own| own.max(min));
        let detail = match asked {
            asked if asked < min => validate::too_short(min),
            asked if asked > validate::MAX_TOKEN_EXPIRATION => validate::TOO_LONG.to_owned(),
            _ => return Ok(()),
        };
        let error = FieldError::invalid("spec.expirationSeconds", &asked.into(), detail);
        Err(Error::invalid(GROUP, KIND, "", vec![error]))
    }
}

/// Fills in what the request leaves open. Gives the seconds asked for.
fn complete(
    request: &mut Object,
    account: &Reference,
    namespace: &str,
    audiences: &[String],
    profile: Option<&TokenProfile>,
    now: OffsetDateTime,
) -> i64 {
    let asked = request.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    let asked = asked.unwrap_or_else(|| usual_seconds(profile));
    request.set(&["metadata", "name"], account.name.as_str());
    request.set(&["metadata", "namespace"], namespace);
    request.set(&["metadata", "uid"], account.uid.as_str());
    request.set(&["metadata", "creationTimestamp"], object_timestamp(now));
    request.set(&["spec", "audiences"], audiences.to_vec());
    request.set(&["spec", "expirationSeconds"], asked);
    request.remove(&["status"]);
    asked
}

/// What who does not say gets: the usual hour, as far as the profile's bounds allow.
fn usual_seconds(profile: Option<&TokenProfile>) -> i64 {
    let least = profile.and_then(TokenProfile::min_seconds).unwrap_or(0);
    let most = profile.and_then(TokenProfile::max_seconds).unwrap_or(i64::MAX);
    DEFAULT_EXPIRATION.max(least).min(most)
}

/// The claims of an account that has some, with the profile's, which win. An annotation that is no good (admission lets
/// none in, but data may be older than it) stops the token: a verifier may rely on a claim that would be missing.
fn annotated_claims(account: &Stored, profile: Option<&TokenProfile>) -> Result<Option<ExtraClaims>, Error> {
    let Some(text) = account.annotation(extra_claims::ANNOTATION) else { return Ok(None) };
    let own = ExtraClaims::parse(&text);
    let all = match profile {
        Some(profile) => own.and_then(|own| profile.extra().over(own)),
        None => own,
    };
    all.map(Some).map_err(|e| e.of_account(account.name()))
}

/// A request for a token as admission sees it.
fn write<'a>(user: &'a Identity, (namespace, name): (&'a str, &'a str), objects: &'a Snapshot) -> Write<'a> {
    Write {
        user,
        operation: Operation::Create,
        group: "",
        version: "v1",
        kind: KIND,
        resource: "serviceaccounts",
        subresource: "token",
        namespace,
        name,
        old: None,
        dry_run: false,
        objects,
    }
}
