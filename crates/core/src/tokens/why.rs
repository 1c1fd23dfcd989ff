//! What the [`Verifier`] has found of a token, rule by rule: for people who ask why. It has decided before; here it is put into words.

use time::OffsetDateTime;
use tokensmith_api::duration::human;
use tokensmith_objects::object::timestamp;
use tokensmith_objects::{Stored, names};

use super::claims::{Payload, Reference};
use super::verifier::{TokenRule, Verifier, subject};
use super::{Jws, legacy, live};
use crate::access::{AuthError, Authenticated, Clearance, Step};
use crate::ledger::Revocation;
use crate::view::Snapshot;

/// A token, and what it was held against.
pub(super) struct Looked<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) token: &'a str,
    pub(super) objects: &'a Snapshot,
    pub(super) now: OffsetDateTime,
    pub(super) asker: &'a Clearance,
}

/// So much of a claim is shown: before its signature was checked anybody may have written it.
const SHOWN: usize = 200;

impl Looked<'_> {
    /// Every rule in its order: those before `at` hold, and it fails unless the token was taken.
    pub(super) fn steps(&self, at: TokenRule, found: &Result<Option<Authenticated>, AuthError>) -> Vec<Step> {
        let jws = Jws::parse(self.token);
        let payload = jws.as_ref().and_then(|jws| serde_json::from_slice(jws.payload()).ok());
        let payload: Payload = payload.unwrap_or_default();
        let legacy = payload.issuer == legacy::ISSUER;
        let order = if legacy { TokenRule::LEGACY } else { TokenRule::BOUND };
        let taken = matches!(found, Ok(Some(_)));
        let cause = found.as_ref().err().map_or("", |AuthError(cause)| cause.as_str());
        let reached = order.iter().position(|rule| *rule == at).unwrap_or_default();
        let token = Token { looked: self, jws, payload, legacy };
        let step = |(place, rule): (usize, &TokenRule)| match place.cmp(&reached) {
            std::cmp::Ordering::Greater => Step::unasked(rule.as_str()),
            std::cmp::Ordering::Equal if !taken => token.fails(*rule, cause),
            _ => Step::holds(rule.as_str(), token.holds(*rule)),
        };
        order.iter().enumerate().map(step).collect()
    }

    fn away(&self, at: i64) -> String {
        human(at.abs_diff(self.now.unix_timestamp()))
    }

    fn when(&self, at: i64) -> String {
        let time = OffsetDateTime::from_unix_timestamp(at).map_or_else(|_| at.to_string(), timestamp);
        match at <= self.now.unix_timestamp() {
            true => format!("{time} ({} ago)", self.away(at)),
            false => format!("{time} (in {})", self.away(at)),
        }
    }
}

/// It, read. Nothing in it is to be believed unless its signature holds.
struct Token<'a> {
    looked: &'a Looked<'a>,
    jws: Option<Jws<'a>>,
    payload: Payload,
    legacy: bool,
}

