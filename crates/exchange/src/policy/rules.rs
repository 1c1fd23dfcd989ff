//! What a rule gives, and how rules are found: by issuer or namespace, without a look at the others.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokensmith_core::tokens::access_token::Tie;
use tokensmith_core::tokens::pattern::Pattern;
use tokensmith_expressions::{EvaluationError, Expression, Variables};

use super::file::{RawGrant, RawMayAct};
use super::from::{From, Who};
use crate::rate::Rate;
use crate::subject::{Kind, Subject};
use crate::upstream::Upstream;

/// What expressions may read.
pub(crate) const VARIABLES: &[&str] = &["claims", "subject", "account", "actor", "request"];

/// A rule.
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) grants: Vec<RawGrant>,
    pub(crate) from: From,
    pub(crate) actors: Option<Actors>,
    pub(crate) audiences: Vec<Pattern>,
    pub(crate) audiences_from: Option<Expression>,
    pub(crate) resources: Vec<Pattern>,
    pub(crate) scopes: Vec<String>,
    pub(crate) subject: Option<Expression>,
    pub(crate) claims: Vec<(String, Expression)>,
    /// Seconds.
    pub(crate) lifetime: i64,
    /// Seconds; of tokens that are bound to more than an account.
    pub(crate) bound_lifetime: Option<i64>,
    pub(crate) never_longer_than_subject: bool,
    pub(crate) rate: Option<Rate>,
    pub(crate) upstream: Option<Arc<Upstream>>,
}

/// Who may act for the subject.
pub(crate) struct Actors {
    pub(crate) from: Vec<From>,
    pub(crate) required: bool,
    pub(crate) may_act: RawMayAct,
}

impl Actors {
    /// Whether the subject's token must name the actor.
    pub(crate) fn must_be_named(&self) -> bool {
        self.may_act == RawMayAct::Required
    }
}

/// All rules, in the file's order, and where to look.
#[derive(Default)]
pub(crate) struct Rules {
    all: Vec<Arc<Rule>>,
    by_issuer: HashMap<String, Vec<usize>>,
    by_namespace: HashMap<String, Vec<usize>>,
    /// Of accounts in namespaces that a pattern names.
    namespaces: Vec<usize>,
    exchanged: Vec<usize>,
}

impl Rules {
    pub(crate) fn new(all: Vec<Rule>) -> Self {
        let mut rules = Rules::default();
        for (at, rule) in all.iter().enumerate() {
            match &rule.from.who {
                Who::Account(account) if account.namespace.is_literal() => {
                    rules.by_namespace.entry(account.namespace.as_str().into()).or_default().push(at);
                }
                Who::Account(_) => rules.namespaces.push(at),
                Who::Exchanged { .. } => rules.exchanged.push(at),
                Who::Issuer { issuer, .. } => rules.by_issuer.entry(issuer.clone()).or_default().push(at),
            }
        }
        rules.all = all.into_iter().map(Arc::new).collect();
        rules
    }

    /// Where tokens come from elsewhere, by rule.
    pub(crate) fn upstreams(&self) -> HashMap<&str, &Arc<Upstream>> {
        self.all.iter().filter_map(|rule| Some((rule.name.as_str(), rule.upstream.as_ref()?))).collect()
    }

    /// Those that may mean a subject, in the file's order.
    pub(crate) fn of(&self, subject: &Subject) -> impl Iterator<Item = &Arc<Rule>> {
        let none: &[usize] = &[];
        let of = |map: &'_ HashMap<String, Vec<usize>>, key: &str| -> Vec<usize> {
            map.get(key).cloned().unwrap_or_default()
        };
        let (mut one, other) = match &subject.kind {
            Kind::Account { namespace, .. } => (of(&self.by_namespace, namespace), &*self.namespaces),
            Kind::Exchanged => (self.exchanged.clone(), none),
            Kind::Issuer => (of(&self.by_issuer, &subject.issuer), none),
        };
        if !other.is_empty() {
            one.extend_from_slice(other);
            one.sort_unstable();
        }
        one.into_iter().filter_map(|at| self.all.get(at))
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) audiences: Vec<String>,
    pub(crate) resources: Vec<String>,
    /// None: whatever there is.
    pub(crate) scopes: Option<Vec<String>>,
}

/// Why a rule does not give what is asked, from what it says least of to what it says most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lacks {
    /// It means somebody else.
    Subject,
    /// One of its conditions does not hold.
    Condition,
    /// The actor may not, or there is none.
    Actor,
    /// One of the audiences or resources.
    Target,
    /// One of the scopes.
    Scope,
}

