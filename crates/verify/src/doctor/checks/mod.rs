//! The kinds of rules there are, each with its parameters: which of them a verifier has is in its file.
//!
//! A check looks at its own matter alone. What it needs and another check says is missing makes it unchecked, so that one
//! fault of an issuer is one line.

mod document;
mod issuer;
mod keys;
mod rotation;
mod token;
mod transport;

use serde::Deserialize;

use super::facts::Facts;
use crate::report::Verdict;

/// One kind, with its parameters.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(tag = "check", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "the names of parameters are those of the files, and `what` says what they mean"
)]
pub enum Check {
    // The issuer's name and place.
    Https {},
    IssuerLength { limit: usize },
    NoFinalSlash {},
    NoPort {},
    Outside {},
    PlainUrl {},
    // Connections and answers.
    AnswersWithin { seconds: u64 },
    CertificateName {},
    CertificateTime {},
    CertificateYoung { days: i64 },
    ClockRight { seconds: i64 },
    CompleteChain {},
    HeadAnswers {},
    JsonTypes { discovery: Vec<String>, keys: Vec<String> },
    NoRedirects {},
    Open {},
    Reachable {},
    SameForAll {},
    Trusted { public: bool },
    // The discovery document.
    AlgorithmsListed { fallback: Option<String> },
    DiscoveryDocument {},
    ExactIssuer {},
    KeysHttps {},
    Members { names: Vec<String> },
    UncutPath {},
    // The keys.
    Algorithms { accepted: Vec<String> },
    AlgorithmNamed {},
    ForSignatures {},
    KeyCount { limit: usize, each: bool },
    KeyIds {},
    KeySet {},
    NoPrivateHalf {},
    NoSecretKey {},
    OneType {},
    RsaSize { bits: usize },
    SomeKey {},
    UniqueKeyIds {},
    WholeKeys {},
    WithoutMembers { names: Vec<String> },
    // Rotation.
    MaxAge { limit: u64 },
    Spare {},
    // A token.
    AudienceLength { limit: usize },
    AudienceList {},
    Claims { names: Vec<String> },
    InForce { expired: i64, early: Option<i64> },
    KubernetesClaims {},
    Lifetime { limit: i64 },
    OneAudience { azp: bool },
    SubjectLength { limit: usize },
    TokenAlgorithm { accepted: Vec<String> },
    TokenIssuer {},
    TokenKey {},
    TokenLength { limit: usize },
    TokenSignature {},
    WithoutClaims { names: Vec<String> },
}

/// What came of a check, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Holds, fails, or cannot be known from here.
    pub verdict: Verdict,
    /// Why.
    pub detail: String,
}

impl Outcome {
    fn holds(detail: impl Into<String>) -> Outcome {
        Outcome { verdict: Verdict::Holds, detail: detail.into() }
    }

    fn fails(detail: impl Into<String>) -> Outcome {
        Outcome { verdict: Verdict::Fails, detail: detail.into() }
    }

    fn unknown(detail: impl Into<String>) -> Outcome {
        Outcome { verdict: Verdict::Unchecked, detail: detail.into() }
    }

    fn when(holds: bool, good: impl Into<String>, bad: impl Into<String>) -> Outcome {
        if holds { Outcome::holds(good) } else { Outcome::fails(bad) }
    }

    /// Fails with what was found, if anything was; else holds.
    fn without(found: &[String], good: impl Into<String>) -> Outcome {
        match found {
            [] => Outcome::holds(good),
            found => Outcome::fails(some(found)),
        }
    }
}

