//! Tokens: one is due, is asked for, is answered. (The agenda and the requests are `refresh::Refresher`'s.)

use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::Projector;
use super::ids::TokenId;
use super::monitor::FileLabels;
use crate::refresh::{Asked, Failure};

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
        let Some(token) = self.roster.token(id) else { return };
        if self.refresher.ask(id, &mut token.renewal, now) {
            token.trying.get_or_insert(self.ports.clock.monotonic());
            self.plan_alarm(id.pod, id.volume);
        }
    }

    pub(super) fn start_asking(&mut self) {
        // A pod may go while it waits.
        self.refresher.start(|id| self.roster.get(id.pod)?.spec(*id));
    }

    pub(super) fn answered(&mut self, asked: Asked<TokenId>) {
        let (id, now) = (asked.key, self.now());
        let Some(kept) = self.roster.get_mut(id.pod) else { return };
        let labels = kept.labels(id);
        let Some(token) = kept.token(id) else { return };
        let before = token.renewal.failure().map(|failure| failure.message.clone());
        let answer = self.refresher.answered(asked, &mut token.renewal);
        let FileLabels { namespace, pod, volume, path } = &labels;
        let mut gone = false;
        match answer {
            Ok(mut granted) => {
                self.ports.monitor.granted();
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
            }
            Err(error) => {
                self.ports.monitor.failed(error.reason());
                gone = error.says_gone();
                if let Some(failure) = token.renewal.failure() {
                    log_failure(failure, before.as_deref(), &labels);
                }
            }
        }
        let failed = token.renewal.failure().is_some();
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
        self.plan_alarm(id.pod, id.volume);
        self.queue_disk_work(&name);
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
