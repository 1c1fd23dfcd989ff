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

/// What requests for resources ask for (kube-apiserver's `RequestInfoFactory`).
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// What no request asks for by itself, and rules name all the same: for all verbs, admission and controllers.
const RIGHTS: &[&str] = &[
    "*",
    "approve",
    "attest",
    "bind",
    "escalate",
    "proxy",
    "request-serviceaccounts-token-audience",
    "sign",
    "use",
];
/// What requests for paths ask for.
const METHODS: &[&str] = &["*", "delete", "get", "head", "options", "patch", "post", "put"];

/// Whether requests for resources ask for this verb.
pub fn is_of_requests(verb: &str) -> bool {
    VERBS.contains(&verb)
}

/// What to say of a verb that nothing asks for, of a resource or of a path: a rule that gives it gives nothing.
pub fn odd_verb(verb: &str, of_resource: bool) -> Option<String> {
    let (known, more) = if of_resource { (VERBS, RIGHTS) } else { (METHODS, [].as_slice()) };
    // Constrained impersonation has verbs of its own.
    if known.contains(&verb) || more.contains(&verb) || of_resource && verb.starts_with("impersonate") {
        return None;
    }
    let small = verb.to_ascii_lowercase();
    let meant = match small.as_str() {
        "post" if of_resource => Some("create"),
        "put" if of_resource => Some("update"),
        "head" if of_resource => Some("get"),
        small => known.iter().copied().find(|one| *one == small).or_else(|| like(small, known)),
    };
    let what = if of_resource { "resource" } else { "path" };
    let meant = meant.map_or_else(String::new, |meant| format!("; do you mean {meant}?"));
    Some(format!("no request for a {what} has the verb {verb:?}, so no rule can help{meant}"))
}

/// The one of some words that is another but for one letter.
pub fn like<'a>(word: &str, all: &[&'a str]) -> Option<&'a str> {
    all.iter().copied().find(|one| one_letter(word.as_bytes(), one.as_bytes()))
}

/// Whether texts differ by one byte: another, or one more.
fn one_letter(a: &[u8], b: &[u8]) -> bool {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match (a, b) {
        ([_, left @ ..], [_, right @ ..]) if a.len() == b.len() => left == right,
        ([_, left @ ..], _) if a.len() == b.len().saturating_add(1) => left == b,
        (_, [_, right @ ..]) if b.len() == a.len().saturating_add(1) => a == right,
        _ => false,
    }
}

/// Begins a name of a type, without its path.
pub(super) fn short(type_name: &'static str) -> &'static str {
    type_name.rsplit("::").next().unwrap_or(type_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_that_nothing_asks_for() {
        for verb in ["get", "deletecollection", "bind", "*", "impersonate", "impersonate:user-info"] {
            assert_eq!(odd_verb(verb, true), None, "{verb}");
        }
        for (verb, meant) in
            [("GET", "get"), ("lst", "list"), ("lists", "list"), ("POST", "create"), ("wetch", "watch")]
        {
            let said = odd_verb(verb, true).unwrap();
            assert!(said.ends_with(&format!("so no rule can help; do you mean {meant}?")), "{said}");
        }
        assert_eq!(
            odd_verb("frob", true).unwrap(),
            "no request for a resource has the verb \"frob\", so no rule can help"
        );
        assert_eq!((odd_verb("post", false), odd_verb("list", false).is_some()), (None, true));
    }
}
