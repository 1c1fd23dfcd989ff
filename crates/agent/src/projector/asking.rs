//! Tokens: when one is due, the request, what follows from its answer, and the alarm.

use std::collections::VecDeque;

use futures::FutureExt;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::random;
use tokensmith_objects::object::timestamp;

use super::deadline::DEADLINE;
use super::ids::{PodId, Task, TokenId};
use super::monitor::FileLabels;
use super::token::Answer;
use super::{Done, Projector};
use crate::api::{ApiError, IssuedToken, within};

/// Who waits for a slot, and how many are taken.
#[derive(Debug, Default)]
pub(super) struct Asking {
    fresh: VecDeque<TokenId>,
    failed: VecDeque<TokenId>,
    taken: usize,
    taken_by_failed: usize,
    /// The clock differs from the API server's.
    skewed: bool,
}

/// An answer.
pub(super) struct Asked {
    id: TokenId,
    failed_before: bool,
    at: OffsetDateTime,
    reply: Result<IssuedToken, ApiError>,
}

/// Requests at a time.
const SLOTS: usize = 16;
/// Of those for tokens whose last request failed: sixteen requests that get no answer must not stop all others.
const SLOTS_OF_FAILED: usize = SLOTS / 2;
/// One in so many failures after the first is logged; the rest can be seen with more logging.
const LOG_EVERY: u32 = 30;

impl Asking {
    /// Gives a slot away, and says whether it went to one that has failed.
    fn next(&mut self) -> Option<(TokenId, bool)> {
        if self.taken >= SLOTS {
            return None;
        }
        let room = self.taken_by_failed < SLOTS_OF_FAILED;
        // Neither queue makes the other wait for all of it.
        let turn = self.taken_by_failed * 2 < self.taken || self.fresh.is_empty();
        let failed = if room && turn { self.failed.pop_front() } else { None };
        let given = match failed {
            Some(id) => (id, true),
            None => (self.fresh.pop_front()?, false),
        };
        self.taken += 1;
        self.taken_by_failed += usize::from(given.1);
        Some(given)
    }

    fn give_back(&mut self, failed: bool) {
        self.taken -= 1;
        self.taken_by_failed -= usize::from(failed);
    }
}

impl Projector {
    /// Puts a token on the agenda anew.
    pub(super) fn schedule(&mut self, id: TokenId) {
        let now = self.now();
        let Some(token) = self.roster.token(id) else { return };
        token.turn += 1;
        let (at, turn) = (token.next(now), token.turn);
        self.agenda.put(at, Task::Token(id, turn));
    }

    /// A token is of no use any more: another, at once.
    pub(super) fn renew(&mut self, id: TokenId, now: OffsetDateTime) {
        let Some(token) = self.roster.token(id) else { return };
        token.renew(now);
        self.schedule(id);
    }

    pub(super) fn token_due(&mut self, id: TokenId, turn: u64) {
        let monotonic = self.ports.clock.monotonic();
        let Some(token) = self.roster.token(id) else { return };
        if token.turn != turn || token.is_asked_for() {
            return;
        }
        token.ask(monotonic);
        let failed = token.failure.is_some();
        let queue = if failed { &mut self.asking.failed } else { &mut self.asking.fresh };
        queue.push_back(id);
        self.plan_alarm(id.pod, id.volume);
    }

    pub(super) fn start_asking(&mut self) {
        while let Some((id, failed_before)) = self.asking.next() {
            let now = self.now();
            let Some(spec) = self.roster.get(id.pod).and_then(|pod| pod.spec(id)) else {
                // The pod went while it waited.
                self.asking.give_back(failed_before);
                continue;
            };
            let api = self.ports.api.clone();
            let request = async move {
                let reply = within(DEADLINE, api.token(&spec)).await;
                Done::Asked(Asked { id, failed_before, at: now, reply })
            };
            self.under_way.work.push(request.boxed());
        }
    }

    pub(super) fn answered(&mut self, asked: Asked) {
        let Asked { id, failed_before, at, reply } = asked;
        self.asking.give_back(failed_before);
        let (now, policy) = (self.now(), self.ports.policy);
        let gone = matches!(reply.as_ref().err().and_then(ApiError::code), Some(404 | 409));
        let reason = reply.as_ref().err().map(reason);
        let Some(pod) = self.roster.get_mut(id.pod) else { return };
        let labels = pod.labels(id);
        let Some(token) = pod.token(id) else { return };
        let answer = token.answered(reply, at, now, &policy, random::fraction());
        let failure = token.failure.clone();
        pod.state_dirty = true;
        // Either there is a token to be written, or a volume has a new reason not to be there.
        if failure.is_none() || !pod.volumes[id.volume].is_there() {
            pod.volumes[id.volume].dirty = true;
        }
        let name = pod.name.clone();
        let FileLabels { namespace, pod: pod_name, volume, path } = &labels;
        match answer {
            Answer::Granted { lease, failed } => {
                self.ports.monitor.granted();
                if let Some(failed) = failed {
                    let seconds = now.since(failed.since).whole_seconds();
                    tracing::info!(
                        namespace,
                        pod = pod_name,
                        volume,
                        path,
                        seconds,
                        failures = failed.count,
                        "the token is refreshed again"
                    );
                }
                self.log_skew(lease);
            }
            Answer::Failed { first } => {
                self.ports.monitor.failed(reason.unwrap_or_else(|| "Nonsense".into()));
                let (cause, failures) = failure.map(|f| (f.message, f.count)).unwrap_or_default();
                if first || failures.is_multiple_of(LOG_EVERY) {
                    tracing::warn!(
                        namespace,
                        pod = pod_name,
                        volume,
                        path,
                        failures,
                        cause,
                        "Couldn't update token"
                    );
                } else {
                    tracing::debug!(
                        namespace,
                        pod = pod_name,
                        volume,
                        path,
                        failures,
                        cause,
                        "Couldn't update token"
                    );
                }
                if gone {
                    self.resolve(&name);
                }
            }
        }
        self.schedule(id);
        self.plan_alarm(id.pod, id.volume);
        self.queue_disk_work(&name);
    }

