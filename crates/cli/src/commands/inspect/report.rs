//! The outcome of a verification, rule by rule.

use serde_json::{Value, json};

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
        Rule { name, verdict: Verdict::Holds, detail: detail.into() }
    }

    /// A rule that does not hold.
    pub fn fails(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { name, verdict: Verdict::Fails, detail: detail.into() }
    }

    /// A rule that was not looked at.
    pub fn unchecked(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { name, verdict: Verdict::Unchecked, detail: detail.into() }
    }

    /// `holds` or `fails`, by a condition.
    pub fn when(condition: bool, name: &'static str, holds: String, fails: String) -> Rule {
        if condition { Rule::holds(name, holds) } else { Rule::fails(name, fails) }
    }
}

impl Report {
    /// The first rule that does not hold.
    pub fn first_failure(&self) -> Option<&Rule> {
        self.rules.iter().find(|r| r.verdict == Verdict::Fails)
    }

    /// For programs: `holds` is null where nobody has looked.
    pub fn data(&self) -> Value {
        let rules: Vec<_> = self.rules.iter().map(Rule::data).collect();
        json!({ "by": self.by, "valid": self.first_failure().is_none(), "rules": rules })
    }

    /// For people.
    pub fn text(&self) -> String {
        let verdict = if self.first_failure().is_none() { "valid" } else { "NOT valid" };
        let mut text = format!("{verdict}, by {}\n", self.by);
        for rule in &self.rules {
            let mark = match rule.verdict {
                Verdict::Fails => "FAIL",
                Verdict::Holds => "ok",
                Verdict::Unchecked => "-",
            };
            let line = format!("  {mark:<4}  {:<12}  {}", rule.name, rule.detail);
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

impl Rule {
    fn data(&self) -> Value {
        let holds = match self.verdict {
            Verdict::Fails => Value::Bool(false),
            Verdict::Holds => Value::Bool(true),
            Verdict::Unchecked => Value::Null,
        };
        json!({ "rule": self.name, "holds": holds, "detail": self.detail })
    }
}
