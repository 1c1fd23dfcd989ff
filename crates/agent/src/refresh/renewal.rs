//! One token's renewals, whoever keeps it: the projector for a file, a source for those who ask it.

use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::{Failure, Jitter, LEEWAY, Lease, RefreshError, RefreshPolicy};
use crate::api::{ApiError, IssuedToken, short_line};
use crate::payload::Secret;

/// Fed with what came of each request, it says when the next one is to be made. Pure; it does not hold the token itself.
#[derive(Debug)]
pub(crate) struct Renewal {
    jitter: Jitter,
    held: Option<Held>,
    /// In a row, since the token that is held came.
    failure: Option<Failure>,
    request: Request,
    /// The next token does not take its predecessor's turn: something happened that may have happened to a whole fleet.
    out_of_turn: bool,
}

/// The token that is held.
#[derive(Clone, Copy, Debug)]
struct Held {
    lease: Lease,
    /// When it is to be replaced.
    due: OffsetDateTime,
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

/// A token came.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: Secret,
    /// When it ends by its issuer's clock.
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) lease: Lease,
    /// When it ends by the monotonic clock, which no one can set.
    pub(crate) ends: Duration,
    /// When it is to be replaced.
    pub(crate) due: OffsetDateTime,
    /// From when on it is an alarm that it has not been.
    pub(crate) alarm_at: OffsetDateTime,
    /// Whether it was asked for when it was due: if not, its turn was drawn anew.
    pub(crate) on_schedule: bool,
    /// The failures that are over now.
    pub(crate) failed: Option<Failure>,
}

impl Renewal {
    /// Nothing was asked for yet.
    pub(crate) fn new(jitter: Jitter) -> Self {
        Renewal { jitter, held: None, failure: None, request: Request::None, out_of_turn: false }
    }

    /// Goes on where an earlier run stopped.
    pub(crate) fn resume(
        &mut self,
        lease: Lease,
        due: OffsetDateTime,
        now: OffsetDateTime,
        policy: &RefreshPolicy,
    ) {
        // A policy that asks for more than the one before counts at once.
        let due = due.min(lease.issued_at.plus(policy.base(lease.lifetime)));
        self.held = Some(Held { lease, due });
        // The clock has gone back since: whoever verifies by it finds a token of the future.
        if now.plus(LEEWAY) < lease.issued_at {
            self.bring_forward(now);
        }
    }

    /// What failed before still does, until it is known better.
    pub(crate) fn resume_failure(&mut self, failure: Option<Failure>) {
        self.failure = failure;
    }

    /// When a request is to be made.
    pub(crate) fn next(&self, now: OffsetDateTime) -> OffsetDateTime {
        match (&self.failure, self.held) {
            (Some(failure), _) => failure.next_attempt.unwrap_or(now),
            (None, Some(held)) => held.due,
            (None, None) => now,
        }
    }

