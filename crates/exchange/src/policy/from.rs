//! Who: patterns of issuers, subjects and accounts, selectors of labels as they are now, and conditions.

use std::fmt;

use tokensmith_core::tokens::pattern::Pattern;
use tokensmith_core::view::Snapshot;
use tokensmith_expressions::{EvaluationError, Expression, Variables};
use tokensmith_objects::selector::LabelSelector;

use crate::said;
use crate::subject::{Kind, Subject};

/// Whose token.
#[derive(Debug)]
pub(crate) struct From {
    pub(crate) who: Who,
    pub(crate) conditions: Vec<Expression>,
}

#[derive(Debug)]
pub(crate) enum Who {
    /// An account of this server.
    Account(Box<Account>),
    /// Who has a token that this endpoint has issued.
    Exchanged { audience: Pattern, subject: Pattern },
    /// Who has a token of another issuer.
    Issuer { issuer: String, subject: Pattern },
}

#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) namespace: Pattern,
    pub(crate) name: Pattern,
    pub(crate) labels: Option<LabelSelector>,
    pub(crate) namespace_labels: Option<LabelSelector>,
    pub(crate) pod_labels: Option<LabelSelector>,
}

/// A condition that does not hold: which of them, and why it has no value where it has none. Says nothing of the claims.
#[derive(Debug)]
pub(crate) struct Fallen<'a> {
    at: usize,
    condition: &'a Expression,
    error: Option<EvaluationError>,
}

impl fmt::Display for Fallen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, text) = (self.at.saturating_add(1), said::text(self.condition.text()));
        match &self.error {
            None => write!(f, "condition {number}, {text}, is false"),
            Some(e) => write!(f, "condition {number}, {text}, has no value: {e}"),
        }
    }
}

impl From {
    /// Whether it is about the one whose token this is, whatever its conditions say.
    pub(crate) fn names(&self, subject: &Subject, objects: &Snapshot) -> bool {
        self.who.matches(subject, objects)
    }

    /// Whether its conditions hold. One that has no value for the token's claims does not.
    pub(crate) fn holds<'a>(&'a self, variables: &Variables<'_>) -> Result<(), Fallen<'a>> {
        for (at, condition) in self.conditions.iter().enumerate() {
            let error = match condition.evaluate_bool(variables) {
                Ok(true) => continue,
                Ok(false) => None,
                Err(e) => {
                    tracing::debug!(cause = %e, "a condition of the exchange policy has no value");
                    Some(e)
                }
            };
            return Err(Fallen { at, condition, error });
        }
        Ok(())
    }
}

impl Who {
    fn matches(&self, subject: &Subject, objects: &Snapshot) -> bool {
        match (self, &subject.kind) {
            (Who::Account(wanted), Kind::Account { namespace, name, pod }) => {
                wanted.namespace.matches(namespace)
                    && wanted.name.matches(name)
                    && wanted.has_labels(namespace, name, pod.as_deref(), objects)
            }
            (Who::Exchanged { audience, subject: wanted }, Kind::Exchanged) => {
                // All of them: one that is for others as well is theirs as well.
                let audiences = &subject.audiences;
                wanted.matches(&subject.sub)
                    && !audiences.is_empty()
                    && audiences.iter().all(|a| audience.matches(a))
            }
            (Who::Issuer { issuer, subject: wanted }, Kind::Issuer) => {
                *issuer == subject.issuer && wanted.matches(&subject.sub)
            }
            _ => false,
        }
    }
}

impl Account {
    /// The objects as they are now: what is gone has no labels.
    fn has_labels(&self, namespace: &str, name: &str, pod: Option<&str>, objects: &Snapshot) -> bool {
        let holds = |selector: &Option<LabelSelector>, resource, namespace: &str, name: Option<&str>| {
            let Some(selector) = selector else { return true };
            let found = name.and_then(|name| objects.get("", resource, namespace, name));
            found.is_some_and(|object| selector.matches(&**object))
        };
        holds(&self.labels, "serviceaccounts", namespace, Some(name))
            && holds(&self.namespace_labels, "namespaces", "", Some(namespace))
            && holds(&self.pod_labels, "pods", namespace, pod)
    }
}
