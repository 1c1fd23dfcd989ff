//! How long a token lives (`pkg/registry/core/serviceaccount/storage/token.go`).

/// What admission asks for in the volume that it adds: 60 · 60 + 7 seconds. The odd number marks such tokens.
const MARKED: i64 = 3607;
/// How long a marked token lives, so that clients that read their file once keep working: 365 days.
const EXTENDED: i64 = 365 * 24 * 3600;

/// A token's times, relative to when it is issued, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// What the reply says.
    pub told: i64,
    /// What the token says.
    pub real: i64,
    /// `warnafter`
    pub warn_after: Option<i64>,
}

/// Works out a lifetime. `max` is `--service-account-max-token-expiration`; `extendable` is whether the flag is on, the
/// token is a pod's, and all its audiences are the API server's: only then may it be extended, since other parties
/// must not get tokens that live longer than was asked.
pub(super) fn lifetime(asked: i64, max: Option<i64>, extendable: bool) -> Lifetime {
    let told = max.map_or(asked, |max| asked.min(max));
    match extendable && told == MARKED {
        true => Lifetime { told, real: EXTENDED, warn_after: Some(MARKED) },
        false => Lifetime { told, real: told, warn_after: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_tokens_are_extended() {
        let plain = |told| Lifetime { told, real: told, warn_after: None };
        let extended = Lifetime { told: 3607, real: 31_536_000, warn_after: Some(3607) };
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
            assert_eq!(lifetime(asked, max, extendable), want, "{asked} {max:?} {extendable}");
        }
    }
}
