//! One token file: what is held, what is on disk, what went wrong. Decides; does nothing itself.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::tokens::Jws;

use super::deadline::short_line;
use super::state::{Failure, Grant, Refusal, TokenState, sha256};
use crate::api::{ApiError, IssuedToken};
use crate::payload::Secret;
use crate::pod::TokenSource;
use crate::refresh::{Jitter, Lease, NonsenseReply, RefreshPolicy, Schedule, Setback, Trouble, doubled};

/// A token file of a volume.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) source: TokenSource,
    jitter: Jitter,
    /// The newest token.
    held: Option<(Secret, Grant)>,
    /// What the file has.
    pub(super) on_disk: Option<Grant>,
    pub(super) failure: Option<Failure>,
    pub(super) alarm: bool,
    /// The newest token, or the one in the file, is dead before its time.
    refused: Option<Refusal>,
    /// Tokens in a row that were refused before they were due.
    fruitless: u32,
    /// When the API server last said that it takes the newest token.
    reviewed: Option<OffsetDateTime>,
    request: Request,
    /// The next token does not take its predecessor's turn: something happened that may have happened to a whole fleet.
    out_of_turn: bool,
    /// When the try began that has not ended with a new file (monotonic).
    pub(super) trying: Option<Duration>,
    /// Tells the current entry of the agenda from those that no longer count.
    pub(super) turn: u64,
}

/// The request for another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// There is none.
    None,
    /// It waits for a slot, or is under way.
    Pending,
    /// So it is, but something happened since: what it brings may be of no use, and another follows at once.
    Outdated,
}

/// After a token was refused that had replaced a refused one, the next waits this long, doubled each time.
const AGAIN: Duration = Duration::from_secs(10);
/// Until a try is this old it is no alarm: after a machine slept everything is overdue, for as long as a request takes.
pub(super) const GRACE: Duration = Duration::from_secs(15);

