//! The outcome of a verification, rule by rule.

use serde_json::{Value, json};

use crate::output::printable;

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
}

/// What came of a token. A token is valid when someone has looked at every rule that is not optional; what was not
/// checked is never valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
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
        Rule { name, verdict: Verdict::Holds, detail: detail.into(), optional: false }
    }

    /// A rule that does not hold.
    pub fn fails(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { name, verdict: Verdict::Fails, detail: detail.into(), optional: false }
    }

    /// A rule that should have been looked at, and could not be.
    pub fn unchecked(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { name, verdict: Verdict::Unchecked, detail: detail.into(), optional: false }
    }

    /// A rule that nobody has looked at, as nobody was to.
    pub fn unasked(name: &'static str, detail: impl Into<String>) -> Rule {
        Rule { optional: true, ..Rule::unchecked(name, detail) }
    }

    /// `holds` or `fails`, by a condition.
    pub fn when(condition: bool, name: &'static str, holds: String, fails: String) -> Rule {
        if condition { Rule::holds(name, holds) } else { Rule::fails(name, fails) }
    }
}

impl Report {
    /// What it all comes to.
    pub fn outcome(&self) -> Outcome<'_> {
        let first = |verdict| self.rules.iter().find(move |r| r.verdict == verdict && !r.optional);
        if let Some(rule) = self.rules.iter().find(|r| r.verdict == Verdict::Fails) {
            return Outcome::Refused(rule);
        }
        match first(Verdict::Unchecked) {
            Some(rule) => Outcome::Unchecked(rule),
            // A report without any rule has checked nothing.
            None if self.rules.is_empty() => Outcome::Refused(&NOTHING),
            None => Outcome::Valid,
        }
    }

    /// For programs: `holds` is null where nobody has looked, and `verdict` is `valid`, `refused` or `unchecked`.
    pub fn data(&self) -> Value {
        let rules: Vec<_> = self.rules.iter().map(Rule::data).collect();
        let outcome = self.outcome();
        let verdict = match outcome {
            Outcome::Refused(_) => "refused",
            Outcome::Unchecked(_) => "unchecked",
            Outcome::Valid => "valid",
        };
        let valid = outcome == Outcome::Valid;
        json!({ "by": self.by, "valid": valid, "verdict": verdict, "unchecked": self.open(), "rules": rules })
    }

    /// For people.
    pub fn text(&self) -> String {
        let open = self.open();
        let verdict = match self.outcome() {
            Outcome::Refused(_) => "NOT valid".to_owned(),
            Outcome::Unchecked(rule) => format!("NOT checked ({}), so not to be taken as valid", rule.name),
            Outcome::Valid if open.is_empty() => "valid".to_owned(),
            Outcome::Valid => format!("valid as far as was checked (not checked: {})", open.join(", ")),
        };
        let mut text = format!("{verdict}, by {}\n", printable(&self.by));
        for rule in &self.rules {
            let mark = match rule.verdict {
                Verdict::Fails => "FAIL",
                Verdict::Holds => "ok",
                Verdict::Unchecked => "-",
            };
            let line = format!("  {mark:<4}  {:<12}  {}", rule.name, printable(&rule.detail));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// What nobody has looked at.
    fn open(&self) -> Vec<&'static str> {
        self.rules.iter().filter(|r| r.verdict == Verdict::Unchecked).map(|r| r.name).collect()
    }
}

static NOTHING: Rule =
    Rule { name: "verification", verdict: Verdict::Fails, detail: String::new(), optional: false };

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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rules: Vec<Rule>) -> (String, bool, Value) {
        let report = Report { by: "x".into(), rules };
        let line = report.text().lines().next().unwrap_or_default().to_owned();
        (line, report.outcome() == Outcome::Valid, report.data()["valid"].clone())
    }

    #[test]
    fn what_was_not_checked_is_never_valid() {
        let ok = || Rule::holds("key", "k");
        let no = |line: &str| (line.to_owned(), false, Value::Bool(false));
        assert_eq!(outcome(vec![ok()]), ("valid, by x".into(), true, Value::Bool(true)));
        assert_eq!(
            outcome(vec![ok(), Rule::unasked("account", "")]),
            ("valid as far as was checked (not checked: account), by x".into(), true, Value::Bool(true))
        );
        assert_eq!(
            outcome(vec![ok(), Rule::unchecked("signature", "")]),
            no("NOT checked (signature), so not to be taken as valid, by x")
        );
        assert_eq!(
            outcome(vec![Rule::unchecked("signature", ""), Rule::fails("expiry", "")]),
            no("NOT valid, by x")
        );
        assert_eq!(outcome(vec![]), no("NOT valid, by x"));
    }

    #[test]
    fn a_report_holds_no_terminal_escapes() {
        let report = Report { by: "\u{1b}[2J".into(), rules: vec![Rule::holds("key", "a\nb")] };
        assert_eq!(report.text(), "valid, by \\u{1b}[2J\n  ok    key           a\\nb\n");
    }
}
