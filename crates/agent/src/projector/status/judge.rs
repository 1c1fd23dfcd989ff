//! How each token and volume of a state stands at a moment, and what of it needs someone: pure.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use tokensmith_core::Moment;

use super::text::span;
use super::{Alarm, Condition, PodStatus, Status, TokenStatus, VolumeStatus};
use crate::projector::checks_file::{ChecksFile, SeenReviews};
use crate::projector::ids::PodName;
use crate::projector::state::{Grant, State, TokenState, VolumeState};
use crate::projector::token::GRACE;
use crate::refresh::FIRST_TOKEN_ALARM;

/// What was seen longer ago says nothing of now. The agent writes down twice a minute what it sees.
const CHECKED: time::Duration = time::Duration::minutes(3);

/// How long a token that may be reviewed counts as known while its key is published. `None` where none may be: then its key
/// is all that there is to look at. A token of the middle of a round is reviewed in the next one.
fn reviewed_within(reviews: &SeenReviews) -> Option<time::Duration> {
    reviews.at?;
    // What is written down may be a minute older than what was seen.
    let rounds =
        i64::try_from(reviews.round_seconds).unwrap_or(i64::MAX).saturating_mul(2).saturating_add(60);
    Some(time::Duration::seconds(rounds).max(CHECKED))
}

impl Status {
    /// Takes a pod in as its state tells of it, with what of it needs someone.
    pub(super) fn judge(&mut self, pod: &PodName, state: &State) {
        let now = self.now;
        let mut volumes = Vec::new();
        for (name, volume) in &state.volumes {
            let checks = &self.checks;
            let tokens = volume
                .tokens
                .iter()
                .map(|(path, token)| TokenStatus::new(path, token, &volume.tokens, checks, now))
                .collect();
            volumes.push(VolumeStatus {
                name: name.clone(),
                written: volume.written,
                failure: volume.failure.clone(),
                tokens,
            });
            self.alarms.extend(volume_alarm(volume, now).map(|message| Alarm {
                namespace: pod.namespace.clone(),
                pod: pod.name.clone(),
                volume: Some(name.clone()),
                path: None,
                message,
            }));
            let tokens = volume.tokens.iter();
            self.alarms.extend(tokens.filter_map(|(path, token)| {
                Some(Alarm {
                    namespace: pod.namespace.clone(),
                    pod: pod.name.clone(),
                    volume: Some(name.clone()),
                    path: Some(path.clone()),
                    message: token_alarm(token, &volume.tokens, &self.checks, now)?,
                })
            }));
        }
        self.pods.push(PodStatus {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: state.pod_uid.clone(),
            updated: Some(state.updated),
            error: None,
            volumes,
        });
    }
}

impl TokenStatus {
    fn new(
        path: &str,
        token: &TokenState,
        others: &BTreeMap<String, TokenState>,
        checks: &ChecksFile,
        now: OffsetDateTime,
    ) -> Self {
        let grant = token.token.as_ref();
        let seen = grant.map(|grant| Seen::of(token, grant, others, checks, now));
        let condition = match (grant, &seen) {
            (None, _) | (_, None) => Condition::Missing,
            (Some(grant), _) if now >= grant.expires_at => Condition::Expired,
            (_, Some(Seen::Refused { .. })) => Condition::Refused,
            (Some(grant), _) if now >= grant.due => Condition::Due,
            (_, Some(Seen::Good(_))) => Condition::Fresh,
            (_, Some(Seen::Unknown(_))) => Condition::Unchecked,
        };
        let (checked, cause) = match seen {
            Some(Seen::Good(at)) => (at, None),
            Some(Seen::Refused { why, .. } | Seen::Unknown(why)) => (None, Some(why)),
            None => (None, None),
        };
        TokenStatus {
            path: path.into(),
            audience: token.audience.clone(),
            exchanged_from: token.exchange.as_ref().map(|exchange| exchange.from.clone()),
            condition,
            expires_at: grant.map(|g| g.expires_at),
            expires_in_seconds: grant.map(|g| g.expires_at.since(now).whole_seconds()),
            refresh_at: grant.map(|g| g.due),
            failure: token.failure.clone(),
            checked,
            cause,
        }
    }
}

/// What is known of a token before its time is over.
enum Seen {
    /// It was not refused then; `None` where nothing could refuse it.
    Good(Option<OffsetDateTime>),
    /// It is refused, since then at least.
    Refused { since: OffsetDateTime, why: String },
    /// Why nobody knows.
    Unknown(String),
}

