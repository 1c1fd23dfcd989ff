//! How verifiers elsewhere come to know that a key has come or gone: data, measured on the real ones, and what follows
//! from it for an operator. Answers and documents tell what this table says, so that they cannot promise more.
//!
//! A key set's `max-age` binds few of them: what counts is whether a verifier forgets a key that it *knows*, and when it
//! asks again for one that it does *not* know.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use super::RotationPolicy;
use super::command::when;
use super::policy::later;

/// Verifiers of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Who they are.
    pub name: &'static str,
    /// When they forget a key that they know, if nobody shows them an unknown one.
    pub forgets: Forgets,
    /// When a `kid` that they do not know makes them ask.
    pub asks: Asks,
    /// For how long they go on with a token that they have taken, whatever has become of its key.
    pub remembers: Duration,
}

/// When a verifier forgets a key that it knows and that is published no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgets {
    /// It asks the issuer about each token.
    AtOnce,
    /// After this time at the latest.
    After(Duration),
    /// After this time at the latest, and no sooner for an unknown `kid`: it keeps each key by itself.
    EachAfter(Duration),
    /// After the `max-age` of the key set.
    AfterMaxAge,
    /// When it meets an unknown `kid` or starts anew; however much time passes.
    AtUnknownKid,
    /// When its program fetches the key set again.
    WhenFetched,
}

/// When a `kid` that a verifier does not know makes it ask for the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// Unless it has asked within this time.
    AfterCoolDown(Duration),
    /// Once the `max-age` of what it has is over.
    AfterMaxAge,
    /// At once.
    AtOnce,
    /// Never.
    Never,
}

/// What verifiers of one family do about something that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierAdvice {
    /// [`Family::name`]
    pub verifier: &'static str,
    /// What they do.
    pub text: String,
    /// Until when at the latest, where time alone ends it.
    pub until: Option<OffsetDateTime>,
}

/// All that are known. Where a family has several settings, its default counts.
pub const FAMILIES: &[Family] = &[
    family("go-oidc v3 (oauth2-proxy, Dex, Vault's JWT auth)", Forgets::AtUnknownKid, Asks::AtOnce),
    family("go-oidc 2.5 (kube-apiserver's OIDC authenticator)", Forgets::AtUnknownKid, Asks::AfterMaxAge),
    family("TokenReview's clients (Vault's Kubernetes auth)", Forgets::AtOnce, Asks::AtOnce),
    Family {
        remembers: seconds(10),
        // A sync at least every 300 s, and its token cache.
        ..family("kube-apiserver with our external signer", Forgets::After(seconds(310)), Asks::AtOnce)
    },
    family("PyJWT (PyJWKClient)", Forgets::After(seconds(300)), Asks::AfterCoolDown(seconds(30))),
    family("jose (createRemoteJWKSet)", Forgets::After(seconds(600)), Asks::AfterCoolDown(seconds(30))),
    family("Spring Security, Nimbus", Forgets::After(seconds(300)), Asks::AtOnce),
    family("jwks-rsa", Forgets::EachAfter(seconds(600)), Asks::AtOnce),
    family("Authlib, python-jose, joserfc", Forgets::WhenFetched, Asks::Never),
    family("Istio (istiod's key resolver)", Forgets::After(seconds(20 * 60)), Asks::Never),
    family("tokensmith proxy --verify", Forgets::AfterMaxAge, Asks::AfterCoolDown(seconds(10))),
    family("verifiers that keep to max-age alone", Forgets::AfterMaxAge, Asks::Never),
    family("verifiers that keep a key set for a day", Forgets::After(seconds(86_400)), Asks::Never),
];

/// What becomes of a key's tokens elsewhere once it is revoked. Nobody needs to wait for those who meet an unknown `kid`.
pub fn after_revocation(policy: &RotationPolicy, now: OffsetDateTime) -> Vec<VerifierAdvice> {
    let told = |family: &Family| {
        let until = family.forgets.time(policy).map(|time| later(now, time));
        let first = match until {
            _ if family.forgets == Forgets::AtOnce => "refuse its tokens at once".to_owned(),
            Some(until) => format!("take its tokens until {} at the latest", when(until)),
            None => format!("take its tokens until they {}, however long that is", family.forgets.event()),
        };
        let sooner = match (family.forgets, family.asks) {
            (Forgets::AtOnce | Forgets::EachAfter(_), _) | (_, Asks::Never) => String::new(),
            (_, Asks::AfterCoolDown(pause)) => {
                format!(
                    "; sooner, if they meet an unknown kid {} or more after they last fetched",
                    span(pause)
                )
            }
            (Forgets::AtUnknownKid, Asks::AtOnce) => String::new(),
            (_, Asks::AtOnce) if family.remembers.is_zero() => {
                "; sooner, if they meet an unknown kid".to_owned()
            }
            (_, Asks::AtOnce) => {
                format!("; no more than {} after they have met an unknown kid", span(family.remembers))
            }
            (_, Asks::AfterMaxAge) => {
                let over = when(later(now, policy.max_age));
                format!("; one that they meet before {over} may do nothing")
            }
        };
        VerifierAdvice { verifier: family.name, text: first + &sooner, until }
    };
    FAMILIES.iter().map(told).collect()
}

