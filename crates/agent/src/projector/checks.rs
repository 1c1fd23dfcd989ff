//! Whether the tokens on disk are still taken: a key may be revoked, a token, its account or its node may be gone, long
//! before the token would expire.
//!
//! ```text
//! key set (one small request every ten seconds for all)  ─┐
//!                                                         ├─► refused ─► renew, state, metric, alarm
//! reviews (a round of all in a minute, if permitted)     ─┘
//! ```
//!
//! Promises: what cannot be asked takes no token away; who is not answered is asked less and less; a server whose new
//! tokens are refused as well is not asked for more and more of them; a server is asked for five reviews a second at most,
//! however many tokens there are. What was last seen stands in `.checks.json` below
//! the root, so that `project status` calls nothing fresh that nobody has checked.
//!
//! Tokens that others were exchanged for are not looked at: no API server takes them (RFC 9068 has them say so), and their keys
//! may be another issuer's. They are replaced with those that they are made of, which are.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures::FutureExt;
use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::random;

use super::DEADLINE;
use super::checks_file::{ChecksFile, SeenKeys, SeenReviews};
use super::ids::{PodId, Task, TokenId};
use super::job::blocking;
use super::{Done, Projector};
use crate::api::{ApiError, KeySet, Review, short_line, within};
use crate::refresh::{IssuerKeys, LONGEST_WAIT, doubled, spread};

/// How the tokens are checked.
#[derive(Debug, Default)]
pub(super) struct Checks {
    keys: IssuerKeys,
    reviews: Reviews,
    file: ChecksFile,
    writing_file: bool,
}

#[derive(Debug, Default)]
struct Reviews {
    /// What is left of this round.
    queue: VecDeque<TokenId>,
    /// With how many it began.
    tokens: u32,
    /// What may have been refused with another, before all others.
    suspects: VecDeque<TokenId>,
    failures: u32,
    state: SeenReviews,
}

/// What came of a request.
pub(super) enum Checked {
    Keys { asked: OffsetDateTime, result: Result<KeySet, ApiError> },
    FileWritten,
    Review { id: TokenId, sha256: String, result: Result<Review, ApiError> },
}

/// How often a token is reviewed, whichever's turn it is: so that all have been within this time,
const ROUND: Duration = Duration::from_secs(60);
/// no more often than this,
const REVIEW: Duration = Duration::from_secs(5);
/// and no less than this, which is also the pace while there is reason to think that more are dead.
const SUSPECT: Duration = Duration::from_millis(200);
/// How old the note may become while nothing changes.
const NOTE: time::Duration = time::Duration::seconds(30);

impl Checks {
    /// The wall clock went back.
    pub(super) fn move_back(&mut self, by: Duration) {
        self.keys.move_back(by);
        self.reviews.state.at = self.reviews.state.at.map(|at| at.minus(by));
    }
}

impl Projector {
    /// Asks for the key set.
    pub(super) fn keys_due(&mut self) {
        let (api, asked) = (self.ports.api.clone(), self.now());
        let etag = self.checks.keys.etag.clone();
        let request = async move {
            let result = within(DEADLINE, api.key_set(etag.as_deref())).await;
            Done::Checked(Checked::Keys { asked, result })
        };
        self.under_way.work.push(request.boxed());
    }

    /// Has the next token reviewed.
    pub(super) fn review_due(&mut self) {
        if self.checks.reviews.queue.is_empty() {
            let pods = self.roster.iter().filter(|(_, pod)| pod.loaded);
            let queue: VecDeque<_> = pods.flat_map(|(id, pod)| pod.own_token_ids(id)).collect();
            self.checks.reviews.tokens = u32::try_from(queue.len()).unwrap_or(u32::MAX);
            self.checks.reviews.queue = queue;
        }
        let next = loop {
            let reviews = &mut self.checks.reviews;
            let Some(id) = reviews.suspects.pop_front().or_else(|| reviews.queue.pop_front()) else {
                break None;
            };
            if let Some(found) = self.reviewable(id) {
                break Some((id, found));
            }
        };
        let Some((id, (secret, sha256, audience))) = next else {
            self.agenda.put(self.now().plus(spread(REVIEW, random::fraction())), Task::Review);
            return;
        };
        let api = self.ports.api.clone();
        let request = async move {
            let audiences: Vec<String> = audience.into_iter().collect();
            let result = within(DEADLINE, api.review(&secret, &audiences)).await;
            Done::Checked(Checked::Review { id, sha256, result })
        };
        self.under_way.work.push(request.boxed());
    }

