//! How long a token lives (`pkg/registry/core/serviceaccount/storage/token.go`).

/// What admission asks for in the volume that it adds: 60 · 60 + 7 seconds. The odd number marks such tokens.
const MARKED: i64 = 3607;
/// How long a marked token lives, so that clients that read their file once keep working: 365 days.
const EXTENDED: i64 = 365 * 24 * 3600;

/// A token's times, relative to when it is issued, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// What the reply says.
    pub in_reply: i64,
    /// What the token says.
    pub in_token: i64,
    /// `warnafter`
    pub warn_after: Option<i64>,
}

/// Works out a lifetime. `max` is `--service-account-max-token-expiration`, which binds what is asked for; `profile_max` is
/// the profile's, which binds an extended life too. `extendable` is whether the flag is on, the token is a pod's, and all
/// its audiences are the API server's: only then may it be extended, since other parties must not get tokens that live
/// longer than was asked.
pub(super) fn lifetime(asked: i64, max: Option<i64>, profile_max: Option<i64>, extendable: bool) -> Lifetime {
    let in_reply = [max, profile_max].into_iter().flatten().fold(asked, i64::min);
    let extended = profile_max.map_or(EXTENDED, |max| max.min(EXTENDED));
    match extendable && in_reply == MARKED && extended > in_reply {
        true => Lifetime { in_reply, in_token: extended, warn_after: Some(MARKED) },
        false => Lifetime { in_reply, in_token: in_reply, warn_after: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_tokens_are_extended() {
        let plain = |in_reply| Lifetime { in_reply, in_token: in_reply, warn_after: None };
        let extended = Lifetime { in_reply: 3607, in_token: 31_536_000, warn_after: Some(3607) };
        for (asked, max, extendable, want) in [
            (3607, None, true, extended),
            (3607, None, false, plain(3607)),
            (3606, None, true, plain(3606)),
            (3608, None, true, plain(3608)),
            (7200, Some(3607), true, extended),
            (3607, Some(3600), true, plain(3600)),
            (3607, Some(7200), true, extended),
            (600, Some(3600), true, plain(600)),
        ] {
            assert_eq!(lifetime(asked, max, None, extendable), want, "{asked} {max:?} {extendable}");
        }
    }

    #[test]
    fn a_profiles_maximum_binds_extended_tokens_too() {
        let plain = |in_reply| Lifetime { in_reply, in_token: in_reply, warn_after: None };
        let until = |in_token| Lifetime { in_reply: 3607, in_token, warn_after: Some(3607) };
        for (asked, max, profile, extendable, want) in [
            (3607, None, 7200, true, until(7200)),
            (3607, None, 40_000_000, true, until(EXTENDED)),
            (3607, None, 3607, true, plain(3607)),
            (3607, None, 1800, true, plain(1800)),
            (3607, None, 7200, false, plain(3607)),
            (9000, Some(8000), 7200, false, plain(7200)),
            (9000, Some(3600), 7200, true, plain(3600)),
        ] {
            assert_eq!(lifetime(asked, max, Some(profile), extendable), want, "{asked} {max:?} {profile}");
        }
    }
}
