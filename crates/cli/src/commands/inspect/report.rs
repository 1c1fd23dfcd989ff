//! A report, for programs and for people.

use serde_json::{Value, json};
use tokensmith_verify::report::{Conclusion, REVOCATION, Remedy, Report, Rule, Verdict};

use crate::output::printable;

/// For programs: `holds` is null where nobody has looked, and `verdict` is `valid`, `refused` or `unchecked`.
pub fn data(report: &Report) -> Value {
    let rules: Vec<_> = report.rules.iter().map(rule).collect();
    let conclusion = report.conclusion();
    let verdict = match conclusion {
        Conclusion::Refused(_) => "refused",
        Conclusion::Unchecked(_) => "unchecked",
        Conclusion::Valid => "valid",
    };
    let valid = conclusion == Conclusion::Valid;
    let revoked = matches!(conclusion, Conclusion::Refused(rule) if rule.name == REVOCATION);
    let mut data = json!({ "by": report.by, "valid": valid, "verdict": verdict, "unchecked": report.unchecked(), "rules": rules });
    if revoked {
        data["revoked"] = true.into();
    }
    data
}

fn rule(rule: &Rule) -> Value {
    let holds = match rule.verdict {
        Verdict::Fails => Value::Bool(false),
        Verdict::Holds => Value::Bool(true),
        Verdict::Unchecked => Value::Null,
    };
    json!({ "rule": rule.name, "holds": holds, "detail": detail(rule) })
}

/// For people.
pub fn text(report: &Report) -> String {
    let open = report.unchecked();
    let verdict = match report.conclusion() {
        Conclusion::Refused(rule) if rule.name == REVOCATION => "NOT valid (revoked)".to_owned(),
        Conclusion::Refused(_) => "NOT valid".to_owned(),
        Conclusion::Unchecked(rule) => format!("NOT checked ({}), so not to be taken as valid", rule.name),
        Conclusion::Valid if open.is_empty() => "valid".to_owned(),
        Conclusion::Valid => format!("valid as far as was checked (not checked: {})", open.join(", ")),
    };
    let mut text = format!("{verdict}, by {}\n", printable(&report.by));
    for rule in &report.rules {
        let mark = match rule.verdict {
            Verdict::Fails => "FAIL",
            Verdict::Holds => "ok",
            Verdict::Unchecked => "-",
        };
        let line = format!("  {mark:<4}  {:<12}  {}", rule.name, printable(&detail(rule)));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Why, and by which flag more can be told.
pub fn detail(rule: &Rule) -> String {
    let detail = &rule.detail;
    match (rule.remedy, rule.verdict) {
        (None, _) => detail.clone(),
        (Some(Remedy::AskServer), _) => format!("{detail}: --server asks it"),
        (Some(Remedy::NameAudience), Verdict::Unchecked) => format!("{detail}: --audience checks"),
        (Some(Remedy::NameAudience), _) => format!("{detail} (ask with --audience for whom the token is)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rules: Vec<Rule>) -> (String, bool, Value) {
        let report = Report { by: "x".into(), rules };
        let line = text(&report).lines().next().unwrap_or_default().to_owned();
        (line, report.conclusion() == Conclusion::Valid, data(&report)["valid"].clone())
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
        assert_eq!(
            outcome(vec![ok(), Rule::fails("revocation", "token has been revoked")]),
            no("NOT valid (revoked), by x")
        );
    }

    #[test]
    fn a_report_holds_no_terminal_escapes() {
        let report = Report { by: "\u{1b}[2J".into(), rules: vec![Rule::holds("key", "a\nb")] };
        assert_eq!(text(&report), "valid, by \\u{1b}[2J\n  ok    key           a\\nb\n");
    }
}