    /// What there is to review of a token: not one that is being replaced anyway.
    fn reviewable(&mut self, id: TokenId) -> Option<(crate::payload::Secret, String, Option<String>)> {
        let now = self.now();
        let token = self.roster.token(id)?;
        let grant = token.grant()?;
        if token.renewal.is_asked_for() || token.is_refused() || now >= grant.expires_at {
            return None;
        }
        Some((token.secret()?.clone(), grant.sha256.clone(), token.source.audience.clone()))
    }

    pub(super) fn checked(&mut self, checked: Checked) {
        match checked {
            Checked::Keys { asked, result } => self.keys_came(asked, result),
            // What has changed meanwhile is written next.
            Checked::FileWritten => self.checks.writing_file = false,
            Checked::Review { id, sha256, result } => self.reviewed(id, &sha256, result),
        }
        self.write_file();
    }

    fn keys_came(&mut self, asked: OffsetDateTime, result: Result<KeySet, ApiError>) {
        let (now, keys) = (self.now(), &mut self.checks.keys);
        keys.answered(result, asked, now);
        if keys.none {
            return;
        }
        self.agenda.put(now.plus(keys.pause(random::fraction())), Task::Keys);
        if keys.failure.is_some() {
            self.ports.monitor.keys_failed();
        } else {
            self.ports.monitor.keys_seen(asked);
            self.compare_keys(None);
        }
    }

    /// A token whose key has left the set is refused by everyone. Looks at one pod's, or at all.
    pub(super) fn compare_keys(&mut self, only: Option<PodId>) {
        let (mut gone, mut good) = (Vec::new(), Vec::new());
        let one = only.and_then(|id| Some((id, self.roster.get(id)?)));
        let all = self.roster.iter().filter(|_| only.is_none());
        for (id, pod) in one.into_iter().chain(all) {
            for token_id in pod.own_token_ids(id) {
                let token = &pod.volumes[token_id.volume].tokens[token_id.token];
                let Some((grant, kid)) = token.grant().and_then(|g| Some((g, g.kid.as_ref()?))) else {
                    continue;
                };
                match self.checks.keys.has(kid, grant.issued_at) {
                    Some(true) => good.push(token_id),
                    Some(false) => gone.push((token_id, kid.clone())),
                    None => {}
                }
            }
        }
        for id in good {
            if let Some(token) = self.roster.token(id) {
                token.key_is_there();
            }
        }
        if let Some((_, kid)) = gone.first() {
            tracing::warn!(
                key.id = kid,
                tokens = gone.len(),
                "a key has left the issuer's key set: the tokens that it has signed are replaced"
            );
        }
        for (id, kid) in gone {
            self.refuse(
                id,
                "key_set",
                format!("the key {kid:?} that signed it is no longer in the issuer's key set"),
            );
        }
    }

    fn reviewed(&mut self, id: TokenId, sha256: &str, result: Result<Review, ApiError>) {
        let now = self.now();
        let (outcome, wait) = match result {
            Ok(Review::Never) => {
                self.checks.reviews.state = SeenReviews::default();
                return;
            }
            Ok(Review::Accepted) => {
                self.review_accepted(id, sha256, now);
                ("accepted", None)
            }
            Ok(Review::Refused(why)) => {
                self.review_refused(id, sha256, &why);
                ("refused", None)
            }
            Err(error) => ("failed", Some(error)),
        };
        self.ports.monitor.reviewed(outcome);
        let reviews = &mut self.checks.reviews;
        let wait = match wait {
            None => {
                reviews.failures = 0;
                let round_seconds = pace(reviews.tokens).saturating_mul(reviews.tokens).as_secs();
                reviews.state = SeenReviews { at: Some(now), round_seconds, error: None };
                if reviews.suspects.is_empty() {
                    spread(pace(reviews.tokens), random::fraction())
                } else {
                    SUSPECT
                }
            }
            Some(error) => {
                reviews.failures = reviews.failures.saturating_add(1);
                let cause = short_line(&error.to_string());
                if reviews.failures == 1 {
                    tracing::debug!(cause, "tokens cannot be reviewed");
                }
                reviews.state.error = Some(cause);
                // Who may not ask, or has nobody to ask, expects no review of any token.
                if matches!(error.code(), Some(403 | 404)) {
                    reviews.state.at = None;
                }
                // Its turn comes again; a right that is missing will not be there in a moment.
                match error.code() {
                    Some(401 | 403 | 404) => spread(LONGEST_WAIT, random::fraction()),
                    _ => spread(doubled(REVIEW, reviews.failures), random::fraction()),
                }
            }
        };
        self.agenda.put(now.plus(wait), Task::Review);
    }