    /// Puts the next look for an alarm on the agenda, unless there is an earlier one.
    pub(super) fn plan_alarm(&mut self, id: PodId, volume: usize) {
        let now = self.now();
        let Some(v) = self.roster.get_mut(id).and_then(|pod| pod.volumes.get_mut(volume)) else { return };
        let Some(at) = v.alarm_check(now) else { return };
        if v.look_at.is_none_or(|planned| planned > at || planned <= now) {
            v.look_at = Some(at);
            self.agenda.put(at, Task::Alarm(id, volume));
        }
    }

    /// Raises and clears a volume's alarms.
    pub(super) fn look_for_alarm(&mut self, id: PodId, volume: usize) {
        let (now, monotonic) = (self.now(), self.ports.clock.monotonic());
        let Some(pod) = self.roster.get_mut(id) else { return };
        let (name, plan) = (pod.name.clone(), pod.plan.clone());
        let (Some(v), Some(plan)) = (pod.volumes.get_mut(volume), plan.volumes.get(volume)) else { return };
        if v.look_at.is_some_and(|at| at <= now) {
            v.look_at = None;
        }
        let mut changed = false;
        let (namespace, pod_name) = (&name.namespace, &name.name);
        let whole = v.alarming(now);
        if whole != v.alarm {
            v.alarm = whole;
            changed = true;
            let what = format!("{name}/{}", plan.name);
            let cause = v.failure.as_ref().map(|f| f.message.clone()).filter(|_| whole);
            match &cause {
                Some(cause) => {
                    tracing::error!(
                        namespace,
                        pod = pod_name,
                        volume = plan.name,
                        cause,
                        "a volume is missing"
                    );
                }
                None => tracing::info!(namespace, pod = pod_name, volume = plan.name, "the volume is there"),
            }
            self.ports.monitor.alarm(what, cause);
        }
        let volume_failure = v.failure.clone();
        for token in &mut v.tokens {
            let alarming = token.alarming(now, monotonic);
            if alarming == token.alarm {
                continue;
            }
            token.alarm = alarming;
            changed = true;
            let path = token.source.path.to_string();
            let what = format!("{name}/{}/{path}", plan.name);
            if !alarming {
                tracing::info!(namespace, pod = pod_name, volume = plan.name, path, "the token is fresh");
                self.ports.monitor.alarm(what, None);
                continue;
            }
            let cause = token.failure.as_ref().or(volume_failure.as_ref());
            let cause = cause.map_or("there was no answer yet", |f| &f.message);
            if let Some(refused) = token.refusal() {
                let why = format!("the token is refused, {}: {cause}", refused.why);
                tracing::error!(
                    namespace,
                    pod = pod_name,
                    volume = plan.name,
                    path,
                    cause = why,
                    "the token is dead"
                );
                self.ports.monitor.alarm(what, Some(why));
                continue;
            }
            let left = token.on_disk.as_ref().map_or(0, |g| g.expires_at.since(now).whole_seconds());
            tracing::error!(
                namespace,
                pod = pod_name,
                volume = plan.name,
                path,
                seconds_left = left,
                cause,
                "the token is about to expire, or has"
            );
            let expires_at = token.on_disk.as_ref().map(|g| timestamp(g.expires_at)).unwrap_or_default();
            self.ports.monitor.alarm(what, Some(format!("the token expires at {expires_at}: {cause}")));
        }
        if changed {
            pod.state_dirty = true;
            self.queue_disk_work(&name);
        }
        self.plan_alarm(id, volume);
    }

    fn log_skew(&mut self, lease: crate::refresh::Lease) {
        let skewed = lease.skewed();
        if skewed && !self.asking.skewed {
            tracing::warn!(
                seconds = lease.ahead.whole_seconds(),
                "the clock is ahead of the API server's (negative: behind); tokens are timed by their age"
            );
        }
        self.asking.skewed = skewed;
    }
}

/// A failure in a word: `Unreachable`, a `Status`' reason if Kubernetes has it, or its code. A server must not be able to
/// fill the memory with labels.
fn reason(error: &ApiError) -> String {
    const REASONS: [&str; 12] = [
        "BadRequest",
        "Conflict",
        "Forbidden",
        "Gone",
        "InternalError",
        "Invalid",
        "NotFound",
        "ServerTimeout",
        "ServiceUnavailable",
        "Timeout",
        "TooManyRequests",
        "Unauthorized",
    ];
    match error {
        ApiError::Unreachable(_) => "Unreachable".into(),
        ApiError::Status { reason, .. } if REASONS.contains(&reason.as_str()) => reason.clone(),
        ApiError::Status { code, .. } => code.to_string(),
    }
}