impl Check {
    /// Holds it against what was seen.
    pub fn run(&self, facts: &Facts) -> Outcome {
        match self {
            Check::Https {} => issuer::https(facts),
            Check::IssuerLength { limit } => issuer::length(facts, *limit),
            Check::NoFinalSlash {} => issuer::no_final_slash(facts),
            Check::NoPort {} => issuer::no_port(facts),
            Check::Outside {} => issuer::outside(facts),
            Check::PlainUrl {} => issuer::plain_url(facts),
            Check::AnswersWithin { seconds } => transport::answers_within(facts, *seconds),
            Check::CertificateName {} => transport::certificate_name(facts),
            Check::CertificateTime {} => transport::certificate_time(facts),
            Check::CertificateYoung { days } => transport::certificate_young(facts, *days),
            Check::ClockRight { seconds } => transport::clock_right(facts, *seconds),
            Check::CompleteChain {} => transport::complete_chain(facts),
            Check::HeadAnswers {} => transport::head_answers(facts),
            Check::JsonTypes { discovery, keys } => transport::json_types(facts, discovery, keys),
            Check::NoRedirects {} => transport::no_redirects(facts),
            Check::Open {} => transport::open(facts),
            Check::Reachable {} => transport::reachable(facts),
            Check::SameForAll {} => transport::same_for_all(facts),
            Check::Trusted { public } => transport::trusted(facts, *public),
            Check::AlgorithmsListed { fallback } => document::algorithms_listed(facts, fallback.as_deref()),
            Check::DiscoveryDocument {} => document::there(facts),
            Check::ExactIssuer {} => document::exact_issuer(facts),
            Check::KeysHttps {} => document::keys_https(facts),
            Check::Members { names } => document::members(facts, names),
            Check::UncutPath {} => document::uncut_path(facts),
            Check::Algorithms { accepted } => keys::algorithms(facts, accepted),
            Check::AlgorithmNamed {} => keys::algorithm_named(facts),
            Check::ForSignatures {} => keys::for_signatures(facts),
            Check::KeyCount { limit, each } => keys::count(facts, *limit, *each),
            Check::KeyIds {} => keys::key_ids(facts),
            Check::KeySet {} => keys::there(facts),
            Check::NoPrivateHalf {} => keys::no_private_half(facts),
            Check::NoSecretKey {} => keys::no_secret_key(facts),
            Check::OneType {} => keys::one_type(facts),
            Check::RsaSize { bits } => keys::rsa_size(facts, *bits),
            Check::SomeKey {} => keys::some_key(facts),
            Check::UniqueKeyIds {} => keys::unique_key_ids(facts),
            Check::WholeKeys {} => keys::whole_keys(facts),
            Check::WithoutMembers { names } => keys::without_members(facts, names),
            Check::MaxAge { limit } => rotation::max_age(facts, *limit),
            Check::Spare {} => rotation::spare(facts),
            Check::AudienceLength { limit } => token::audience_length(facts, *limit),
            Check::AudienceList {} => token::audience_list(facts),
            Check::Claims { names } => token::claims(facts, names),
            Check::InForce { expired, early } => token::in_force(facts, *expired, *early),
            Check::KubernetesClaims {} => token::kubernetes_claims(facts),
            Check::Lifetime { limit } => token::lifetime(facts, *limit),
            Check::OneAudience { azp } => token::one_audience(facts, *azp),
            Check::SubjectLength { limit } => token::subject_length(facts, *limit),
            Check::TokenAlgorithm { accepted } => token::algorithm(facts, accepted),
            Check::TokenIssuer {} => token::issuer(facts),
            Check::TokenKey {} => token::key(facts),
            Check::TokenLength { limit } => token::length(facts, *limit),
            Check::TokenSignature {} => token::signature(facts),
            Check::WithoutClaims { names } => token::without_claims(facts, names),
        }
    }

    /// Whether it is about a token alone, so that nothing needs to be fetched for it.
    pub fn of_token(&self) -> bool {
        matches!(
            self,
            Check::AudienceLength { .. }
                | Check::AudienceList {}
                | Check::Claims { .. }
                | Check::InForce { .. }
                | Check::KubernetesClaims {}
                | Check::Lifetime { .. }
                | Check::OneAudience { .. }
                | Check::SubjectLength { .. }
                | Check::TokenAlgorithm { .. }
                | Check::TokenLength { .. }
                | Check::WithoutClaims { .. }
        )
    }
}

/// A few of many, in one line.
fn some(all: &[String]) -> String {
    const SHOWN: usize = 3;
    match all.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{}, and {more} more", all[..SHOWN].join("; ")),
        _ => all.join("; "),
    }
}
