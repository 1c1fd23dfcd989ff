//! What a service gave, until it is nearly over. One question at a time for what is the same, however many ask.

use std::future::Future;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::sync::Cache as Quick;
use serde_json::Value;
use tokensmith_core::Clock;

use super::{Asked, IssuedToken, UpstreamError};
use crate::subject::{Kind, Subject};

/// How many are kept of each rule: some kilobytes each.
const ENTRIES: usize = 4096;
/// What is over so soon is asked for again.
const MARGIN: Duration = Duration::from_secs(300);
/// A failure counts so long, for those who waited for it and for who asks at once again.
const FAILURE: Duration = Duration::from_secs(1);
/// But nothing is asked for again before so much of its life is over.
const SHORTEST: f64 = 0.5;

pub(super) struct Cache(Quick<Key, Kept>);

/// Who has asked, bound to what, and for what. A hash, since a token is no key to keep.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

#[derive(Clone)]
struct Kept {
    outcome: Result<IssuedToken, UpstreamError>,
    /// By both clocks: one may be set back, the other stands still while the machine sleeps.
    got: Duration,
    got_unix: i64,
    /// How long it is given out.
    usable: Duration,
}

impl Key {
    /// Of an account's token all that it says counts but its own times and name, so that the next one of the same pod
    /// finds what this one got. Of another issuer's nobody here knows what it is bound to: the token itself counts.
    pub(super) fn of(token: &str, subject: &Subject, asked: &Asked<'_>) -> Key {
        let mut hash = Context::new(&SHA256);
        let mut add = |part: &str| {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        };
        match subject.kind {
            Kind::Account { .. } => {
                let mut claims = subject.claims.clone();
                for own in ["exp", "iat", "jti", "nbf"] {
                    claims.remove(own);
                }
                if let Some(Value::Object(private)) = claims.get_mut("kubernetes.io") {
                    private.remove("warnafter");
                }
                add(&Value::Object(claims).to_string());
            }
            Kind::Exchanged | Kind::Issuer => add(token),
        }
        for list in [asked.audiences, asked.resources, asked.scopes] {
            add(&list.len().to_string());
            list.iter().for_each(|item| add(item));
        }
        let mut key = [0; 32];
        key.copy_from_slice(hash.finish().as_ref());
        Key(key)
    }
}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache(Quick::new(ENTRIES))
    }

    /// What is kept, else what `asking` brings; those who come meanwhile wait for it.
    pub(super) async fn get_or(
        &self,
        key: Key,
        clock: &dyn Clock,
        asking: impl Future<Output = Result<IssuedToken, UpstreamError>>,
    ) -> Result<IssuedToken, UpstreamError> {
        if let Some(kept) = self.0.get(&key) {
            match kept.left(clock) {
                Some(outcome) => return outcome,
                None => drop(self.0.remove_if(&key, |kept| kept.left(clock).is_none())),
            }
        }
        let guard = match self.0.get_value_or_guard_async(&key).await {
            Ok(kept) => match kept.left(clock) {
                Some(outcome) => return outcome,
                None => return asking.await,
            },
            Err(guard) => guard,
        };
        let (got, got_unix) = (clock.monotonic(), clock.unix());
        let outcome = asking.await;
        let usable = match &outcome {
            Ok(token) => token.expires_in.and_then(|seconds| u64::try_from(seconds).ok()).map(|seconds| {
                let life = Duration::from_secs(seconds);
                life.saturating_sub(MARGIN).max(life.mul_f64(SHORTEST))
            }),
            Err(_) => Some(FAILURE),
        };
        if let Some(usable) = usable {
            // What could not be put has been replaced meanwhile.
            let _ = guard.insert(Kept { outcome: outcome.clone(), got, got_unix, usable });
        }
        outcome
    }
}

impl Kept {
    /// With the seconds that are left of it, if it is given out still.
    fn left(&self, clock: &dyn Clock) -> Option<Result<IssuedToken, UpstreamError>> {
        let passed = clock.monotonic().saturating_sub(self.got);
        let by_wall = u64::try_from(clock.unix().saturating_sub(self.got_unix)).unwrap_or(0);
        let passed = passed.max(Duration::from_secs(by_wall));
        if passed >= self.usable {
            return None;
        }
        let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        let left = |token: IssuedToken| IssuedToken {
            expires_in: token.expires_in.map(|life| life.saturating_sub(seconds)),
            ..token
        };
        Some(self.outcome.clone().map(left))
    }
}
