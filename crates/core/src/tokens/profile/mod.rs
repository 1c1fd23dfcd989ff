//! Token profiles: what kind of token an audience gets. Clouds disagree (Azure takes RS256 alone, AWS refuses a token
//! with several audiences), so one server must be able to please each.
//!
//! Pure: parsed once from the operator's file, then asked per request. Of several profiles whose patterns match an
//! audience, the first in the file counts.

use std::collections::BTreeSet;

use serde_json::Value;
use tokensmith_objects::field::go_quote;

use super::pattern::Pattern;
use super::{ExtraClaim, ExtraClaims};
use crate::keys::Algorithm;

mod parse;

pub use parse::{ProfileError, ServerLimits};

/// All profiles, in the file's order. The default has none: every token is like Kubernetes'.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenProfiles(Vec<TokenProfile>);

/// What the tokens for some audiences are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenProfile {
    name: String,
    audiences: Vec<Pattern>,
    algorithm: Option<Algorithm>,
    min_seconds: Option<i64>,
    max_seconds: Option<i64>,
    single_audience: bool,
    claims: ExtraClaims,
}

/// Why the audiences of a request do not go together. The text is the detail of a 422 on `spec.audiences`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    /// Two audiences want different tokens.
    #[error(
        "the audience {} gets tokens of the profile {}, but {} gets tokens of the profile {}: request a token for each",
        go_quote(&.first.0), go_quote(&.first.1), go_quote(&.second.0), go_quote(&.second.1)
    )]
    Mixed {
        /// An audience and the name of its profile.
        first: (String, String),
        /// Another audience and the name of its.
        second: (String, String),
    },
    /// One of the audiences is to be alone.
    #[error(
        "tokens of the profile {}, which the audience {} gets, may have no more than one audience, not {count}: request a token for each",
        go_quote(.profile), go_quote(.audience)
    )]
    Single {
        /// The audience that the profile is for.
        audience: String,
        /// How many were asked for.
        count: usize,
        /// The profile's name.
        profile: String,
    },
}

impl TokenProfiles {
    /// Reads the file of `--token-profile-file` and holds it against what the server's own flags allow.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place in the file and what to do about it.
    pub fn parse(yaml: &[u8], limits: &ServerLimits) -> Result<Self, ProfileError> {
        parse::profiles(yaml, limits).map(TokenProfiles)
    }

    /// The profile of a token for these audiences; those that no profile is for have no say.
    ///
    /// # Errors
    /// Two profiles are for them, or one that wants to be asked for alone.
    pub fn choose(&self, audiences: &[String]) -> Result<Option<&TokenProfile>, AudienceError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut chosen: Option<(&str, &TokenProfile)> = None;
        for audience in audiences {
            let Some(profile) = self.0.iter().find(|profile| profile.is_for(audience)) else { continue };
            match chosen {
                None => chosen = Some((audience, profile)),
                Some((first, other)) if other.name != profile.name => {
                    return Err(AudienceError::Mixed {
                        first: (first.to_owned(), other.name.clone()),
                        second: (audience.clone(), profile.name.clone()),
                    });
                }
                Some(_) => {}
            }
        }
        match chosen {
            Some((audience, profile)) if profile.single_audience && audiences.len() > 1 => {
                Err(AudienceError::Single {
                    audience: audience.to_owned(),
                    count: audiences.len(),
                    profile: profile.name.clone(),
                })
            }
            chosen => Ok(chosen.map(|(_, profile)| profile)),
        }
    }

    /// The algorithms that profiles ask for: each needs a key that may sign.
    pub fn algorithms(&self) -> BTreeSet<Algorithm> {
        self.0.iter().filter_map(|profile| profile.algorithm).collect()
    }
}

impl TokenProfile {
    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What signs; `None` for what signs without a profile.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// The shortest life that may be asked for, if it is longer than the server's, seconds.
    pub fn min_seconds(&self) -> Option<i64> {
        self.min_seconds
    }

    /// The longest life that a token gets, extended or not, seconds.
    pub fn max_seconds(&self) -> Option<i64> {
        self.max_seconds
    }

    /// What its tokens say besides, alone.
    pub fn claims(&self) -> &[ExtraClaim] {
        self.claims.as_slice()
    }

    /// The same, to be put together with an account's.
    pub(super) fn extra(&self) -> &ExtraClaims {
        &self.claims
    }

    fn is_for(&self, audience: &str) -> bool {
        self.audiences.iter().any(|pattern| pattern.matches(audience))
    }
}

/// The value of a finding on `spec.audiences`.
pub(super) fn shown(audiences: &[String]) -> Value {
    audiences.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profiles() -> TokenProfiles {
        let yaml = b"
profiles:
- name: azure
  audiences: ['api://AzureADTokenExchange*', 'azure']
  algorithm: RS256
- name: aws
  audiences: [sts.amazonaws.com]
  singleAudience: true
- name: rest
  audiences: ['a*', 'https://*.example/*']
  algorithm: ES256
";
        TokenProfiles::parse(yaml, &ServerLimits::default()).unwrap()
    }

    fn choose(audiences: &[&str]) -> Result<Option<String>, AudienceError> {
        let audiences: Vec<_> = audiences.iter().map(ToString::to_string).collect();
        Ok(profiles().choose(&audiences)?.map(|p| p.name().to_owned()))
    }

    #[test]
    fn the_first_that_matches_counts() {
        for (audiences, want) in [
            (vec!["azure"], Some("azure")),
            (vec!["azures"], Some("rest")),
            (vec!["api://AzureADTokenExchange/x"], Some("azure")),
            (vec!["vault"], None),
            (vec![], None),
            (vec!["vault", "azure", "other", "azure"], Some("azure")),
            (vec!["sts.amazonaws.com"], Some("aws")),
            (vec!["https://x.example/y"], Some("rest")),
        ] {
            assert_eq!(choose(&audiences).unwrap().as_deref(), want, "{audiences:?}");
        }
        assert_eq!(TokenProfiles::default().choose(&["a".into(), "b".into()]), Ok(None));
        assert_eq!(profiles().algorithms(), BTreeSet::from([Algorithm::ES256, Algorithm::RS256]));
    }

    #[test]
    fn audiences_that_do_not_go_together() {
        let text = |audiences: &[&str]| choose(audiences).unwrap_err().to_string();
        assert_eq!(
            text(&["vault", "azure", "ab"]),
            "the audience \"azure\" gets tokens of the profile \"azure\", but \"ab\" gets tokens of the profile \"rest\": request a token for each"
        );
        let alone = "tokens of the profile \"aws\", which the audience \"sts.amazonaws.com\" gets, may have no more than one audience, not 2: request a token for each";
        assert_eq!(text(&["vault", "sts.amazonaws.com"]), alone);
        assert_eq!(text(&["sts.amazonaws.com", "sts.amazonaws.com"]), alone);
    }
}