    /// The lease of the token that is held.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.held.map(|held| held.lease)
    }

    /// When the token that is held is to be replaced.
    pub(crate) fn due(&self) -> Option<OffsetDateTime> {
        self.held.map(|held| held.due)
    }

    /// Failures in a row.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    pub(crate) fn is_asked_for(&self) -> bool {
        self.request != Request::None
    }

    /// Whether a request is to be made now. (An entry of the agenda may be older than what is known now.)
    pub(crate) fn is_due(&self, now: OffsetDateTime) -> bool {
        !self.is_asked_for() && self.next(now) <= now
    }

    /// Begins a request, if it is due.
    pub(crate) fn begin(&mut self, now: OffsetDateTime) -> bool {
        let begins = self.is_due(now);
        if begins {
            self.request = Request::Pending;
        }
        begins
    }

    /// The request was lost, with the task that made it.
    pub(crate) fn abandon(&mut self) {
        self.request = Request::None;
    }

    /// The token is of no use any more: another at once, whatever the agenda says. The new one's turn is drawn anew.
    pub(crate) fn renew(&mut self, now: OffsetDateTime) {
        if self.is_asked_for() {
            self.request = Request::Outdated;
        }
        self.bring_forward(now);
        if let Some(failure) = &mut self.failure {
            failure.next_attempt = Some(now);
        }
    }

    /// The token is to be replaced by then. The new one's turn is drawn anew.
    pub(crate) fn bring_forward(&mut self, at: OffsetDateTime) {
        self.out_of_turn = true;
        if let Some(held) = &mut self.held {
            held.due = held.due.min(at);
        }
    }

    /// The token is to be replaced then, with another one whose turn that is.
    pub(crate) fn go_with(&mut self, at: OffsetDateTime) {
        if let Some(held) = &mut self.held {
            held.due = at;
        }
    }

    /// The request's answer. `asked` is when it was asked for, by both clocks; `random` is in [0, 1).
    pub(crate) fn answered(
        &mut self,
        reply: Result<IssuedToken, ApiError>,
        (asked, monotonic): (OffsetDateTime, Duration),
        now: OffsetDateTime,
        policy: &RefreshPolicy,
        random: f64,
    ) -> Result<Granted, RefreshError> {
        let outdated = std::mem::replace(&mut self.request, Request::None) == Request::Outdated;
        let read = |issued: IssuedToken| Ok((Lease::of_reply(&issued, asked, now)?, issued));
        let (lease, issued) = match reply.map_err(RefreshError::Api).and_then(read) {
            Ok(read) => read,
            Err(error) => {
                let message = short_line(&error.to_string());
                let mut failure = Failure::after(self.failure.as_ref(), message, now, Some(now));
                let retry = error.retry(failure.count, self.lease());
                // What happened since does not make a server that asks to be left alone ready.
                if !outdated || retry.retry_after.is_some() {
                    failure.next_attempt = Some(now.plus(retry.delay(now, random)));
                }
                self.failure = Some(failure);
                return Err(error);
            }
        };
        let turn = self.held.map(|held| held.due).filter(|_| !self.out_of_turn);
        let due = policy.due(&lease, self.jitter, turn);
        self.held = Some(Held { lease, due });
        self.out_of_turn = false;
        let failed = self.failure.take();
        if outdated {
            self.renew(now);
        }
        let due = self.due().unwrap_or(due);
        Ok(Granted {
            token: issued.token,
            expires_at: issued.expires_at,
            lease,
            ends: monotonic.saturating_add(lease.expires_at().left(asked)),
            due,
            alarm_at: policy.alarm(&lease),
            on_schedule: turn.is_some(),
            failed,
        })
    }

    /// The local clock went back. True if verifiers that follow it find a token of the future.
    pub(crate) fn move_back(&mut self, by: Duration, now: OffsetDateTime) -> bool {
        let future = self.held.is_some_and(|held| held.lease.not_yet_valid(now));
        if let Some(held) = &mut self.held {
            *held = Held { lease: held.lease.moved_back(by), due: held.due.minus(by) };
        }
        if let Some(failure) = &mut self.failure {
            failure.move_back(by);
        }
        future
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-01-01 10:00 UTC);

    fn renewal() -> Renewal {
        Renewal::new(Jitter { phase: 0.5, period: 0.0 })
    }

    fn issued(at: OffsetDateTime) -> Result<IssuedToken, ApiError> {
        let expires_at = at + Duration::from_secs(3600);
        Ok(IssuedToken { token: Secret::new("a.b.c"), expiration_seconds: 3600, expires_at })
    }

    fn answer(renewal: &mut Renewal, reply: Result<IssuedToken, ApiError>, at: OffsetDateTime, random: f64) {
        assert!(renewal.begin(at) && !renewal.begin(at));
        let _ = renewal.answered(reply, (at, Duration::ZERO), at, &RefreshPolicy::default(), random);
    }

    #[test]
    fn a_turn_outlives_failures() {
        let mut renewal = renewal();
        answer(&mut renewal, issued(START), START, 0.0);
        let due = renewal.next(START);
        let mut waits = Vec::new();
        let mut at = due;
        for _ in 0..3 {
            answer(&mut renewal, Err(ApiError::Unreachable("away".into())), at, 1.0);
            waits.push((renewal.next(at) - at).whole_seconds());
            at = renewal.next(at);
        }
        assert_eq!((waits.as_slice(), renewal.failure().unwrap().count), (&[1, 2, 4][..], 3));
        let late = due + Duration::from_secs(300);
        answer(&mut renewal, issued(late), late, 0.0);
        assert_eq!(renewal.next(late), due + Duration::from_secs(2880));
        assert!(renewal.failure().is_none());
    }

    #[test]
    fn an_answer_that_was_asked_for_too_early_is_followed_by_another_request() {
        let mut renewal = renewal();
        for reply in [issued(START), Err(ApiError::Unreachable("away".into()))] {
            assert!(renewal.begin(START));
            // The account is made again while the request is under way: the answer may be the old one's.
            renewal.renew(START);
            let _ = renewal.answered(reply, (START, Duration::ZERO), START, &RefreshPolicy::default(), 0.5);
            assert_eq!(renewal.next(START), START);
        }
        answer(&mut renewal, issued(START), START, 0.5);
        assert!(renewal.next(START) > START);
    }

    #[test]
    fn a_server_that_asks_to_be_left_alone_is_also_after_an_answer_that_is_out_of_date() {
        let mut renewal = renewal();
        assert!(renewal.begin(START));
        renewal.renew(START);
        let retry_after = Some(Duration::from_secs(20));
        let busy = ApiError::Status { code: 429, reason: String::new(), message: String::new(), retry_after };
        let _ = renewal.answered(Err(busy), (START, Duration::ZERO), START, &RefreshPolicy::default(), 0.0);
        assert_eq!(renewal.next(START), START + Duration::from_secs(20));
    }

    #[test]
    fn what_the_agenda_has_from_before_asks_for_nothing() {
        let mut renewal = renewal();
        answer(&mut renewal, issued(START), START, 0.5);
        assert!(!renewal.begin(START + Duration::from_secs(60)));
        renewal.bring_forward(START + Duration::from_secs(60));
        assert!(renewal.begin(START + Duration::from_secs(60)));
    }

    #[test]
    fn a_reply_without_sense_is_a_failure_and_a_server_cannot_break_a_line() {
        let mut renewal = renewal();
        let nonsense = IssuedToken { expiration_seconds: 0, ..issued(START).unwrap() };
        answer(&mut renewal, Ok(nonsense), START, 0.0);
        assert!(renewal.lease().is_none());
        let message = "no\nway\u{1b}[31m".to_owned();
        let error = ApiError::Status { code: 500, reason: String::new(), message, retry_after: None };
        answer(&mut renewal, Err(error), START, 0.0);
        let failure = renewal.failure().unwrap();
        assert_eq!((failure.count, failure.message.as_str()), (2, "no way [31m"));
    }
}