impl Token {
    pub(super) fn new(source: TokenSource, jitter: Jitter) -> Self {
        Token {
            source,
            jitter,
            held: None,
            on_disk: None,
            failure: None,
            alarm: false,
            refused: None,
            fruitless: 0,
            reviewed: None,
            request: Request::None,
            out_of_turn: false,
            trying: None,
            turn: 0,
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
        self.failure.clone_from(&state.failure);
        self.alarm = state.alarm;
        let (Some(file), Some(grant)) = (file, &state.token) else { return };
        let same = state.audience == self.source.audience
            && state.expiration_seconds == self.source.expiration_seconds;
        if !same || sha256(&file) != grant.sha256 {
            return;
        }
        let mut grant = grant.clone();
        // An earlier version has not written it down.
        grant.kid = grant.kid.or_else(|| Some(kid(&file)));
        self.reviewed = state.reviewed;
        let lease = grant.lease();
        // A policy that asks for more than the one before counts at once.
        grant.due = grant.due.min(lease.issued_at.plus(policy.base(lease.lifetime)));
        // The clock has gone back since: whoever verifies by it finds a token of the future.
        if now.plus(crate::refresh::LEEWAY) < lease.issued_at {
            grant.due = now;
            self.out_of_turn = true;
        }
        // What was dead when the last run ended is dead still. Its one replacement at once is this run's first request.
        let mut refused = state.refused.clone().filter(|refused| refused.sha256 == grant.sha256);
        if let Some(refused) = &mut refused {
            refused.since = refused.since.min(now);
            grant.due = grant.due.min(now);
            self.out_of_turn = true;
            self.fruitless = 1;
            // It is raised anew: this run's metrics and health know nothing of it yet.
            self.alarm = false;
        }
        self.refused = refused;
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

    /// When a request is to be made.
    pub(super) fn next(&self, now: OffsetDateTime) -> OffsetDateTime {
        match (&self.failure, self.grant()) {
            (Some(failure), _) => failure.next_attempt.unwrap_or(now),
            (None, Some(grant)) => grant.due,
            (None, None) => now,
        }
    }

    /// A request is to be made.
    pub(super) fn ask(&mut self, monotonic: Duration) {
        self.request = Request::Pending;
        self.trying.get_or_insert(monotonic);
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.request != Request::None
    }

    /// Its token is of no use any more: another at once, whatever the agenda says. The new one's turn is drawn anew.
    pub(super) fn renew(&mut self, now: OffsetDateTime) {
        if self.is_asked_for() {
            self.request = Request::Outdated;
        }
        self.out_of_turn = true;
        if let Some((_, grant)) = &mut self.held {
            grant.due = now;
        }
        if let Some(failure) = &mut self.failure {
            failure.next_attempt = Some(now);
        }
    }

    /// The request's answer. `Ok(true)` ends failures.
    pub(super) fn answered(
        &mut self,
        reply: Result<IssuedToken, ApiError>,
        asked: OffsetDateTime,
        now: OffsetDateTime,
        policy: &RefreshPolicy,
        random: f64,
    ) -> Answer {
        let again = std::mem::replace(&mut self.request, Request::None) == Request::Outdated;
        let (message, setback) = match reply.map(|r| (Lease::of_reply(&r, asked, now), r)) {
            Ok((Ok(lease), reply)) => {
                let failed = self.failure.take();
                self.hold(reply.token, lease, policy);
                if again {
                    self.renew(now);
                }
                return Answer::Granted { lease, failed };
            }
            Ok((Err(nonsense @ NonsenseReply { .. }), _)) => {
                (nonsense.to_string(), Setback { trouble: Trouble::Refused, retry_after: None })
            }
            Err(error) => (error.to_string(), Setback::of(&error)),
        };
        let mut schedule = self.schedule(policy);
        let next = schedule.failed(setback, self.grant().map(Grant::lease), now, random);
        let next = Some(if again { now } else { next });
        self.failure = Some(Failure::after(self.failure.as_ref(), short_line(&message), now, next));
        Answer::Failed { first: schedule.failures() == 1 }
    }

    /// Where its turns have come: what is written down of them outlives this process.
    fn schedule(&self, policy: &RefreshPolicy) -> Schedule {
        let turn = self.grant().map(|grant| grant.due).filter(|_| !self.out_of_turn);
        Schedule::new(*policy, self.jitter).resumed(turn, self.failure.as_ref().map_or(0, |f| f.count))
    }

    fn hold(&mut self, secret: Secret, lease: Lease, policy: &RefreshPolicy) {
        let mut schedule = self.schedule(policy);
        let on_schedule = self.grant().is_some() && !self.out_of_turn;
        self.out_of_turn = false;
        let grant = Grant {
            issued_at: lease.issued_at,
            lifetime_seconds: lease.lifetime.as_secs(),
            expires_at: lease.expires_at(),
            ahead_seconds: lease.ahead.as_seconds_f64(),
            due: schedule.granted(&lease),
            alarm_at: policy.alarm(&lease),
            on_schedule,
            account_uid: account_uid(&secret),
            kid: Some(kid(&secret)),
            sha256: sha256(&secret),
        };
        self.reviewed = None;
        self.held = Some((secret, grant));
    }

    /// Its newest token is dead. When another is to be asked for; `None` where that is known already.
    pub(super) fn refuse(&mut self, now: OffsetDateTime, why: String) -> Option<OffsetDateTime> {
        if self.is_refused() {
            return None;
        }
        let (_, grant) = self.held.as_mut()?;
        self.refused = Some(Refusal { since: now, why, sha256: grant.sha256.clone() });
        self.reviewed = None;
        // The first is replaced at once. Where that did not help, the server is not asked for ever more.
        let wait = match self.fruitless {
            0 => Duration::ZERO,
            failures => doubled(AGAIN, failures),
        };
        self.fruitless = self.fruitless.saturating_add(1);
        grant.due = grant.due.min(now.plus(wait));
        self.out_of_turn = true;
        Some(grant.due)
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
        if newest && self.failure.is_none() && !self.is_asked_for() {
            self.trying = None;
        }
        if self.refused.as_ref().is_some_and(|refused| refused.sha256 != grant.sha256) {
            self.refused = None;
        }
        self.on_disk = Some(grant);
    }

    /// The local clock went back. True if verifiers that follow it find a token of the future.
    pub(super) fn move_back(&mut self, by: Duration, now: OffsetDateTime) -> bool {
        let future = self.grant().is_some_and(|grant| grant.lease().not_yet_valid(now));
        for grant in self.held.iter_mut().map(|(_, grant)| grant).chain(&mut self.on_disk) {
            grant.move_back(by);
        }
        if let Some(failure) = &mut self.failure {
            failure.move_back(by);
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
            token,
            failure: self.failure.clone(),
            alarm: self.alarm,
            refused: self.refusal().cloned(),
            reviewed: self.reviewed.filter(|_| self.grant() == self.on_disk.as_ref()),
        }
    }
}

/// What an answer came to.
#[derive(Debug)]
pub(super) enum Answer {
    Failed { first: bool },
    Granted { lease: Lease, failed: Option<Failure> },
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
    let payload = token.expose_str()?.split('.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(claims.kubernetes.serviceaccount.uid)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use tokensmith_objects::LocalPath;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

    fn token() -> Token {
        let source = TokenSource {
            audience: None,
            expiration_seconds: 3600,
            path: LocalPath::try_from("token").unwrap(),
        };
        Token::new(source, Jitter { phase: 0.5, period: 0.0 })
    }

    fn issued(payload: &str, at: OffsetDateTime) -> IssuedToken {
        let token = Secret::new(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload)));
        IssuedToken { token, expiration_seconds: 3600, expires_at: at + Duration::from_secs(3600) }
    }

    fn answer(token: &mut Token, payload: &str, at: OffsetDateTime) {
        token.ask(Duration::ZERO);
        let reply = Ok(issued(payload, at));
        token.answered(reply, at, at, &RefreshPolicy::default(), 0.5);
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
    fn an_answer_that_was_asked_for_too_early_is_followed_by_another_request() {
        let mut token = token();
        token.ask(Duration::ZERO);
        // The account is made again while the request is under way: the answer may be the old one's.
        token.renew(NOW);
        token.answered(Ok(issued("{}", NOW)), NOW, NOW, &RefreshPolicy::default(), 0.5);
        assert_eq!(token.next(NOW), NOW);
        answer(&mut token, "{}", NOW);
        assert!(token.next(NOW) > NOW);
        token.ask(Duration::ZERO);
        token.renew(NOW);
        let error = ApiError::Unreachable("away".into());
        token.answered(Err(error), NOW, NOW, &RefreshPolicy::default(), 0.5);
        assert_eq!(token.next(NOW), NOW);
    }

    #[test]
    fn a_turn_is_kept_unless_something_happened_to_all() {
        let mut token = token();
        answer(&mut token, "{}", NOW);
        assert!(!token.grant().unwrap().on_schedule);
        let due = token.next(NOW);
        let late = due + Duration::from_secs(300);
        answer(&mut token, "{}", late);
        assert!(token.grant().unwrap().on_schedule);
        assert_eq!(token.next(late), due + Duration::from_secs(2880));
        token.renew(late);
        answer(&mut token, "{}", late);
        assert!(!token.grant().unwrap().on_schedule);
        assert_eq!(token.next(late), late + Duration::from_secs(1512));
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
        assert!(after.is_refused() && after.next(later) == later);
        assert_eq!(after.refuse(later, "again".into()), None);
        answer(&mut after, r#"{"jti":"2"}"#, later);
        assert!(!after.is_refused() && !after.grant().unwrap().on_schedule);
        // The one at once was this.
        assert!(after.refuse(later, "as well".into()).unwrap() > later);
        // Another token's refusal says nothing of this one.
        let mut state = state;
        state.refused.as_mut().unwrap().sha256 = "another's".into();
        let after = resumed(&state);
        assert!(!after.is_refused() && after.next(later) > later);
    }

    #[test]
    fn a_reply_without_sense_is_a_failure_and_a_server_cannot_break_a_line() {
        let mut token = token();
        token.ask(Duration::ZERO);
        let reply = IssuedToken { expiration_seconds: 0, ..issued("{}", NOW) };
        token.answered(Ok(reply), NOW, NOW, &RefreshPolicy::default(), 0.5);
        assert!(token.secret().is_none());
        let message = "no\nway\u{1b}[31m".to_owned();
        let error = ApiError::Status { code: 500, reason: String::new(), message, retry_after: None };
        token.ask(Duration::ZERO);
        token.answered(Err(error), NOW, NOW, &RefreshPolicy::default(), 0.5);
        let failure = token.failure.unwrap();
        assert_eq!((failure.count, failure.message.as_str()), (2, "no way [31m"));
    }
}