impl Seen {
    /// `others` are the volume's tokens.
    fn of(
        token: &TokenState,
        grant: &Grant,
        others: &BTreeMap<String, TokenState>,
        checks: &ChecksFile,
        now: OffsetDateTime,
    ) -> Self {
        let Some(exchange) = &token.exchange else { return Seen::of_own(token, grant, checks, now) };
        let subject = others.get(&exchange.from).filter(|subject| subject.exchange.is_none());
        let given = subject.and_then(|subject| Some((subject, subject.token.as_ref()?)));
        match given.map(|(subject, grant)| Seen::of_own(subject, grant, checks, now)) {
            Some(Seen::Refused { why, .. }) => {
                Seen::Unknown(format!("the token that it was exchanged for is refused: {why}"))
            }
            Some(seen) => seen,
            None => Seen::Unknown("the token that it was exchanged for is not there".into()),
        }
    }

    /// Of one that the API server has issued.
    fn of_own(token: &TokenState, grant: &Grant, checks: &ChecksFile, now: OffsetDateTime) -> Self {
        if let Some(refused) = token.refused.as_ref().filter(|refused| refused.sha256 == grant.sha256) {
            return Seen::Refused { since: refused.since, why: refused.why.clone() };
        }
        let keys = &checks.keys;
        let kid = grant.kid.as_deref();
        // Its issue was the server's word as well. Where the server may be asked, its key alone does not speak for a token: that
        // one may be revoked.
        let heard = token.reviewed.map_or(grant.issued_at, |at| at.max(grant.issued_at));
        let unheard = reviewed_within(&checks.reviews).is_some_and(|limit| now.since(heard).abs() > limit);
        // The server has no keys to look at.
        if keys.none && !unheard {
            return Seen::Good(None);
        }
        let recent = |at: Option<OffsetDateTime>| at.filter(|at| now.since(*at).abs() <= CHECKED);
        let in_set = kid.filter(|kid| !kid.is_empty()).map(|kid| keys.kids.contains(kid));
        if let (Some(false), Some(at)) = (in_set, keys.at)
            && grant.issued_at.plus(time::Duration::seconds(2)) < at
        {
            let kid = kid.unwrap_or_default();
            let why = format!("the key {kid:?} that signed it is no longer in the issuer's key set");
            return Seen::Refused { since: at, why };
        }
        let by_key = recent(keys.at).filter(|_| in_set == Some(true) && !unheard);
        let by_review = recent(token.reviewed);
        if let Some(at) = by_key.max(by_review) {
            return Seen::Good(Some(at));
        }
        if unheard && (keys.none || recent(keys.at).is_some()) {
            let since = span(now.since(heard).whole_seconds());
            return Seen::Unknown(format!("the API server has not been asked about the token for {since}"));
        }
        Seen::Unknown(match (&keys.error, keys.at, in_set) {
            (Some(error), _, _) => format!("the issuer's key set cannot be read: {error}"),
            (_, None, _) => "no agent has looked at the issuer's key set".into(),
            (_, Some(at), _) if recent(Some(at)).is_none() => {
                format!(
                    "nobody has looked at the issuer's key set for {}",
                    span(now.since(at).whole_seconds())
                )
            }
            (_, _, None) => "the token names no key".into(),
            _ => "the issuer's key set has not been looked at since it was issued".into(),
        })
    }
}

fn volume_alarm(volume: &VolumeState, now: OffsetDateTime) -> Option<String> {
    let failure = volume.failure.as_ref().filter(|_| !volume.written)?;
    (now.since(failure.since) >= FIRST_TOKEN_ALARM).then(|| failure.message.clone())
}

fn token_alarm(
    token: &TokenState,
    others: &BTreeMap<String, TokenState>,
    checks: &ChecksFile,
    now: OffsetDateTime,
) -> Option<String> {
    let grant = token.token.as_ref()?;
    // An agent that is alive replaces it within seconds.
    if let Seen::Refused { since, why } = Seen::of(token, grant, others, checks, now)
        && now.since(since) >= GRACE
        && now < grant.expires_at
    {
        let cause = token.failure.as_ref().map_or("nobody replaces it", |f| &f.message);
        return Some(format!("the token is refused, {why}: {cause}"));
    }
    if !token.alarm && now < grant.alarm_at {
        return None;
    }
    let cause = token.failure.as_ref().map_or("nobody refreshes it", |f| &f.message);
    let left = grant.expires_at.since(now).whole_seconds();
    Some(match left {
        1.. => format!("expires in {}: {cause}", span(left)),
        _ => format!("token expired {} ago and refresh failed: {cause}", span(left)),
    })
}