    fn review_accepted(&mut self, id: TokenId, sha256: &str, now: OffsetDateTime) {
        let Some(pod) = self.roster.get_mut(id.pod) else { return };
        let Some(token) = pod.token(id).filter(|t| t.grant().is_some_and(|g| g.sha256 == sha256)) else {
            return;
        };
        if token.reviewed(now) {
            pod.state_dirty = true;
            let name = pod.name.clone();
            self.queue_disk_work(&name);
        }
    }

    /// Not only this one may be dead: its account's others, and those of its key, are looked at before all others.
    fn review_refused(&mut self, id: TokenId, sha256: &str, why: &str) {
        let Some(pod) = self.roster.get_mut(id.pod) else { return };
        let (namespace, account) = (pod.plan.namespace.clone(), pod.plan.account.clone());
        let Some(token) = pod.token(id).filter(|t| t.grant().is_some_and(|g| g.sha256 == sha256)) else {
            return;
        };
        let kid = token.grant().and_then(|grant| grant.kid.clone());
        let mut others: Vec<TokenId> = Vec::new();
        for (pod_id, pod) in self.roster.iter() {
            let same_account = pod.plan.namespace == namespace && pod.plan.account == account;
            others.extend(pod.own_token_ids(pod_id).into_iter().filter(|other| {
                let token = &pod.volumes[other.volume].tokens[other.token];
                let same_key = kid.as_ref().is_some_and(|kid| !kid.is_empty())
                    && token.grant().is_some_and(|grant| grant.kid == kid);
                *other != id
                    && !token.is_refused()
                    && (same_account || (same_key && self.checks.keys.kids.is_none()))
            }));
        }
        let known: BTreeSet<TokenId> = self.checks.reviews.suspects.iter().copied().collect();
        self.checks.reviews.suspects.extend(others.into_iter().filter(|other| !known.contains(other)));
        self.refuse(id, "review", format!("the API server refuses it: {}", short_line(why)));
    }

    /// A token is dead. Another at once; where the last one was dead as well, after a while.
    fn refuse(&mut self, id: TokenId, by: &'static str, why: String) {
        let now = self.now();
        let Some(pod) = self.roster.get_mut(id.pod) else { return };
        let labels = pod.labels(id);
        let Some(token) = pod.token(id) else { return };
        let Some(at) = token.refuse(now, why.clone()) else { return };
        pod.state_dirty = true;
        let name = pod.name.clone();
        self.ports.monitor.refused(by);
        tracing::warn!(
            namespace = labels.namespace,
            pod = labels.pod,
            volume = labels.volume,
            path = labels.path,
            cause = why,
            "the token is refused: another is asked for"
        );
        if at <= now {
            self.renew(id, now);
        } else {
            self.schedule(id);
        }
        self.plan_alarm(id.pod, id.volume);
        self.queue_disk_work(&name);
    }

    /// Writes down what was seen, when it differs or is old.
    pub(super) fn write_file(&mut self) {
        let checks = &mut self.checks;
        let keys = SeenKeys {
            at: checks.keys.seen,
            kids: checks.keys.kids.clone().unwrap_or_default(),
            none: checks.keys.none,
            error: checks.keys.failure.as_ref().map(|failure| failure.message.clone()),
        };
        let manifest = self.members.trouble().map(short_line);
        let new = ChecksFile { keys, reviews: checks.reviews.state.clone(), manifest };
        if checks.writing_file || new.is_as_good_as(&checks.file, NOTE) {
            return;
        }
        (checks.writing_file, checks.file) = (true, new.clone());
        let files = self.ports.files.clone();
        self.under_way.work.push(blocking(move || {
            if let Err(error) = files.write_checks(&new.bytes()) {
                let cause = short_line(&error.to_string());
                tracing::debug!(cause, "what was checked cannot be written down");
            }
            Done::Checked(Checked::FileWritten)
        }));
    }
}

/// How long it is from one review to the next, with so many tokens.
fn pace(tokens: u32) -> Duration {
    ROUND.checked_div(tokens).unwrap_or(ROUND).clamp(SUSPECT, REVIEW)
}
