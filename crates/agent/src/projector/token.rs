//! One token file: what is held, what is on disk, what went wrong. Decides; does nothing itself.

use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::tokens::Jws;

use super::state::{ExchangeState, Grant, Refusal, TokenState, sha256};
use crate::payload::Secret;
use crate::pod::TokenProjection;
use crate::refresh::{Granted, Jitter, RefreshPolicy, Renewal, doubled};

/// A token file of a volume.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) source: TokenProjection,
    pub(super) renewal: Renewal,
    /// The newest token.
    held: Option<(Secret, Grant)>,
    /// What the file has.
    pub(super) on_disk: Option<Grant>,
    pub(super) alarm: bool,
    /// The newest token, or the one in the file, is dead before its time.
    refused: Option<Refusal>,
    /// Tokens in a row that were refused before they were due.
    fruitless: u32,
    /// When the API server last said that it takes the newest token.
    reviewed: Option<OffsetDateTime>,
    /// When the try began that has not ended with a new file (monotonic).
    pub(super) trying: Option<Duration>,
    /// SHA-256 of the token that is being exchanged, or was.
    pub(super) asking_of: Option<String>,
}

/// After a token was refused that had replaced a refused one, the next waits this long, doubled each time.
const AGAIN: Duration = Duration::from_secs(10);
/// Until a try is this old it is no alarm: after a machine slept everything is overdue, for as long as a request takes.
pub(super) const GRACE: Duration = Duration::from_secs(15);

impl Token {
    pub(super) fn new(source: TokenProjection, jitter: Jitter) -> Self {
        Token {
            source,
            renewal: Renewal::new(jitter),
            held: None,
            on_disk: None,
            alarm: false,
            refused: None,
            fruitless: 0,
            reviewed: None,
            trying: None,
            asking_of: None,
        }
    }

    /// Goes on with the token of a file, if it is the one of the state and nothing speaks against it.
    pub(super) fn resume(
        &mut self,
        state: &TokenState,
        file: Option<Secret>,
        now: OffsetDateTime,
        policy: &RefreshPolicy,
    ) {
        self.renewal.resume_failure(state.failure.clone());
        self.alarm = state.alarm;
        let (Some(file), Some(grant)) = (file, &state.token) else { return };
        let same = state.audience == self.source.audience
            && state.expiration_seconds == self.source.expiration_seconds
            && state.exchange == self.source.exchange.as_ref().map(ExchangeState::of);
        if !same || sha256(&file) != grant.sha256 {
            return;
        }
        let mut grant = grant.clone();
        // An earlier version has not written it down.
        grant.kid = grant.kid.or_else(|| Some(kid(&file)));
        self.reviewed = state.reviewed;
        self.renewal.resume(grant.lease(), grant.due, now, policy);
        // What was dead when the last run ended is dead still. Its one replacement at once is this run's first request.
        let mut refused = state.refused.clone().filter(|refused| refused.sha256 == grant.sha256);
        if let Some(refused) = &mut refused {
            refused.since = refused.since.min(now);
            self.renewal.bring_forward(now);
            self.fruitless = 1;
            // It is raised anew: this run's metrics and health know nothing of it yet.
            self.alarm = false;
        }
        self.refused = refused;
        grant.due = self.renewal.due().unwrap_or(grant.due);
        self.on_disk = Some(grant.clone());
        self.held = Some((file, grant));
    }

