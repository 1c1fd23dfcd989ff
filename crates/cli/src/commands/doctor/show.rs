//! What came of it, for people and for programs.

use serde_json::{Value, json};
use tokensmith_verify::doctor::{Diagnosis, Finding};
use tokensmith_verify::report::Verdict;

use crate::output::{columns, printable};

/// For programs: `holds` is null where it cannot be known from outside.
pub fn data(issuer: Option<&str>, found: &[Diagnosis]) -> Value {
    let verifiers: Vec<Value> = found.iter().map(diagnosis).collect();
    json!({ "issuer": issuer, "holds": found.iter().all(|one| one.failing().next().is_none()), "verifiers": verifiers })
}

fn diagnosis(found: &Diagnosis) -> Value {
    let rules: Vec<Value> = found.findings.iter().map(finding).collect();
    json!({
        "name": found.name,
        "title": found.title,
        "asks": found.asks,
        "holds": found.failing().next().is_none(),
        "forgetsRevokedKey": found.forgets,
        "rules": rules,
    })
}

fn finding(finding: &Finding) -> Value {
    let holds = match finding.verdict {
        Verdict::Fails => Value::Bool(false),
        Verdict::Holds => Value::Bool(true),
        Verdict::Unchecked => Value::Null,
    };
    json!({
        "rule": finding.rule, "holds": holds, "what": finding.what, "detail": finding.detail, "do": finding.mend, "source": finding.source,
    })
}

/// As `token inspect` marks its rules.
fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fails => "FAIL",
        Verdict::Holds => "ok",
        Verdict::Unchecked => "-",
    }
}

/// For people: every rule, then what to do about those that fail.
pub fn table(found: &[Diagnosis]) -> String {
    let rows: Vec<Vec<String>> = found
        .iter()
        .flat_map(|one| {
            one.findings.iter().map(|finding| {
                vec![
                    one.name.clone(),
                    finding.rule.clone(),
                    mark(finding.verdict).to_owned(),
                    finding.detail.clone(),
                ]
            })
        })
        .collect();
    let mut text = columns(&["VERIFIER", "RULE", "HOLDS", "WHAT WAS SEEN"], &rows);
    let mut told = Vec::<&str>::new();
    for finding in found.iter().flat_map(Diagnosis::failing) {
        if told.contains(&finding.rule.as_str()) {
            continue;
        }
        if told.is_empty() {
            text.push_str("\nWhat to do:\n");
        }
        told.push(&finding.rule);
        text.push_str(&printable(&format!("  {}: {} ({})", finding.rule, finding.mend, finding.source)));
        text.push('\n');
    }
    let forget: Vec<String> = found
        .iter()
        .filter_map(|one| Some(format!("  {}: {}\n", one.name, printable(one.forgets.as_ref()?))))
        .collect();
    if !forget.is_empty() {
        text.push_str("\nA revoked key is forgotten by\n");
        text.push_str(&forget.concat());
    }
    text
}

/// For people: each verifier in a line.
pub fn others(found: &[Diagnosis]) -> String {
    if found.is_empty() {
        return String::new();
    }
    let row = |one: &Diagnosis| {
        let rules: Vec<&str> = one.failing().map(|finding| finding.rule.as_str()).collect();
        let holds = if rules.is_empty() { mark(Verdict::Holds) } else { mark(Verdict::Fails) };
        vec![
            one.name.clone(),
            holds.to_owned(),
            rules.join(", "),
            one.forgets.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    format!(
        "\n{}\n--for VERIFIER shows one of them rule by rule.\n",
        columns(&["VERIFIER", "HOLDS", "FAILING", "FORGETS A REVOKED KEY"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Diagnosis {
        let finding = |rule: &str, verdict, detail: &str| Finding {
            rule: rule.to_owned(),
            verdict,
            detail: detail.to_owned(),
            what: "what".to_owned(),
            mend: "mend it".to_owned(),
            source: "https://source".to_owned(),
        };
        Diagnosis {
            name: "aws".to_owned(),
            title: "AWS".to_owned(),
            asks: String::new(),
            forgets: Some("at once".to_owned()),
            findings: vec![
                finding("https", Verdict::Holds, "it is"),
                finding("no-port", Verdict::Fails, "\u{1b}[2J"),
                finding("outside", Verdict::Unchecked, "?"),
            ],
        }
    }

    #[test]
    fn people_see_rules_and_what_to_do_and_no_escapes() {
        assert_eq!(
            table(&[found()]),
            "VERIFIER   RULE      HOLDS   WHAT WAS SEEN\n\
             aws        https     ok      it is\n\
             aws        no-port   FAIL    \\u{1b}[2J\n\
             aws        outside   -       ?\n\
             \n\
             What to do:\n  no-port: mend it (https://source)\n\
             \n\
             A revoked key is forgotten by\n  aws: at once\n"
        );
    }

    #[test]
    fn programs_see_null_for_what_is_not_known() {
        let data = data(Some("https://i"), &[found()]);
        assert_eq!(data["holds"], false);
        let holds: Vec<&Value> =
            data["verifiers"][0]["rules"].as_array().unwrap().iter().map(|rule| &rule["holds"]).collect();
        assert_eq!(holds, [&json!(true), &json!(false), &Value::Null]);
    }
}