/// What a token with an unknown `kid` makes verifiers do.
pub fn poked(policy: &RotationPolicy) -> Vec<VerifierAdvice> {
    let told = |family: &Family| {
        let text = match (family.asks, family.forgets) {
            (_, Forgets::AtOnce) => "need none: they ask about each token".to_owned(),
            (_, forgets @ Forgets::EachAfter(_)) => {
                format!("fetch, and keep the keys that they know: they forget each {forgets}")
            }
            (Asks::AtOnce, _) if family.remembers.is_zero() => "fetch at once".to_owned(),
            (Asks::AtOnce, _) => {
                format!("fetch at once, and go on for {} with tokens they have taken", span(family.remembers))
            }
            (Asks::AfterCoolDown(pause), _) => {
                format!("fetch, unless they did so within the last {0}: show it again {0} later", span(pause))
            }
            (Asks::AfterMaxAge, _) => format!(
                "fetch only once the max-age ({}) of what they have is over: show it again until then",
                span(policy.max_age)
            ),
            (Asks::Never, Forgets::WhenFetched) => {
                "do not fetch: their program must, or start anew".to_owned()
            }
            (Asks::Never, forgets) => format!("do not fetch: they do so {forgets}"),
        };
        VerifierAdvice { verifier: family.name, text, until: None }
    };
    FAMILIES.iter().map(told).collect()
}

/// Who may refuse tokens of a key that was published at `published_at`, and until when.
pub fn refusing(
    policy: &RotationPolicy,
    published_at: OffsetDateTime,
    now: OffsetDateTime,
) -> Vec<VerifierAdvice> {
    let told = |family: &Family| {
        let time = match (family.asks, family.forgets) {
            (Asks::AtOnce, _) | (_, Forgets::AtOnce) => return None,
            (Asks::AfterCoolDown(pause), _) => Some(pause),
            (Asks::AfterMaxAge, _) => Some(policy.max_age),
            (Asks::Never, forgets) => forgets.time(policy),
        };
        let until = time.map(|time| later(published_at, time));
        let text = match until {
            Some(until) if until <= now => return None,
            Some(until) => format!("until {}", when(until)),
            None => format!("until they {}", family.forgets.event()),
        };
        Some(VerifierAdvice { verifier: family.name, text, until })
    };
    let mut all: Vec<VerifierAdvice> = FAMILIES.iter().filter_map(told).collect();
    let longest = all.iter().filter_map(|told| told.until).max();
    let set_for = later(published_at, policy.publish_before);
    if set_for > now && longest.is_none_or(|longest| set_for > longest) {
        let verifier = "verifiers that --key-publish-before was set for";
        all.push(VerifierAdvice { verifier, text: format!("until {}", when(set_for)), until: Some(set_for) });
    }
    all
}

impl Forgets {
    /// The time after which it does, if it is one that is known here.
    fn time(self, policy: &RotationPolicy) -> Option<Duration> {
        match self {
            Forgets::AtOnce => Some(Duration::ZERO),
            Forgets::After(time) | Forgets::EachAfter(time) => Some(time),
            Forgets::AfterMaxAge => Some(policy.max_age),
            Forgets::AtUnknownKid | Forgets::WhenFetched => None,
        }
    }

    /// What must happen where no time is known.
    fn event(self) -> &'static str {
        match self {
            Forgets::WhenFetched => "start anew or their program fetches the key set again",
            _ => "meet an unknown kid or start anew",
        }
    }
}

impl fmt::Display for Forgets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Forgets::AtOnce => f.write_str("at once: they ask about each token"),
            Forgets::After(time) => write!(f, "after {} at the latest", span(*time)),
            Forgets::EachAfter(time) => write!(f, "after {} at the latest, whatever they meet", span(*time)),
            Forgets::AfterMaxAge => f.write_str("after max-age"),
            Forgets::AtUnknownKid => f.write_str("never by time: at an unknown kid or a restart"),
            Forgets::WhenFetched => f.write_str("never: when their program fetches again, or at a restart"),
        }
    }
}

impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asks::AfterCoolDown(pause) => write!(f, "{} after the last time at the earliest", span(*pause)),
            Asks::AfterMaxAge => f.write_str("only once max-age is over"),
            Asks::AtOnce => f.write_str("at once"),
            Asks::Never => f.write_str("never"),
        }
    }
}

const fn family(name: &'static str, forgets: Forgets, asks: Asks) -> Family {
    Family { name, forgets, asks, remembers: Duration::ZERO }
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A span in the largest unit that it is whole in.
fn span(time: Duration) -> String {
    match time.as_secs() {
        n if n > 0 && n % 3600 == 0 => format!("{} h", n / 3600),
        n if n > 600 && n % 60 == 0 => format!("{} min", n / 60),
        n => format!("{n} s"),
    }
}

#[cfg(test)]
mod tests;