impl Rule {
    /// Whether anything of it has to be worked out from what a token says.
    pub(crate) fn computes(&self) -> bool {
        let conditions = |from: &From| !from.conditions.is_empty();
        conditions(&self.from)
            || self.actors.as_ref().is_some_and(|actors| actors.from.iter().any(conditions))
            || self.audiences_from.is_some()
            || self.subject.is_some()
            || !self.claims.is_empty()
    }

    /// What the token is for: all that is asked, or the first that the rule names where nothing is. `Err`: it does not give that; and
    /// why its own list has no value, where it has none.
    pub(crate) fn targets(
        &self,
        wanted: &Wanted,
        variables: &Variables<'_>,
    ) -> Result<Vec<String>, Option<EvaluationError>> {
        let computed = match &self.audiences_from {
            None => Vec::new(),
            Some(expression) => texts(expression, variables).map_err(Some)?,
        };
        if wanted.audiences.is_empty() && wanted.resources.is_empty() {
            let literal = |all: &[Pattern]| {
                all.iter().find(|pattern| pattern.is_literal()).map(|pattern| pattern.as_str().to_owned())
            };
            let first = literal(&self.audiences).or_else(|| computed.into_iter().next());
            let first = first.or_else(|| literal(&self.resources));
            return first.map(|first| vec![first]).ok_or(None);
        }
        let given =
            |text: &String, patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(text));
        let audiences = wanted.audiences.iter().all(|a| given(a, &self.audiences) || computed.contains(a));
        if !audiences || !wanted.resources.iter().all(|r| given(r, &self.resources)) {
            return Err(None);
        }
        let mut all: Vec<String> = Vec::new();
        for target in wanted.audiences.iter().chain(&wanted.resources) {
            if !all.contains(target) {
                all.push(target.clone());
            }
        }
        Ok(all)
    }

    /// Which of the targets are resources (RFC 8707), and which are audiences: as they were asked for.
    pub(crate) fn resources_of(&self, targets: &[String], wanted: &Wanted) -> (Vec<String>, Vec<String>) {
        if wanted.audiences.is_empty() && wanted.resources.is_empty() {
            // The first that the rule names; it names an audience where it can.
            let resource = |target: &String| {
                self.resources.iter().any(|own| own.matches(target))
                    && self.audiences_from.is_none()
                    && !self.audiences.iter().any(|own| own.matches(target))
            };
            return targets.iter().cloned().partition(resource);
        }
        (wanted.resources.clone(), wanted.audiences.clone())
    }

    /// The scopes: all that are asked, or all that there are where nothing is. `within` are those of the subject's token, which are
    /// never widened.
    pub(crate) fn scopes(&self, wanted: &Wanted, within: Option<&[String]>) -> Result<Vec<String>, Lacks> {
        let given =
            |scope: &String| self.scopes.contains(scope) && within.is_none_or(|own| own.contains(scope));
        match &wanted.scopes {
            None => Ok(self.scopes.iter().filter(|scope| given(scope)).cloned().collect()),
            Some(asked) if asked.iter().all(given) => Ok(asked.clone()),
            Some(_) => Err(Lacks::Scope),
        }
    }

    /// Until when the token lives, Unix seconds. `most` bounds whatever the server signs.
    pub(crate) fn expires_at(&self, subject: &Subject, now: i64, most: Option<i64>) -> i64 {
        let bound = subject.tie.as_ref().is_some_and(Tie::is_bound);
        let caps = [self.bound_lifetime.filter(|_| bound), most];
        let life = caps.into_iter().flatten().fold(self.lifetime, i64::min);
        let end = now.saturating_add(life);
        if self.never_longer_than_subject { end.min(subject.expires_at) } else { end }
    }

    /// `sub` of the token.
    pub(crate) fn subject(
        &self,
        subject: &Subject,
        variables: &Variables<'_>,
    ) -> Result<String, EvaluationError> {
        match &self.subject {
            None => Ok(subject.id.clone()),
            Some(expression) => expression.evaluate_string(variables),
        }
    }

    /// What the token says besides. A claim that is null is left out.
    pub(crate) fn claims(&self, variables: &Variables<'_>) -> Result<Map<String, Value>, EvaluationError> {
        let mut all = Map::new();
        for (name, expression) in &self.claims {
            match expression.evaluate(variables)? {
                Value::Null => {}
                value => drop(all.insert(name.clone(), value)),
            }
        }
        Ok(all)
    }
}

/// A list of texts.
pub(crate) fn texts(
    expression: &Expression,
    variables: &Variables<'_>,
) -> Result<Vec<String>, EvaluationError> {
    let wrong = || EvaluationError::Type { found: "something else", wanted: "a list of strings" };
    let Value::Array(items) = expression.evaluate(variables)? else { return Err(wrong()) };
    items
        .into_iter()
        .map(|item| match item {
            Value::String(text) => Ok(text),
            _ => Err(wrong()),
        })
        .collect()
}