    /// The newest token.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.held.as_ref().map(|(secret, _)| secret)
    }

    /// What is known of the newest token.
    pub(super) fn grant(&self) -> Option<&Grant> {
        self.held.as_ref().map(|(_, grant)| grant)
    }

    /// Another token came.
    pub(super) fn hold(&mut self, granted: Granted) {
        let Granted { token: secret, lease, due, alarm_at, on_schedule, .. } = granted;
        let grant = Grant {
            issued_at: lease.issued_at,
            lifetime_seconds: lease.lifetime.as_secs(),
            expires_at: lease.expires_at(),
            ahead_seconds: lease.ahead.as_seconds_f64(),
            due,
            alarm_at,
            on_schedule,
            // Another issuer's claims say nothing of the account.
            account_uid: account_uid(&secret).filter(|_| !self.is_exchanged()),
            kid: Some(kid(&secret)),
            sha256: sha256(&secret),
            made_of: self.asking_of.clone(),
        };
        self.reviewed = None;
        self.held = Some((secret, grant));
    }

    /// Whether it is made of another one by exchange.
    pub(super) fn is_exchanged(&self) -> bool {
        self.source.exchange.is_some()
    }

    /// Whether it is made of this one.
    pub(super) fn is_made_of(&self, subject: &Grant) -> bool {
        self.grant().is_some_and(|own| own.made_of.as_ref() == Some(&subject.sha256))
    }

    /// It is to be replaced when the token is that it is made of.
    pub(super) fn go_with(&mut self, at: OffsetDateTime) {
        self.renewal.go_with(at);
        self.keep_due();
    }

    /// Whether another exchange would bring nothing: the token ends with the one that it was made of.
    pub(super) fn ends_with(&self, subject: &Grant) -> bool {
        const SAME: Duration = Duration::from_secs(2);
        self.grant().is_some_and(|own| own.expires_at.plus(SAME) >= subject.expires_at)
    }

    /// It is of no use any more: another, at once.
    pub(super) fn renew(&mut self, now: OffsetDateTime) {
        self.renewal.renew(now);
        self.keep_due();
    }

    /// Has it written down when the token is due: the next run must know what this one has not come to.
    fn keep_due(&mut self) {
        let Some(((_, held), due)) = self.held.as_mut().zip(self.renewal.due()) else { return };
        held.due = due;
        if let Some(on_disk) = self.on_disk.as_mut().filter(|on_disk| on_disk.sha256 == held.sha256) {
            on_disk.due = due;
        }
    }

    /// Its newest token is dead. When another is to be asked for; `None` where that is known already.
    pub(super) fn refuse(&mut self, now: OffsetDateTime, why: String) -> Option<OffsetDateTime> {
        if self.is_refused() {
            return None;
        }
        let sha256 = self.grant()?.sha256.clone();
        self.refused = Some(Refusal { since: now, why, sha256 });
        self.reviewed = None;
        // The first is replaced at once. Where that did not help, the server is not asked for ever more.
        let wait = match self.fruitless {
            0 => Duration::ZERO,
            failures => doubled(AGAIN, failures),
        };
        self.fruitless = self.fruitless.saturating_add(1);
        self.renewal.bring_forward(now.plus(wait));
        self.keep_due();
        self.renewal.due()
    }

    /// Whether the newest token is known to be dead.
    pub(super) fn is_refused(&self) -> bool {
        let refused = self.refused.as_ref();
        refused.is_some_and(|refused| self.grant().is_some_and(|grant| grant.sha256 == refused.sha256))
    }

    /// The key of the newest token is in the issuer's key set.
    pub(super) fn key_is_there(&mut self) {
        if !self.is_refused() {
            self.fruitless = 0;
        }
    }

    /// The API server takes the newest token. Whether that is to be written down.
    pub(super) fn reviewed(&mut self, now: OffsetDateTime) -> bool {
        const WRITE_DOWN: time::Duration = time::Duration::seconds(60);
        self.fruitless = 0;
        let old = self.reviewed.is_none_or(|at| now.since(at).abs() >= WRITE_DOWN);
        if old {
            self.reviewed = Some(now);
        }
        old
    }

    /// Why the token in the file is dead.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        let on_disk = self.on_disk.as_ref()?;
        self.refused.as_ref().filter(|refused| refused.sha256 == on_disk.sha256)
    }

    /// The account was made again (`uid` is the new one's): its old tokens are dead. Whether this is one of them.
    pub(super) fn is_of_another_account(&self, uid: &str) -> bool {
        self.grant().and_then(|g| g.account_uid.as_deref()).is_some_and(|mine| mine != uid)
    }

    /// The file has the token of this grant now.
    pub(super) fn written(&mut self, grant: Grant) {
        // Not so if it is the old token, written again for something else in its volume.
        let newest = self.grant().is_some_and(|held| held.sha256 == grant.sha256);
        if newest && self.renewal.failure().is_none() && !self.renewal.is_asked_for() {
            self.trying = None;
        }
        if self.refused.as_ref().is_some_and(|refused| refused.sha256 != grant.sha256) {
            self.refused = None;
        }
        self.on_disk = Some(grant);
    }

    /// The local clock went back. True if verifiers that follow it find a token of the future.
    pub(super) fn move_back(&mut self, by: Duration, now: OffsetDateTime) -> bool {
        let future = self.renewal.move_back(by, now);
        for grant in self.held.iter_mut().map(|(_, grant)| grant).chain(&mut self.on_disk) {
            grant.move_back(by);
        }
        if let Some(refused) = &mut self.refused {
            refused.since = refused.since.minus(by);
        }
        self.reviewed = self.reviewed.map(|at| at.minus(by));
        future
    }

    /// When to look whether there is an alarm: while a try is on.
    pub(super) fn alarm_check(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let on_disk = self.on_disk.as_ref()?;
        match self.refusal() {
            Some(refused) => Some(refused.since.plus(GRACE).max(now)),
            None => self.trying.map(|_| on_disk.alarm_at.max(now.plus(GRACE))),
        }
    }

    /// Whether the token in the file should have been replaced long ago.
    pub(super) fn alarming(&self, now: OffsetDateTime, monotonic: Duration) -> bool {
        if self.refusal().is_some_and(|refused| now.since(refused.since) >= GRACE) {
            return true;
        }
        let tried = self.trying.is_some_and(|since| monotonic.saturating_sub(since) >= GRACE);
        tried && self.on_disk.as_ref().is_some_and(|grant| now >= grant.alarm_at)
    }

    /// For the state on disk; `token` is what the file has.
    pub(super) fn state(&self, token: Option<Grant>) -> TokenState {
        TokenState {
            audience: self.source.audience.clone(),
            expiration_seconds: self.source.expiration_seconds,
            exchange: self.source.exchange.as_ref().map(ExchangeState::of),
            token,
            failure: self.renewal.failure().cloned(),
            alarm: self.alarm,
            refused: self.refusal().cloned(),
            reviewed: self.reviewed.filter(|_| self.grant() == self.on_disk.as_ref()),
        }
    }
}

