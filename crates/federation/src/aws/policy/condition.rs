//! Conditions (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>), and those
//! with several values
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>).

use std::collections::HashMap;

use serde_json::Value;

use super::PolicyError;
use super::pattern::Pattern;

/// What is known of a request: values by key. The names of keys are compared without regard to case.
#[derive(Debug, Default)]
pub(crate) struct Context(HashMap<String, Vec<String>>);

impl Context {
    /// A key has these values; a key without any is one that is not there.
    pub(crate) fn set(&mut self, key: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.0.insert(key.to_lowercase(), values);
        }
    }
}

/// One operator with one key.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// As it is written, for logs.
    written: String,
    key: String,
    set: Set,
    negated: bool,
    if_exists: bool,
    test: Test,
}

/// How several values of a key count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    All,
    Any,
    /// Nothing is said: any of them, or, of an operator that negates, none.
    Unsaid,
}

#[derive(Clone, Debug)]
enum Test {
    Equals(Vec<String>),
    /// In lower case.
    EqualsIgnoreCase(Vec<String>),
    Like(Vec<Pattern>),
    /// Whether the key is to be missing.
    Null(bool),
}

impl Condition {
    /// Reads the member `key: values` of an operator.
    pub(super) fn parse(
        operator: &str,
        key: &str,
        values: &Value,
        variables: bool,
    ) -> Result<Self, PolicyError> {
        let place = format!("Condition.{operator}.{key}");
        let values = super::strings(values, &place)?;
        if variables && values.iter().any(|value| value.contains("${")) {
            return Err(PolicyError::new(place, "policy variables are not understood here"));
        }
        let (set, name) = match operator.split_once(':') {
            None => (Set::Unsaid, operator),
            Some(("ForAllValues", name)) => (Set::All, name),
            Some(("ForAnyValue", name)) => (Set::Any, name),
            Some(_) => return Err(unknown(operator)),
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (negated, test) = match name {
            "StringEquals" => (false, Test::Equals(values)),
            "StringNotEquals" => (true, Test::Equals(values)),
            "StringEqualsIgnoreCase" => (false, Test::EqualsIgnoreCase(lower(&values))),
            "StringNotEqualsIgnoreCase" => (true, Test::EqualsIgnoreCase(lower(&values))),
            "StringLike" => (false, Test::Like(patterns(&values))),
            "StringNotLike" => (true, Test::Like(patterns(&values))),
            // There is no NullIfExists: it would always hold.
            "Null" if !if_exists && set == Set::Unsaid => match values.as_slice() {
                [one] if one == "true" => (false, Test::Null(true)),
                [one] if one == "false" => (false, Test::Null(false)),
                _ => return Err(PolicyError::new(place, "Null takes \"true\" or \"false\"")),
            },
            _ => return Err(unknown(operator)),
        };
        let written = format!("{operator} {key}");
        Ok(Condition { written, key: key.to_lowercase(), set, negated, if_exists, test })
    }

    /// Whether it holds. A key that is not there matches nothing, so what negates holds.
    pub(super) fn holds(&self, context: &Context) -> bool {
        let values = context.0.get(&self.key);
        if let Test::Null(missing) = self.test {
            return values.is_none() == missing;
        }
        match (values, self.set) {
            (None, Set::All) => true,
            (None, Set::Any) => false,
            (None, Set::Unsaid) => self.negated || self.if_exists,
            (Some(values), Set::All) => values.iter().all(|value| self.matches(value) != self.negated),
            (Some(values), Set::Any) => values.iter().any(|value| self.matches(value) != self.negated),
            (Some(values), Set::Unsaid) => values.iter().any(|value| self.matches(value)) != self.negated,
        }
    }

    /// How it is written, for logs; and that the request has no such key, which may be misspelt.
    pub(super) fn told(&self, context: &Context) -> String {
        let there = context.0.contains_key(&self.key) || matches!(self.test, Test::Null(_));
        let missing = if there { "" } else { ", a key that the request does not have," };
        format!("{}{missing}", self.written)
    }

    /// Whether one of the policy's values is this one.
    fn matches(&self, value: &str) -> bool {
        match &self.test {
            Test::Equals(texts) => texts.iter().any(|text| text == value),
            Test::EqualsIgnoreCase(texts) => {
                let value = value.to_lowercase();
                texts.contains(&value)
            }
            Test::Like(patterns) => patterns.iter().any(|pattern| pattern.matches(value)),
            Test::Null(_) => false,
        }
    }
}

fn unknown(operator: &str) -> PolicyError {
    let known = "StringEquals, StringNotEquals, StringEqualsIgnoreCase, StringNotEqualsIgnoreCase, StringLike, StringNotLike and Null are, with ForAllValues:, ForAnyValue: and IfExists";
    PolicyError::new(format!("Condition.{operator}"), format!("the operator is not understood here; {known}"))
}

fn lower(values: &[String]) -> Vec<String> {
    values.iter().map(|value| value.to_lowercase()).collect()
}

fn patterns(values: &[String]) -> Vec<Pattern> {
    values.iter().map(|value| Pattern::new(value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Holds what AWS's tables say of one value, several, and none.
    #[test]
    fn operators_as_the_user_guide_has_them() {
        let holds = |operator: &str, wanted: Value, has: &[&str]| {
            let condition = Condition::parse(operator, "Issuer:Key", &wanted, true).unwrap();
            let mut context = Context::default();
            context.set("issuer:key", has.iter().map(ToString::to_string));
            condition.holds(&context)
        };
        for (operator, wanted, has, want) in [
            ("StringEquals", json!("a"), &["a"][..], true),
            ("StringEquals", json!("a"), &["A"], false),
            ("StringEquals", json!(["b", "a"]), &["a"], true),
            ("StringEquals", json!("a"), &[], false),
            ("StringEquals", json!("a*"), &["ab"], false),
            ("StringEqualsIfExists", json!("a"), &[], true),
            ("StringEqualsIfExists", json!("a"), &["b"], false),
            ("StringNotEquals", json!(["a", "b"]), &["b"], false),
            ("StringNotEquals", json!(["a", "b"]), &["c"], true),
            ("StringNotEquals", json!("a"), &[], true),
            ("StringEqualsIgnoreCase", json!("aB"), &["Ab"], true),
            ("StringNotEqualsIgnoreCase", json!("aB"), &["Ab"], false),
            ("StringLike", json!("a*"), &["ab"], true),
            ("StringLike", json!(["x", "a?"]), &["abc"], false),
            ("StringNotLike", json!("a*"), &["ab"], false),
            ("StringNotLike", json!("a*"), &["b"], true),
            ("ForAnyValue:StringEquals", json!(["a", "b"]), &["c", "b"], true),
            ("ForAnyValue:StringEquals", json!(["a", "b"]), &["c"], false),
            ("ForAnyValue:StringEquals", json!("a"), &[], false),
            ("ForAnyValue:StringLikeIfExists", json!("a*"), &[], false),
            ("ForAnyValue:StringNotEquals", json!("a"), &["a", "b"], true),
            ("ForAnyValue:StringNotEquals", json!("a"), &["a"], false),
            ("ForAllValues:StringEquals", json!(["a", "b"]), &["a", "b"], true),
            ("ForAllValues:StringEquals", json!(["a", "b"]), &["a", "c"], false),
            ("ForAllValues:StringEquals", json!("a"), &[], true),
            ("ForAllValues:StringNotEquals", json!("a"), &["b", "c"], true),
            ("ForAllValues:StringNotEquals", json!("a"), &["a", "c"], false),
            ("Null", json!("true"), &[], true),
            ("Null", json!("true"), &["a"], false),
            ("Null", json!(false), &["a"], true),
        ] {
            assert_eq!(holds(operator, wanted.clone(), has), want, "{operator} {wanted} {has:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for operator in [
            "StringMatches",
            "NumericEquals",
            "ForEach:StringEquals",
            "NullIfExists",
            "stringequals",
            "ForAnyValue:Null",
        ] {
            let error = Condition::parse(operator, "a:b", &json!("true"), true).unwrap_err().to_string();
            assert!(error.contains("not understood"), "{error}");
        }
        assert!(Condition::parse("StringEquals", "a:b", &json!("${aws:x}"), true).is_err());
        assert!(Condition::parse("StringEquals", "a:b", &json!("${aws:x}"), false).is_ok());
        assert!(Condition::parse("Null", "a:b", &json!("yes"), true).is_err());
        assert!(Condition::parse("StringEquals", "a:b", &json!({}), true).is_err());
    }
}
