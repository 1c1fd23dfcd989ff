//! Tokens: one is due, is asked for, is answered. (The agenda and the requests are `refresh::Refresher`'s.)
//!
//! One that another is exchanged for is asked for as all others are, of the token endpoint instead of the API server: as soon as
//! that other one is there, and anew whenever it was replaced.

use futures::FutureExt;
use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::ids::TokenId;
use super::monitor::FileLabels;
use super::volume::Pod;
use super::{Ports, Projector};
use crate::api::ApiError;
use crate::refresh::{Asked, Failure, TokenAsk};

impl Projector {
    /// Puts a token on the agenda anew.
    pub(super) fn schedule(&mut self, id: TokenId) {
        if let Some(token) = self.roster.token(id) {
            self.refresher.schedule(id, &token.renewal);
        }
    }

    /// A token is of no use any more: another, at once.
    pub(super) fn renew(&mut self, id: TokenId, now: OffsetDateTime) {
        let Some(token) = self.roster.token(id) else { return };
        token.renew(now);
        self.schedule(id);
    }

    pub(super) fn token_due(&mut self, id: TokenId, now: OffsetDateTime) {
        let Some(pod) = self.roster.get_mut(id.pod) else { return };
        let begins = is_of_use(pod, id);
        let subject = pod.subject_id(id).and_then(|id| Some(pod.token(id)?.grant()?.sha256.clone()));
        let Some(token) = pod.token(id) else { return };
        if !begins {
            // It is asked for with the answer that brings the other one.
            if token.renewal.is_due(now) {
                token.trying.get_or_insert(self.ports.clock.monotonic());
                self.plan_alarm(id.pod, id.volume);
            }
        } else if self.refresher.ask(id, &mut token.renewal, now) {
            token.asking_of = subject;
            token.trying.get_or_insert(self.ports.clock.monotonic());
            self.plan_alarm(id.pod, id.volume);
        }
    }

    pub(super) fn start_asking(&mut self) {
        // A pod may go while it waits.
        self.refresher.start(|id| self.ports.ask(self.roster.get(id.pod)?, *id));
    }

    pub(super) fn answered(&mut self, asked: Asked<TokenId>) {
        let (id, now) = (asked.key, self.now());
        let Some(kept) = self.roster.get_mut(id.pod) else { return };
        let labels = kept.labels(id);
        let Some(token) = kept.token(id) else { return };
        let before = token.renewal.failure().map(|failure| failure.message.clone());
        let answer = self.refresher.answered(asked, &mut token.renewal);
        let FileLabels { namespace, pod, volume, path } = &labels;
        let (mut gone, exchanged) = (false, token.is_exchanged());
        match answer {
            Ok(mut granted) => {
                self.ports.monitor.granted(exchanged);
                if let Some(failed) = granted.failed.take() {
                    let (seconds, failures) = (now.since(failed.since).whole_seconds(), failed.count);
                    tracing::info!(
                        namespace,
                        pod,
                        volume,
                        path,
                        seconds,
                        failures,
                        "the token is refreshed again"
                    );
                }
                token.hold(granted);
                kept.settle_exchange(id);
            }
            Err(error) => {
                self.ports.monitor.failed(exchanged, error.reason());
                // An endpoint's words say nothing of the pod.
                gone = !exchanged && error.says_gone();
                if let Some(failure) = token.renewal.failure() {
                    log_failure(failure, before.as_deref(), &labels);
                }
            }
        }
        let failed = kept.token(id).is_some_and(|token| token.renewal.failure().is_some());
        let others = if failed { Vec::new() } else { kept.made_of(id) };
        kept.state_dirty = true;
        // Either there is a token to be written, or a volume has a new reason not to be there.
        if !failed || !kept.volumes[id.volume].is_there() {
            kept.volumes[id.volume].dirty = true;
        }
        let name = kept.name.clone();
        if gone {
            self.resolve(&name);
        }
        self.schedule(id);
        for other in others {
            self.renew(other, now);
        }
        self.plan_alarm(id.pod, id.volume);
        self.queue_disk_work(&name);
    }
}

impl Ports {
    /// The request for a token; `None` if nobody wants it any more.
    fn ask(&self, pod: &Pod, id: TokenId) -> Option<TokenAsk> {
        if !pod.volumes.get(id.volume)?.tokens.get(id.token)?.is_exchanged() {
            let (api, spec) = (self.api.clone(), pod.spec(id)?);
            return Some(async move { api.token(&spec).await }.boxed());
        }
        let given = pod.exchange(id);
        let exchanger = self.exchanger.clone();
        Some(
            async move {
                let nowhere = |message: &str| ApiError::Status {
                    code: 400,
                    reason: String::new(),
                    message: message.to_owned(),
                    retry_after: None,
                };
                let exchanger = exchanger.ok_or_else(|| {
                    nowhere("no token endpoint was named to this agent: start it with --exchange URL")
                })?;
                let (subject, spec) = given.ok_or_else(|| nowhere("there is no token to exchange"))?;
                exchanger.exchange(&subject, &spec).await
            }
            .boxed(),
        )
    }
}

/// Whether a token can be asked for with any use: an exchange needs the token that it is made of, and brings nothing before
/// there is another one if what it brought ends with that one.
fn is_of_use(pod: &Pod, id: TokenId) -> bool {
    let Some(subject) = pod.subject_id(id) else { return true };
    let Some(volume) = pod.volumes.get(id.volume) else { return true };
    let (Some(own), Some(subject)) = (volume.tokens.get(id.token), volume.tokens.get(subject.token)) else {
        return true;
    };
    match subject.grant() {
        None => false,
        Some(grant) => !own.is_made_of(grant) || !own.ends_with(grant),
    }
}

fn log_failure(failure: &Failure, before: Option<&str>, labels: &FileLabels) {
    let FileLabels { namespace, pod, volume, path } = labels;
    let Failure { count: failures, message: cause, .. } = failure;
    if failure.is_news(before) {
        tracing::warn!(namespace, pod, volume, path, failures, cause, "Couldn't update token");
    } else {
        tracing::debug!(namespace, pod, volume, path, failures, cause, "Couldn't update token");
    }
}
