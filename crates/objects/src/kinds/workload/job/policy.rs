//! When a job has failed or succeeded before all of its pods have: `podFailurePolicy` and `successPolicy`
//! (`pkg/apis/batch/validation`).

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::field::{FieldError, Findings, go_quote};
use crate::kinds::look::{list, number, some, text};
use crate::names;
use crate::path::Path;
use crate::validate::not_negative;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const MOST_RULES: usize = 20;
const MOST_PATTERNS: usize = 20;
const MOST_CODES: usize = 255;
const LONGEST_INDEXES: usize = 64 * 1024;

/// Says what is wrong without showing it.
pub(super) fn bare(errors: &mut Findings, at: &Path<'_>, detail: &str) {
    errors.push(|| FieldError {
        message: format!("Invalid value: {detail}"),
        ..FieldError::invalid(at, &Value::Null, "")
    });
}

fn at_most(errors: &mut Findings, at: &Path<'_>, count: usize, most: usize) {
    if count > most {
        errors.push(|| FieldError::too_many(at, count, most));
    }
}

/// As Go quotes a list of words.
fn valid(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| go_quote(word)).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

fn one_of(errors: &mut Findings, at: &Path<'_>, word: &str, known: &[&str]) {
    match word {
        "" => errors.required(at, &valid(known)),
        word if !known.contains(&word) => errors.not_supported(at, word, known),
        _ => {}
    }
}

pub(super) fn failure(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let Some(policy) = some(spec, "podFailurePolicy") else { return };
    let at = at.child("podFailurePolicy.rules");
    let rules = list(policy, "rules");
    at_most(errors, &at, rules.len(), MOST_RULES);
    let pod = &spec["template"]["spec"];
    let containers = list(pod, "containers").iter().chain(list(pod, "initContainers"));
    let containers: HashSet<&str> = containers.map(|container| text(container, "name")).collect();
    for (index, rule) in rules.iter().enumerate() {
        let (at, action) = (&at.index(index), text(rule, "action"));
        if action == "FailIndex" && spec["backoffLimitPerIndex"].is_null() {
            let detail = "requires the backoffLimitPerIndex to be set";
            errors.invalid(&at.child("action"), action, detail);
        } else {
            one_of(errors, &at.child("action"), action, &ACTIONS);
        }
        let (codes, patterns) = (some(rule, "onExitCodes"), list(rule, "onPodConditions"));
        if let Some(codes) = codes {
            exit_codes(errors, &at.child("onExitCodes"), codes, &containers);
        }
        pod_conditions(errors, &at.child("onPodConditions"), patterns);
        match (codes, patterns.is_empty()) {
            (Some(_), false) => {
                bare(errors, at, "specifying both OnExitCodes and OnPodConditions is not supported");
            }
            (None, true) => {
                bare(errors, at, "specifying one of OnExitCodes and OnPodConditions is required");
            }
            _ => {}
        }
    }
}

fn exit_codes(errors: &mut Findings, at: &Path<'_>, codes: &Value, containers: &HashSet<&str>) {
    let operator = text(codes, "operator");
    one_of(errors, &at.child("operator"), operator, &["In", "NotIn"]);
    if let Some(name) = codes["containerName"].as_str().filter(|name| !containers.contains(name)) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&at.child("containerName"), name, detail);
    }
    let (at, values) = (&at.child("values"), list(codes, "values"));
    if values.is_empty() {
        errors.invalid(at, json!([]), "at least one value is required");
    }
    at_most(errors, at, values.len(), MOST_CODES);
    let (mut seen, mut ordered, mut before) = (HashSet::new(), true, i64::MIN);
    for (index, code) in values.iter().enumerate().filter_map(|(index, code)| Some((index, code.as_i64()?))) {
        if operator == "In" && code == 0 {
            errors.invalid(&at.index(index), code, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(&at.index(index), code);
        }
        ordered &= before <= code;
        before = code;
    }
    if !ordered {
        errors.invalid(at, &codes["values"], "must be ordered");
    }
}