/// The key that signed a token, as its header says; empty when it does not. Not verified: it came from the API server itself.
fn kid(token: &Secret) -> String {
    let jws = token.expose_str().and_then(Jws::parse);
    jws.as_ref().and_then(Jws::key_id).unwrap_or_default().to_owned()
}

/// Whose token it is, from its own claims. They are not verified: it came from the API server itself, and all that
/// hangs on it is when the next one is asked for.
fn account_uid(token: &Secret) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(rename = "kubernetes.io")]
        kubernetes: Kubernetes,
    }
    #[derive(Deserialize)]
    struct Kubernetes {
        serviceaccount: Account,
    }
    #[derive(Deserialize)]
    struct Account {
        uid: String,
    }
    let jws = Jws::parse(token.expose_str()?)?;
    let claims: Claims = serde_json::from_slice(jws.payload()).ok()?;
    Some(claims.kubernetes.serviceaccount.uid)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use time::macros::datetime;
    use tokensmith_objects::LocalPath;

    use super::*;
    use crate::api::IssuedToken;

    const NOW: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

    fn token() -> Token {
        let source = TokenProjection {
            audience: None,
            expiration_seconds: 3600,
            path: LocalPath::try_from("token").unwrap(),
            exchange: None,
        };
        Token::new(source, Jitter { phase: 0.5, period: 0.0 })
    }

    fn answer(token: &mut Token, payload: &str, at: OffsetDateTime) {
        let secret = Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)));
        let expires_at = at + Duration::from_secs(3600);
        let reply = IssuedToken { token: secret, expiration_seconds: 3600, expires_at };
        let when = (at, Duration::ZERO);
        let granted = token.renewal.answered(Ok(reply), when, at, &RefreshPolicy::default(), 0.5);
        token.hold(granted.unwrap());
    }

    #[test]
    fn the_account_is_read_from_the_claims_and_garbage_is_no_account() {
        let mut token = token();
        answer(&mut token, r#"{"kubernetes.io":{"serviceaccount":{"name":"robot","uid":"u"}}}"#, NOW);
        assert!(token.is_of_another_account("v") && !token.is_of_another_account("u"));
        for payload in ["", "{}", "[]", r#"{"kubernetes.io":{"serviceaccount":{"uid":7}}}"#] {
            answer(&mut token, payload, NOW);
            assert!(token.grant().is_some() && !token.is_of_another_account("v"), "{payload}");
        }
        assert_eq!(account_uid(&Secret::new(vec![0xff, b'.', 0xfe])), None);
    }

    #[test]
    fn a_turn_is_kept_unless_something_happened_to_all() {
        let mut token = token();
        answer(&mut token, "{}", NOW);
        assert!(!token.grant().unwrap().on_schedule);
        let due = token.renewal.next(NOW);
        let late = due + Duration::from_secs(300);
        answer(&mut token, "{}", late);
        assert!(token.grant().unwrap().on_schedule);
        assert_eq!(token.renewal.next(late), due + Duration::from_secs(2880));
        token.renew(late);
        answer(&mut token, "{}", late);
        assert!(!token.grant().unwrap().on_schedule);
        assert_eq!(token.renewal.next(late), late + Duration::from_secs(1512));
    }

    #[test]
    fn what_is_due_out_of_turn_is_written_down_with_the_token() {
        for refused in [false, true] {
            let mut token = token();
            answer(&mut token, "{}", NOW);
            token.written(token.grant().unwrap().clone());
            let later = NOW + Duration::from_secs(60);
            match refused {
                true => assert_eq!(token.refuse(later, "revoked".into()), Some(later)),
                false => token.renew(later),
            }
            assert_eq!(token.on_disk.as_ref().unwrap().due, later);
            assert_eq!(token.grant(), token.on_disk.as_ref());
            // The answer to a request that was made before is of no use either: what it brings is due at once.
            token.renewal.bring_forward(later);
            assert!(token.renewal.begin(later));
            token.renew(later);
            answer(&mut token, "{}", later);
            assert_eq!(token.grant().unwrap().due, later);
        }
    }

    #[test]
    fn a_restart_goes_on_with_a_refusal_and_asks_at_once() {
        let mut before = token();
        answer(&mut before, "{}", NOW);
        let file = before.secret().unwrap().clone();
        before.written(before.grant().unwrap().clone());
        let later = NOW + Duration::from_secs(60);
        before.refuse(later, "revoked".into());
        // A refusal that was written down before the due time was.
        let grant = Grant { due: NOW + Duration::from_secs(1800), ..before.grant().unwrap().clone() };
        let state = before.state(Some(grant));
        let resumed = |state: &TokenState| {
            let mut after = token();
            after.resume(state, Some(file.clone()), later, &RefreshPolicy::default());
            after
        };
        let mut after = resumed(&state);
        assert_eq!(after.refusal(), before.refusal());
        assert!(after.is_refused() && after.renewal.next(later) == later);
        assert_eq!(after.refuse(later, "again".into()), None);
        answer(&mut after, r#"{"jti":"2"}"#, later);
        assert!(!after.is_refused() && !after.grant().unwrap().on_schedule);
        // The one at once was this.
        assert!(after.refuse(later, "as well".into()).unwrap() > later);
        // Another token's refusal says nothing of this one.
        let mut state = state;
        state.refused.as_mut().unwrap().sha256 = "another's".into();
        let after = resumed(&state);
        assert!(!after.is_refused() && after.renewal.next(later) > later);
    }
}
