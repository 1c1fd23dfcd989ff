//! What came of a token, rule by rule: for people who ask why, where [`Verifier`](crate::Verifier) says yes or no.
//!
//! The checks themselves are the verifier's: core's signatures and times. A claim of another type than it must have is told
//! apart from one that is missing, and what nobody could look at is no yes.

mod claims;
mod review;
mod signature;
mod token;

use tokensmith_core::keys::PublishedKeys;

use crate::{ReviewStatus, discovery};

pub use review::REVOCATION;
pub use token::{Binding, NotAToken, UnverifiedToken};

/// Who verified, and what each rule came to, in the order of checking.
#[derive(Debug)]
pub struct Report {
    /// E.g. `TokenReview at https://127.0.0.1:6443`.
    pub by: String,
    /// In order.
    pub rules: Vec<Rule>,
}

/// One rule's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it is about.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// Why.
    pub detail: String,
    /// Whether a token can be called valid although nobody has looked: the rule is one that this way of verifying cannot
    /// know of, or that nobody asked about.
    pub optional: bool,
    /// What would tell more; how to ask for it is the caller's to say.
    pub remedy: Option<Remedy>,
}

/// What would tell more of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A TokenReview.
    AskServer,
    /// Saying whom the token shall be for.
    NameAudience,
}

/// What came of a token. A token is valid when someone has looked at every rule that is not optional; what was not
/// checked is never valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion<'a> {
    /// This rule does not hold.
    Refused(&'a Rule),
    /// This rule could not be looked at.
    Unchecked(&'a Rule),
    /// All that was to be looked at holds.
    Valid,
}

/// What came of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not hold.
    Fails,
    /// It holds.
    Holds,
    /// Nobody has looked.
    Unchecked,
}

impl Rule {
    /// A rule that holds.
    pub fn holds(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { name, verdict: Verdict::Holds, detail: detail.into(), optional: false, remedy: None }
    }

    /// A rule that does not hold.
    pub fn fails(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { name, verdict: Verdict::Fails, detail: detail.into(), optional: false, remedy: None }
    }

    /// A rule that should have been looked at, and could not be.
    pub fn unchecked(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { name, verdict: Verdict::Unchecked, detail: detail.into(), optional: false, remedy: None }
    }

    /// A rule that nobody has looked at, as nobody was to.
    pub fn unasked(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { optional: true, ..Rule::unchecked(name, detail) }
    }

    /// With what would tell more.
    pub fn with(self, remedy: Remedy) -> Rule {
        Rule { remedy: Some(remedy), ..self }
    }

    /// `holds` or `fails`, by a condition.
    pub fn when(condition: bool, name: &'static str, holds: String, fails: String) -> Rule {
        if condition { Rule::holds(name, holds) } else { Rule::fails(name, fails) }
    }
}

impl Report {
    /// By an issuer's own documents, as someone verifies who knows the issuer only: `keys` are those of the `jwks_uri` in
    /// `document`, the discovery document. Whether account and bound object still exist stays unchecked.
    pub fn by_issuer(
        token: &UnverifiedToken,
        issuer: &str,
        audiences: &[String],
        (document, jwks_uri, keys): (&[u8], &str, &PublishedKeys),
        now: i64,
    ) -> Report {
        let mut rules = vec![documents(issuer, document)];
        rules.extend(signature::judge(token, keys));
        rules.extend(claims::rules(token, issuer, audiences, now));
        for rule in ["account", "bound object", "revocation"] {
            rules.push(Rule::unasked(rule, "only the server knows").with(Remedy::AskServer));
        }
        Report { by: format!("the key set at {jwks_uri}"), rules }
    }

    /// By what the API server `server` says ([`Review`](crate::Review)) when it is asked for `audiences`.
    pub fn by_review(
        token: &UnverifiedToken,
        audiences: &[String],
        status: &ReviewStatus,
        server: &str,
    ) -> Report {
        Report { by: format!("TokenReview at {server}"), rules: review::rules(token, audiences, status) }
    }

    /// What it all comes to.
    pub fn conclusion(&self) -> Conclusion<'_> {
        let first = |verdict| self.rules.iter().find(move |r| r.verdict == verdict && !r.optional);
        if let Some(rule) = self.rules.iter().find(|r| r.verdict == Verdict::Fails) {
            return Conclusion::Refused(rule);
        }
        match first(Verdict::Unchecked) {
            Some(rule) => Conclusion::Unchecked(rule),
            // A report without any rule has checked nothing.
            None if self.rules.is_empty() => Conclusion::Refused(&NOTHING),
            None => Conclusion::Valid,
        }
    }

    /// What nobody has looked at.
    pub fn unchecked(&self) -> Vec<&'static str> {
        self.rules.iter().filter(|r| r.verdict == Verdict::Unchecked).map(|r| r.name).collect()
    }
}

static NOTHING: Rule = Rule {
    name: "verification",
    verdict: Verdict::Fails,
    detail: String::new(),
    optional: false,
    remedy: None,
};

/// Whether the documents are the issuer's own, as every verifier checks: over a connection that only the issuer answers
/// on, and for this issuer byte for byte.
fn documents(issuer: &str, document: &[u8]) -> Rule {
    match discovery::check_issuer(issuer).and_then(|()| discovery::jwks_uri(issuer, document)) {
        Ok(_) => Rule::holds("discovery", format!("{issuer} publishes its documents")),
        Err(problem) => Rule::fails("discovery", problem.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_checked_is_never_valid() {
        let valid = |rules: Vec<Rule>| Report { by: "x".into(), rules }.conclusion() == Conclusion::Valid;
        let ok = || Rule::holds("key", "k");
        assert!(valid(vec![ok()]) && valid(vec![ok(), Rule::unasked("account", "")]));
        assert!(!valid(vec![ok(), Rule::unchecked("signature", "")]));
        assert!(!valid(vec![Rule::unchecked("signature", ""), Rule::fails("expiry", "")]));
        assert!(!valid(vec![]));
    }
}