fn pod_conditions(errors: &mut Findings, at: &Path<'_>, patterns: &[Value]) {
    at_most(errors, at, patterns.len(), MOST_PATTERNS);
    for (index, pattern) in patterns.iter().enumerate() {
        let (at, kind) = (&at.index(index), text(pattern, "type"));
        errors.each(&at.child("type"), kind, names::qualified(kind));
        one_of(errors, &at.child("status"), text(pattern, "status"), &["False", "True", "Unknown"]);
    }
}

pub(super) fn success(errors: &mut Findings, at: &Path<'_>, spec: &Value) {
    let Some(policy) = some(spec, "successPolicy") else { return };
    let at = &at.child("successPolicy");
    if spec["completionMode"] != "Indexed" {
        return errors.invalid(at, internal(policy), "requires indexed completion mode");
    }
    let (at, rules) = (&at.child("rules"), list(policy, "rules"));
    if rules.is_empty() {
        errors.required(at, "at least one rules must be specified when the successPolicy is specified");
    }
    at_most(errors, at, rules.len(), MOST_RULES);
    // Without completions an indexed job is wrong anyway.
    let completions = number(spec, "completions").unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        success_rule(errors, &at.index(index), rule, completions);
    }
}

fn success_rule(errors: &mut Findings, at: &Path<'_>, rule: &Value, completions: i64) {
    let (count, wanted) = (number(rule, "succeededCount"), rule["succeededIndexes"].as_str());
    if count.is_none() && wanted.is_none() {
        errors.required(at, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if let Some(wanted) = wanted {
        let at = &at.child("succeededIndexes");
        if wanted.len() > LONGEST_INDEXES {
            errors.too_long(at, LONGEST_INDEXES);
        }
        match indexes(wanted, completions) {
            Ok(all) => total = all,
            Err(cause) => errors.invalid(at, wanted, format!("error parsing succeededIndexes: {cause}")),
        }
    }
    let Some(count) = count else { return };
    let at = &at.child("succeededCount");
    not_negative(errors, at, count);
    if count > completions {
        let detail =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(at, count, detail);
    }
    if wanted.is_some() && count > total {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(at, count, detail);
    }
}

/// As upstream shows its own type of it.
fn internal(policy: &Value) -> Value {
    let or_null = |rule: &Value, field: &str| rule.get(field).cloned().unwrap_or_default();
    let shown = |rule: &Value| {
        let mut shown = Map::new();
        shown.insert("SucceededIndexes".into(), or_null(rule, "succeededIndexes"));
        shown.insert("SucceededCount".into(), or_null(rule, "succeededCount"));
        Value::Object(shown)
    };
    let rules = policy["rules"].as_array().map(|rules| rules.iter().map(shown).collect::<Vec<_>>());
    json!({ "Rules": rules })
}

/// How many indexes a list of intervals has (`0,2-4`); or why it is none.
pub(super) fn indexes(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0i64, None);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, end) = interval(part, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        total = total.saturating_add(end.saturating_sub(first)).saturating_add(1);
        last = Some(end);
    }
    Ok(total)
}

/// The first and the last index of an interval.
pub(super) fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let index = |text: &str| {
        let index = text.parse::<i64>();
        let index =
            index.map_err(|_| format!("cannot convert string to integer for index: {}", go_quote(text)))?;
        if index >= completions {
            return Err(format!("too large index: {}", go_quote(text)));
        }
        Ok(index)
    };
    let Some((first, last)) = part.split_once('-') else {
        let only = index(part)?;
        return Ok((only, only));
    };
    if last.contains('-') {
        return Err(format!(
            "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
            go_quote(part)
        ));
    }
    let (first, last) = (index(first)?, index(last)?);
    if first >= last {
        return Err(format!("non-increasing order, previous: {first}, current: {last}"));
    }
    Ok((first, last))
}
