//! When the API server is to ask for the keys again: a pure function of the policy and the time.

use std::time::Duration;

use time::OffsetDateTime;
use tokensmith_core::Moment;
use tokensmith_core::keys::RotationPolicy;

/// A revocation that nobody announced is noticed within this time; tokens that the API server has just taken, it takes for
/// 10 s more.
pub const REVOKED: Duration = Duration::from_secs(300);
/// How long after its time a change is looked for: the rotation task needs a moment.
const AFTER: Duration = Duration::from_secs(2);
/// As often the API server asks again when a fetch has failed; a change that is late is looked for no faster.
const LATE: Duration = Duration::from_secs(10);

/// `refresh_hint_seconds`: after how many seconds the keys are to be fetched again. `next` is when the ring will change
/// next.
///
/// Always above 0, and at most
/// - `publish_before` less twice the `lag` (an old ring, a clock that is ahead), so that a key is fetched before it signs,
///   whenever it was published;
/// - `max_age`: the API server hands the rest of this time on as the `max-age` of its own key set;
/// - [`REVOKED`];
/// - the time until just after `next`.
pub fn refresh_hint(policy: &RotationPolicy, next: Option<OffsetDateTime>, now: OffsetDateTime) -> i64 {
    let longest =
        policy.publish_before.saturating_sub(policy.lag.saturating_mul(2)).min(policy.max_age).min(REVOKED);
    let change =
        next.map(|next| Duration::try_from(next.since(now)).map_or(LATE, |left| left.saturating_add(AFTER)));
    let hint = change.map_or(longest, |change| change.min(longest));
    hint.as_secs().max(1).try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const MINUTE: Duration = Duration::from_secs(60);

    fn policy(max_age: u64, publish_before: u64) -> RotationPolicy {
        RotationPolicy {
            max_age: Duration::from_secs(max_age),
            publish_before: Duration::from_secs(publish_before),
            lag: MINUTE,
            ..RotationPolicy::default()
        }
    }

    fn hint(max_age: u64, publish_before: u64, next: Option<f64>) -> i64 {
        let next = next.map(|seconds| NOW + time::Duration::seconds_f64(seconds));
        refresh_hint(&policy(max_age, publish_before), next, NOW)
    }

    #[test]
    fn the_shortest_bound_counts() {
        assert_eq!(hint(3600, 86400, None), 300, "a revocation is noticed");
        assert_eq!(hint(120, 86400, None), 120, "the key set's max-age");
        assert_eq!(hint(3600, 200, None), 80, "a key is fetched before it signs");
        assert_eq!(hint(3600, 86400, Some(40.0)), 42, "just after the next change");
        assert_eq!(hint(3600, 86400, Some(4000.0)), 300, "a change far ahead");
    }

    #[test]
    fn there_is_always_a_hint_above_zero() {
        assert_eq!(hint(0, 60, None), 1);
        assert_eq!(hint(0, 0, Some(0.0)), 1);
        assert_eq!(hint(3600, 86400, Some(0.2)), 2, "whole seconds");
        assert_eq!(hint(3600, 86400, Some(0.0)), 2, "due now");
        assert_eq!(hint(3600, 86400, Some(-5.0)), 10, "late, or it keeps failing");
        assert_eq!(hint(3600, 125, Some(-5.0)), 5, "late, and little time is left");
    }

    #[test]
    fn no_key_signs_before_it_was_fetched() {
        // A key that is published right after a fetch is fetched at the end of the hint at the latest.
        for max_age in [1, 30, 300, 3600] {
            for publish_before in [121, 150, 361, 3660, 86400] {
                for next in [None, Some(-1.0), Some(1.0), Some(100.0), Some(1e6)] {
                    let hint = u64::try_from(hint(max_age, publish_before, next)).unwrap();
                    assert!(
                        hint + 2 * MINUTE.as_secs() <= publish_before,
                        "{max_age} {publish_before} {next:?}"
                    );
                }
            }
        }
    }
}
