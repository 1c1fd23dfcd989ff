//! Why a token or a request is let in or not, rule by rule, as the very code that decides tells it.
//!
//! Nothing here decides. An authenticator ([`TokenAuthenticator::explain`](super::TokenAuthenticator::explain)) and an
//! authorizer ([`Authorizer::explain`](super::Authorizer::explain)) go their own way, and say beside their answer what they have
//! held it against.

use super::Decision;

/// A rule, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is called, e.g. `signature` or `RBAC`.
    pub rule: &'static str,
    /// Whether it lets pass; `None`: nobody has asked it, or it has nothing to say.
    pub holds: Option<bool>,
    /// Why.
    pub detail: String,
    /// What would change it: commands to be pasted, or what to do in words.
    pub change: Vec<String>,
}

/// What of the server's own who asks may see. Nobody is told here what they could not read otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clearance {
    /// The keys and their journal.
    pub keys: bool,
    /// The revocations.
    pub revocations: bool,
    /// All roles and bindings.
    pub roles: bool,
}

impl Step {
    /// A rule that lets pass.
    pub fn holds(rule: &'static str, detail: impl Into<String>) -> Step {
        Step { rule, holds: Some(true), detail: detail.into(), change: Vec::new() }
    }

    /// A rule that does not.
    pub fn fails(rule: &'static str, detail: impl Into<String>) -> Step {
        Step { rule, holds: Some(false), detail: detail.into(), change: Vec::new() }
    }

    /// A rule that has nothing to say.
    pub fn silent(rule: &'static str, detail: impl Into<String>) -> Step {
        Step { rule, holds: None, detail: detail.into(), change: Vec::new() }
    }

    /// A rule that was not reached.
    pub fn unasked(rule: &'static str) -> Step {
        Step::silent(rule, "not asked")
    }

    /// What an authorizer has decided.
    pub fn decided(rule: &'static str, decision: &Decision) -> Step {
        let or =
            |reason: &str, else_: &str| if reason.is_empty() { else_.to_owned() } else { reason.to_owned() };
        match decision {
            Decision::Allow(reason) => Step::holds(rule, or(reason, "it allows it")),
            Decision::Deny(reason) => Step::fails(rule, or(reason, "it refuses it")),
            Decision::NoOpinion(reason) => Step::fails(rule, or(reason, "nothing in it allows this")),
        }
    }

    /// With what would change it.
    #[must_use]
    pub fn or(mut self, change: impl Into<String>) -> Step {
        self.change.push(change.into());
        self
    }
}

/// The step that decides: of a refusal the first that fails, else the last that lets pass.
pub fn decisive(steps: &[Step]) -> Option<&Step> {
    let failing = steps.iter().find(|step| step.holds == Some(false));
    failing.or_else(|| steps.iter().rev().find(|step| step.holds == Some(true)))
}

/// Begins a name of a type, without its path.
pub(super) fn short(type_name: &'static str) -> &'static str {
    type_name.rsplit("::").next().unwrap_or(type_name)
}