impl Token<'_> {
    fn namespace(&self) -> &str {
        if self.legacy { &self.payload.legacy_namespace } else { &self.payload.kubernetes.namespace }
    }

    fn account(&self) -> Reference {
        match self.legacy {
            true => Reference::new(&self.payload.legacy_account, &self.payload.legacy_account_uid),
            false => self.payload.kubernetes.account.clone(),
        }
    }

    /// What it lives and dies with besides its account: the kind, the resource and which.
    fn bound(&self) -> Option<(&'static str, &'static str, Reference)> {
        if self.legacy {
            return Some(("Secret", "secrets", Reference::new(&self.payload.legacy_secret, "")));
        }
        let private = &self.payload.kubernetes;
        match (&private.secret, &private.pod, &private.node) {
            (Some(secret), ..) => Some(("Secret", "secrets", secret.clone())),
            (None, Some(pod), _) => Some(("Pod", "pods", pod.clone())),
            (None, None, Some(node)) => Some(("Node", "nodes", node.clone())),
            (None, None, None) => None,
        }
    }

    fn there(&self, resource: &str, name: &str) -> Option<&Stored> {
        let namespace = if resource == "nodes" { "" } else { self.namespace() };
        self.looked.objects.get("", resource, namespace, name).map(|found| &**found)
    }

    /// Another token of the same account, as kubectl gets one.
    fn another(&self) -> String {
        format!("kubectl create token {}", self.named(&self.account().name))
    }

    /// Something of the token's namespace, as kubectl is told. Names that no object can have stand in no command: whoever has made the
    /// token may have chosen them for a shell.
    fn named(&self, name: &str) -> String {
        let real = names::label(self.namespace()).is_empty() && names::subdomain(name).is_empty();
        match real {
            true => format!("{name} --namespace {}", self.namespace()),
            false => "NAME --namespace NAMESPACE".into(),
        }
    }

    /// The same, bound to what this one is bound to.
    fn another_bound(&self) -> String {
        match self.bound() {
            Some((kind, resource, to)) if !self.legacy && self.there(resource, &to.name).is_some() => {
                format!("{} --bound-object-kind {kind} --bound-object-name {}", self.another(), to.name)
            }
            _ => self.another(),
        }
    }

    fn holds(&self, rule: TokenRule) -> String {
        let (payload, looked) = (&self.payload, self.looked);
        match rule {
            TokenRule::Structure => "a JWT".into(),
            TokenRule::Issuer if self.legacy => "a token of a Secret".into(),
            TokenRule::Issuer => payload.issuer.clone(),
            TokenRule::Key => self.key().map_or_else(String::new, |(kid, phase)| format!("{kid} ({phase})")),
            TokenRule::Signature => String::new(),
            TokenRule::Audience if payload.audiences.is_empty() => {
                "it names none, so it is for the API server".into()
            }
            TokenRule::Audience => payload.audiences.join(", "),
            TokenRule::Time => payload
                .expires_at
                .map_or_else(|| "it never expires".into(), |exp| format!("it expires {}", looked.when(exp))),
            TokenRule::Subject => payload.subject.clone(),
            TokenRule::Account => {
                let account = self.account();
                format!("{}/{}, uid {}", self.namespace(), account.name, account.uid)
            }
            TokenRule::BoundObject => self.bound().map_or_else(
                || "none".into(),
                |(kind, _, to)| match to.uid.as_str() {
                    "" => format!("{kind} {}", to.name),
                    uid => format!("{kind} {}, uid {uid}", to.name),
                },
            ),
            TokenRule::Type => "none, or JWT".into(),
            TokenRule::Label => format!("no {} on the Secret", legacy::INVALID_SINCE),
            TokenRule::Revocation => "none covers it".into(),
        }
    }

    fn fails(&self, rule: TokenRule, cause: &str) -> Step {
        let name = rule.as_str();
        match rule {
            TokenRule::Structure => {
                Step::fails(name, self.shape()).or("give the token whole, as it was issued")
            }
            TokenRule::Issuer => self.foreign(name),
            TokenRule::Key => self.no_key(name),
            TokenRule::Signature => self.wrong_signature(name),
            TokenRule::Audience => self.for_others(name),
            TokenRule::Time => self.untimely(name, cause),
            TokenRule::Subject => Step::fails(name, cause).or(self.another()),
            TokenRule::Account => self.no_account(name, cause),
            TokenRule::BoundObject => self.unbound(name, cause),
            TokenRule::Label => Step::fails(name, cause).or(format!(
                "kubectl label secret {} {}-",
                self.named(&self.payload.legacy_secret),
                legacy::INVALID_SINCE
            )),
            TokenRule::Revocation => self.revoked(name),
            TokenRule::Type => Step::fails(name, cause)
                .or("show it to the service that it was exchanged for")
                .or(self.another()),
        }
    }

    /// What it has instead of three parts. Nothing of it is repeated: it may be another secret.
    fn shape(&self) -> String {
        let parts = self.looked.token.split('.').count();
        match (self.looked.token, parts) {
            ("", _) => "there is nothing".into(),
            (_, 3) if self.jws.is_none() => {
                "it has a JWT's three parts, and one of them cannot be read: it is cut, or was changed".into()
            }
            (_, 3) => "its claims are not of the types that they must be of".into(),
            (_, 1) => "it is no JWT, and no static token is this one".into(),
            (_, parts) => format!("it has {parts} parts between dots, and a JWT has three: is it whole?"),
        }
    }

    fn foreign(&self, name: &'static str) -> Step {
        let issuer: String = self.payload.issuer.chars().take(SHOWN).collect();
        let own = self.looked.verifier.issuers.join(", ");
        let said = match issuer.as_str() {
            "" => format!("it names no issuer; this server is {own}"),
            issuer => format!("it is from {issuer:?}, and this server is {own}"),
        };
        Step::fails(name, said).or("ask the server that has issued it").or(
            "start this one with that issuer as a further --service-account-issuer, and its public keys as a --service-account-key-file",
        )
    }

    /// The key that it names, if it is one of the server's, and what that may do.
    fn key(&self) -> Option<(String, &'static str)> {
        let keys = self.looked.verifier.keys.current();
        let jws = self.jws.as_ref()?;
        let kid = match jws.key_id() {
            Some(kid) => kid,
            None => jws.verify(keys.candidates(None)).ok()?.key_id(),
        };
        let found = keys.infos().iter().find(|key| key.id == kid)?;
        Some((found.id.clone(), found.phase))
    }

    fn no_key(&self, name: &'static str) -> Step {
        let kid = self.jws.as_ref().and_then(Jws::key_id).unwrap_or_default();
        let kid: String = kid.chars().take(SHOWN).collect();
        let keys = self.looked.verifier.keys.current();
        let known = keys.infos().iter().find(|key| key.id == kid).filter(|_| self.looked.asker.keys);
        let said = match known.and_then(|key| Some((key.phase, key.since?))) {
            Some(("revoked", since)) => {
                format!("key {kid} is revoked since {}", self.looked.when(since.unix_timestamp()))
            }
            _ => format!(
                "no key {kid:?} is published: it is revoked, has left the ring, or is another issuer's"
            ),
        };
        Step::fails(name, said).or(self.another())
    }

    fn wrong_signature(&self, name: &'static str) -> Step {
        let keys = self.looked.verifier.keys.current();
        let Some(jws) = &self.jws else { return Step::fails(name, "it cannot be read") };
        let faults: Vec<_> = keys.candidates(jws.key_id()).filter_map(|key| jws.fault(key)).collect();
        let said = match (jws.key_id(), faults.as_slice()) {
            (Some(_), [fault, ..]) => fault.to_string(),
            _ => "it names no key, and none of those that are published has signed it".to_owned(),
        };
        Step::fails(name, said).or("give the token whole and unchanged, as it was issued").or(self.another())
    }

    fn for_others(&self, name: &'static str) -> Step {
        let (has, own) = (&self.payload.audiences, &self.looked.verifier.api_audiences);
        let said = format!("it is for {}, and this server is {}", has.join(", "), own.join(", "));
        let other = match has.as_slice() {
            [one] => format!("start this server with {one} as one of --api-audiences"),
            _ => "start this server with one of them as one of --api-audiences".to_owned(),
        };
        Step::fails(name, said).or(self.another_bound()).or(other)
    }

    fn untimely(&self, name: &'static str, cause: &str) -> Step {
        let (times, looked) = (self.payload.times(), self.looked);
        let at = |what: &str, at: Option<i64>| {
            at.map_or_else(String::new, |at| format!(": {what} {}", looked.when(at)))
        };
        match times.check(looked.now.unix_timestamp()) {
            Err(super::TimeError::Expired) => {
                Step::fails(name, format!("{cause}{}", at("it ended", times.expires_at)))
                    .or(self.another_bound())
                    .or("read the file again: whoever projects tokens puts a fresh one there")
            }
            Err(super::TimeError::NotYetValid) => {
                Step::fails(name, format!("{cause}{}", at("it begins", times.not_before)))
                    .or("set the clocks of this server and of the one that issued it right, or wait")
            }
            _ => Step::fails(name, format!("{cause}{}", at("it is from", times.issued_at)))
                .or("set the clocks of this server and of the one that issued it right, or wait"),
        }
    }

    fn no_account(&self, name: &'static str, cause: &str) -> Step {
        let account = self.account();
        match self.there("serviceaccounts", &account.name) {
            None => {
                let said = format!("{cause}: {}/{} is gone", self.namespace(), account.name);
                let make = format!("kubectl create serviceaccount {}", self.named(&account.name));
                Step::fails(name, said).or(format!("{make} && {}", self.another()))
            }
            Some(found) if found.uid() != account.uid => Step::fails(
                name,
                format!(
                    "{cause}: {}/{} was deleted and made again, and the token is of the one before",
                    self.namespace(),
                    account.name
                ),
            )
            .or(self.another()),
            Some(_) => Step::fails(name, cause)
                .or(format!("kubectl get serviceaccount {} --output yaml", self.named(&account.name))),
        }
    }

    fn unbound(&self, name: &'static str, cause: &str) -> Step {
        let Some((kind, resource, to)) = self.bound() else { return Step::fails(name, cause) };
        let said = match self.there(resource, &to.name) {
            None => format!("{cause}: {kind} {} is gone", to.name),
            Some(_) if self.legacy => format!("{cause}: {kind} {} is going, or holds another token", to.name),
            Some(found) if found.uid() != to.uid => {
                format!("{cause}: {kind} {} was replaced by another one of its name", to.name)
            }
            Some(found) if live::gone(found, self.looked.now) => {
                format!("{cause}: {kind} {} has been deleted, and its time to end is over", to.name)
            }
            Some(_) => cause.to_owned(),
        };
        Step::fails(name, said).or(self.another_bound())
    }

    fn revoked(&self, name: &'static str) -> Step {
        let (verifier, looked) = (self.looked.verifier, self.looked);
        let found = match self.legacy {
            true => verifier.revocations.covering_secret_token(looked.token),
            false => {
                let kid = self.key().map(|(kid, _)| kid).unwrap_or_default();
                verifier.revocations.covering(&subject(&self.payload, &kid))
            }
        };
        let Some(found) = found.filter(|_| looked.asker.revocations) else {
            return Step::fails(name, "it is revoked").or(self.another());
        };
        let Revocation { what, at, by, reason, .. } = &*found;
        let covers = if found.is_bulk() { "its tokens of before are revoked" } else { "it is revoked" };
        let mut said = format!("{what}: {covers} since {} by {by}", looked.when(*at));
        if !reason.is_empty() {
            said.push_str(&format!(": {reason}"));
        }
        Step::fails(name, said).or(self.another_bound())
    }
}
