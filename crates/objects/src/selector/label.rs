//! Label selectors (apimachinery `labels/selector.go`).

use serde_json::Value;

use crate::field::go_quote;
use crate::{Object, names};

/// Requirements on labels; all must hold. The empty selector takes everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    DoesNotExist,
    Exists,
    GreaterThan,
    In,
    LessThan,
    NotIn,
}

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`. The error is the message that Kubernetes gives.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        parser.requirements().map(LabelSelector)
    }

    /// Reads a `metav1.LabelSelector` object: `matchLabels` and `matchExpressions`. One that validation would have refused
    /// selects nothing: it is an error, as for upstream's `LabelSelectorAsSelector`.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
        let labels = value["matchLabels"].as_object().into_iter().flatten();
        let mut all: Vec<_> = labels
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: vec![text(value)],
            })
            .collect();
        for expression in value["matchExpressions"].as_array().into_iter().flatten() {
            let values: Vec<String> =
                expression["values"].as_array().into_iter().flatten().map(text).collect();
            let operator = match (expression["operator"].as_str().unwrap_or(""), values.is_empty()) {
                ("In", false) => Operator::In,
                ("NotIn", false) => Operator::NotIn,
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                ("In" | "NotIn", true) => {
                    return Err("for 'in', 'notin' operators, values set can't be empty".into());
                }
                ("Exists" | "DoesNotExist", false) => {
                    return Err("values set must be empty for exists and does not exist".into());
                }
                (other, _) => {
                    return Err(format!("{} is not a valid label selector operator", go_quote(other)));
                }
            };
            all.push(Requirement { key: text(&expression["key"]), operator, values });
        }
        for requirement in &all {
            check("key", &requirement.key, names::qualified(&requirement.key))?;
            for value in &requirement.values {
                check("values", value, names::label_value(value))?;
            }
        }
        Ok(LabelSelector(all))
    }

    /// Whether an object's labels fulfil every requirement.
    pub fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|r| r.holds(object.label(&r.key)))
    }
}

impl Requirement {
    fn holds(&self, found: Option<&str>) -> bool {
        let named = |v: &str| self.values.iter().any(|w| w == v);
        let number = |v: &str| v.parse::<i64>().ok();
        let bound = self.values.first().and_then(|v| number(v));
        match self.operator {
            Operator::In => found.is_some_and(named),
            Operator::NotIn => !found.is_some_and(named),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::GreaterThan => found.and_then(number).zip(bound).is_some_and(|(v, b)| v > b),
            Operator::LessThan => found.and_then(number).zip(bound).is_some_and(|(v, b)| v < b),
        }
    }
}

fn tokens(text: &str) -> Vec<String> {
    const SPECIAL: &str = "=!(),<>";
    let (mut out, mut word) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() || SPECIAL.contains(c) {
            if !word.is_empty() {
                out.push(std::mem::take(&mut word));
            }
            if c.is_whitespace() {
                continue;
            }
            let pair = matches!((c, chars.peek()), ('=' | '!', Some('=')));
            out.push(if pair { format!("{c}{}", chars.next().unwrap_or_default()) } else { c.into() });
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut all = Vec::new();
        if self.peek().is_empty() {
            return Ok(all);
        }
        loop {
            if is_special(self.peek()) && self.peek() != "!" {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", self.peek()));
            }
            all.push(self.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?);
            match self.next().as_str() {
                "" => return Ok(all),
                "," if is_special(self.peek()) && self.peek() != "!" => {
                    return Err(format!("found '{}', expected: identifier after ','", self.peek()));
                }
                "," if self.peek().is_empty() => {
                    return Err("found '', expected: identifier after ','".into());
                }
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek() == "!";
        if negated {
            self.at += 1;
        }
        let key = self.next();
        if key.is_empty() || is_special(&key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        check("<nil>", &key, names::qualified(&key))?;
        if negated {
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: Vec::new() });
        }
        let operator = match self.peek() {
            "" | "," => return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() }),
            "=" | "==" | "in" => Operator::In,
            "!=" | "notin" => Operator::NotIn,
            ">" => Operator::GreaterThan,
            "<" => Operator::LessThan,
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let values = if self.next().ends_with("in") { self.set()? } else { vec![self.exact()?] };
        for value in &values {
            check("values[0][KEY]", value, names::label_value(value)).map_err(|e| e.replace("KEY", &key))?;
        }
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) && values[0].parse::<i64>().is_err()
        {
            return Err(format!(
                "values[0]: Invalid value: {}: for 'Gt', 'Lt' operators, the value must be an integer",
                go_quote(&values[0])
            ));
        }
        Ok(Requirement { key, operator, values })
    }

    fn exact(&mut self) -> Result<String, String> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            token if is_special(token) => Err(format!("found '{token}', expected: identifier")),
            _ => Ok(self.next()),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        match self.next().as_str() {
            "(" => {}
            other => return Err(format!("found '{other}' expected: '('")),
        }
        let mut values = Vec::new();
        loop {
            match self.next().as_str() {
                ")" => return Ok(values),
                "," => values.push(String::new()),
                "" => return Err("found '', expected: ',', or ')'".into()),
                token if is_special(token) => {
                    return Err(format!("found '{token}', expected: ',', ')' or identifier"));
                }
                token => {
                    values.push(token.to_owned());
                    match self.next().as_str() {
                        "," => {}
                        ")" => return Ok(values),
                        other => return Err(format!("found '{other}', expected: ',' or ')'")),
                    }
                }
            }
        }
    }
}

fn is_special(token: &str) -> bool {
    matches!(token, "=" | "==" | "!=" | "!" | "(" | ")" | "," | "<" | ">")
}

fn check(what: &str, text: &str, findings: Vec<String>) -> Result<(), String> {
    match findings.is_empty() {
        true => Ok(()),
        false => Err(format!("{what}: Invalid value: {}: {}", go_quote(text), findings.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn labelled(labels: Value) -> Object {
        Object::from_value(json!({"metadata": {"labels": labels}})).unwrap()
    }

    #[test]
    fn requirements_hold_or_not() {
        let object = labelled(json!({"app": "x", "n": "5", "e": ""}));
        for (text, holds) in [
            ("", true),
            ("app=x", true),
            ("app==x", true),
            ("app = x", true),
            ("app!=x", false),
            ("app!=y", true),
            ("app in (x,y)", true),
            ("app notin (x, y)", false),
            ("other notin (x)", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app=x,n=5", true),
            ("app=x,n=6", false),
            ("n>4", true),
            ("n<4", false),
            ("e=", true),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&object), holds, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["==", "a=b,", "a in x", "a in (x", "a b", "=a", "a=-", "a/b/c=d", "n>x", "a=b=c", ","] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn as_an_object() {
        let value = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d"]}]});
        let selector = LabelSelector::from_value(&value).unwrap();
        assert!(selector.matches(&labelled(json!({"a": "b"}))));
        assert!(!selector.matches(&labelled(json!({"a": "b", "c": "d"}))));
        assert_eq!(LabelSelector::from_value(&json!({})), Ok(LabelSelector::default()));
    }

    #[test]
    fn an_object_that_upstream_cannot_read_is_no_selector() {
        for expression in [
            json!({"key": "a", "operator": "Gt", "values": ["1"]}),
            json!({"key": "a", "operator": "", "values": []}),
            json!({"key": "a", "operator": "exists"}),
            json!({"key": "a"}),
            json!({"key": "a", "operator": "In"}),
            json!({"key": "a", "operator": "NotIn", "values": []}),
            json!({"key": "a", "operator": "Exists", "values": ["b"]}),
            json!({"key": "a/b/c", "operator": "Exists"}),
            json!({"key": "a", "operator": "In", "values": ["-"]}),
        ] {
            let value = json!({"matchExpressions": [expression]});
            assert!(LabelSelector::from_value(&value).is_err(), "{value}");
        }
        assert!(LabelSelector::from_value(&json!({"matchLabels": {"a": "-"}})).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
