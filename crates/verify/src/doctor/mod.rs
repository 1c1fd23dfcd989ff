//! What verifiers elsewhere will make of an issuer, any issuer, as it is seen from outside.
//!
//! ```text
//! issuer ─► gather (asks, bounded) ─► Facts ─┐
//! verifiers/*.yaml ─► Rule (a Check) ────────┴─► examine (pure) ─► Diagnosis, rule by rule
//! ```
//!
//! A rule holds, fails, or cannot be known from here; what was not seen is never said to hold. Rules are data with their
//! source, one file a verifier. Signatures are core's to check, as everywhere.

mod checks;
mod facts;
mod gather;
mod verifiers;

use tokensmith_core::keys::verifiers::{FAMILIES, Forgets};

use crate::report::{UnverifiedToken, Verdict};

pub use checks::Check;
pub use facts::{Asked, Document, Facts, KeySet, PublishedKey, Way};
pub use gather::{PATIENCE, Subject, gather};
pub use verifiers::{BadRules, ISSUER, Rule, Verifier, all, chosen, names};

/// What came of a verifier's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// [`Verifier::name`]
    pub name: String,
    /// [`Verifier::title`]
    pub title: String,
    /// [`Verifier::asks`]
    pub asks: String,
    /// When it forgets a key that was revoked, where that was measured.
    pub forgets: Option<String>,
    /// Rule by rule.
    pub findings: Vec<Finding>,
}

/// What came of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// [`Rule::id`]
    pub rule: String,
    /// Holds, fails, or cannot be known from here.
    pub verdict: Verdict,
    /// Why.
    pub detail: String,
    /// [`Rule::what`]
    pub what: String,
    /// [`Rule::mend`]
    pub mend: String,
    /// [`Rule::source`]
    pub source: String,
}

impl Diagnosis {
    /// The rules that fail.
    pub fn failing(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.verdict == Verdict::Fails)
    }
}

/// Holds a verifier's rules against what was seen. Those about tokens are left out where there is none.
pub fn examine(verifier: &Verifier, facts: &Facts) -> Diagnosis {
    let rules = verifier.rules.iter().filter(|rule| facts.token.is_some() || !about_tokens(&rule.check));
    diagnosis(verifier, rules, facts)
}

/// Holds the rules that are about a token alone against one, without asking anybody.
pub fn examine_token(verifier: &Verifier, token: UnverifiedToken, now: i64) -> Diagnosis {
    let facts = Facts::of_token(token, now);
    diagnosis(verifier, verifier.rules.iter().filter(|rule| rule.check.of_token()), &facts)
}

fn about_tokens(check: &Check) -> bool {
    let others = [Check::TokenIssuer {}, Check::TokenKey {}, Check::TokenSignature {}];
    check.of_token() || others.contains(check)
}

fn diagnosis<'a>(verifier: &Verifier, rules: impl Iterator<Item = &'a Rule>, facts: &Facts) -> Diagnosis {
    let finding = |rule: &Rule| {
        let checks::Outcome { verdict, detail } = rule.check.run(facts);
        Finding {
            rule: rule.id.clone(),
            verdict,
            detail,
            what: rule.what.clone(),
            mend: rule.mend.clone(),
            source: rule.source.clone(),
        }
    };
    Diagnosis {
        name: verifier.name.clone(),
        title: verifier.title.clone(),
        asks: verifier.asks.clone(),
        forgets: verifier.keys.as_ref().and_then(|keys| forgets(keys, facts)),
        findings: rules.map(finding).collect(),
    }
}

fn forgets(keys: &str, facts: &Facts) -> Option<String> {
    let family = FAMILIES.iter().find(|family| family.name.starts_with(keys))?;
    let age = facts.keys.as_ref().and_then(Asked::good).and_then(facts::max_age);
    Some(match (family.forgets, age) {
        (Forgets::AfterMaxAge, Some(age)) => {
            format!("{} ({})", family.forgets, tokensmith_api::duration::exact(age))
        }
        (forgets, _) => forgets.to_string(),
    })
}
