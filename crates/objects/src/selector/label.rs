//! Label selectors (apimachinery `labels/selector.go`).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Selectable, SelectorError};
use crate::names;

/// Requirements on labels; all must hold. The empty selector takes everything.
///
/// They are kept by label: an object costs as much as it has labels, however many requirements there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    by_key: HashMap<String, LabelDemands>,
    /// Labels that must be there.
    needed: usize,
}

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
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// It is no selector.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        parser.requirements().map(Self::new)
    }

    /// Reads a `metav1.LabelSelector` object: `matchLabels` and `matchExpressions`. One that validation would have refused
    /// selects nothing: it is an error, as for upstream's `LabelSelectorAsSelector`.
    pub fn from_value(value: &Value) -> Result<Self, SelectorError> {
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
                    return Err(SelectorError::NoValues);
                }
                ("Exists" | "DoesNotExist", false) => {
                    return Err(SelectorError::Values);
                }
                (other, _) => {
                    return Err(SelectorError::Operator(other.into()));
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
        Ok(Self::new(all))
    }

    fn new(all: Vec<Requirement>) -> Self {
        let mut by_key: HashMap<String, LabelDemands> = HashMap::new();
        for requirement in all {
            let Requirement { key, operator, values } = requirement;
            by_key.entry(key).or_default().add(operator, values);
        }
        let needed = by_key.values().filter(|wanted| wanted.there).count();
        LabelSelector { by_key, needed }
    }

    /// What an object must have, to be looked up by: of all labels the one with the fewest values.
    pub(super) fn anchor(&self) -> Anchor<'_> {
        let among = self.by_key.iter().filter_map(|(key, wanted)| Some((key, wanted.among.as_ref()?)));
        if let Some((key, values)) = among.min_by_key(|(_, values)| values.len()) {
            return Anchor::Values(key, values);
        }
        let there = self.by_key.iter().find(|(_, wanted)| wanted.there);
        there.map_or(Anchor::None, |(key, _)| Anchor::Key(key))
    }

    /// Whether an object's labels fulfil every requirement: one walk over them.
    pub fn matches(&self, object: &impl Selectable) -> bool {
        if self.by_key.is_empty() {
            return true;
        }
        let (mut found, mut holds) = (0, true);
        object.labels(&mut |key, value| {
            if let Some(wanted) = self.by_key.get(key).filter(|_| holds) {
                holds = wanted.holds(value);
                found += usize::from(wanted.there);
            }
        });
        holds && found == self.needed
    }
}

/// What an object must have for a selector to take it.
pub(super) enum Anchor<'a> {
    /// This label, with whatever value.
    Key(&'a str),
    /// Nothing.
    None,
    /// This label, with one of these values.
    Values(&'a str, &'a HashSet<String>),
}

/// What all requirements together want of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LabelDemands {
    there: bool,
    absent: bool,
    /// One of these.
    among: Option<HashSet<String>>,
    /// None of these.
    except: HashSet<String>,
    /// A number above this.
    above: Option<i64>,
    /// A number below this.
    below: Option<i64>,
}

impl LabelDemands {
    fn add(&mut self, operator: Operator, values: Vec<String>) {
        let number = values.first().and_then(|value| value.parse::<i64>().ok());
        match operator {
            Operator::DoesNotExist => self.absent = true,
            Operator::Exists => self.there = true,
            Operator::GreaterThan => {
                self.there = true;
                self.above = self.above.max(Some(number.unwrap_or(i64::MAX)));
            }
            Operator::In => {
                self.there = true;
                let values: HashSet<String> = values.into_iter().collect();
                self.among = Some(match self.among.take() {
                    Some(among) => among.into_iter().filter(|value| values.contains(value)).collect(),
                    None => values,
                });
            }
            Operator::LessThan => {
                self.there = true;
                let number = number.unwrap_or(i64::MIN);
                self.below = Some(self.below.map_or(number, |below| below.min(number)));
            }
            Operator::NotIn => self.except.extend(values),
        }
    }

    /// Whether a label that is there fulfils it.
    fn holds(&self, value: &str) -> bool {
        let number = || value.parse::<i64>().ok();
        !self.absent
            && self.among.as_ref().is_none_or(|among| among.contains(value))
            && !self.except.contains(value)
            && self.above.is_none_or(|above| number().is_some_and(|number| number > above))
            && self.below.is_none_or(|below| number().is_some_and(|number| number < below))
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

    fn requirements(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut all = Vec::new();
        if self.peek().is_empty() {
            return Ok(all);
        }
        loop {
            if is_special(self.peek()) && self.peek() != "!" {
                return Err(SelectorError::unexpected(self.peek(), "!, identifier, or 'end of string'"));
            }
            all.push(self.requirement().map_err(|e| SelectorError::Requirement(Box::new(e)))?);
            match self.next().as_str() {
                "" => return Ok(all),
                "," if is_special(self.peek()) && self.peek() != "!" => {
                    return Err(SelectorError::unexpected(self.peek(), "identifier after ','"));
                }
                "," if self.peek().is_empty() => {
                    return Err(SelectorError::unexpected("", "identifier after ','"));
                }
                "," => {}
                other => return Err(SelectorError::unexpected(other, "',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == "!";
        if negated {
            self.at += 1;
        }
        let key = self.next();
        if key.is_empty() || is_special(&key) {
            return Err(SelectorError::unexpected(&key, "identifier"));
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
            other => return Err(SelectorError::unexpected(other, "in, notin, =, ==, !=, gt, lt")),
        };
        let values = if self.next().ends_with("in") { self.set()? } else { vec![self.exact()?] };
        for value in &values {
            check(&format!("values[0][{key}]"), value, names::label_value(value))?;
        }
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) && values[0].parse::<i64>().is_err()
        {
            return Err(SelectorError::NoInteger(values[0].clone()));
        }
        Ok(Requirement { key, operator, values })
    }

    fn exact(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            token if is_special(token) => Err(SelectorError::unexpected(token, "identifier")),
            _ => Ok(self.next()),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next().as_str() {
            "(" => {}
            other => return Err(SelectorError::Parenthesis(other.into())),
        }
        let mut values = Vec::new();
        loop {
            match self.next().as_str() {
                ")" => return Ok(values),
                "," => values.push(String::new()),
                "" => return Err(SelectorError::unexpected("", "',', or ')'")),
                token if is_special(token) => {
                    return Err(SelectorError::unexpected(token, "',', ')' or identifier"));
                }
                token => {
                    values.push(token.to_owned());
                    match self.next().as_str() {
                        "," => {}
                        ")" => return Ok(values),
                        other => return Err(SelectorError::unexpected(other, "',' or ')'")),
                    }
                }
            }
        }
    }
}

fn is_special(token: &str) -> bool {
    matches!(token, "=" | "==" | "!=" | "!" | "(" | ")" | "," | "<" | ">")
}

fn check(what: &str, text: &str, findings: Vec<String>) -> Result<(), SelectorError> {
    match findings.is_empty() {
        true => Ok(()),
        false => Err(SelectorError::Invalid { what: what.into(), text: text.into(), findings }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::Object;

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
            ("app in (x,y),app in (y,z)", false),
            ("app in (x,y),app in (x,z)", true),
            ("n>4,n>3", true),
            ("n>4,n>5", false),
            ("n<6,n<7", true),
            ("n<6,n<5", false),
            ("app,!app", false),
            ("other,!other", false),
            ("app!=y,app!=x", false),
            ("!a,!b,!c,!d,!e2", true),
            ("!a,!b,!c,!d,!e", false),
            ("app,!b,!c,!d,!e2", true),
            ("app,other,n,e", false),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(&object), holds, "{text}");
        }
    }

    /// A list asks its selector of each object of the collection.
    #[test]
    fn an_object_costs_as_much_as_its_own_labels() {
        let requirements: Vec<_> = (0..20_000).map(|n| format!("!k{n},app!=v{n},app notin (w{n})")).collect();
        let selector = LabelSelector::parse(&requirements.join(",")).unwrap();
        assert_eq!(selector.by_key.len(), 20_001);
        let object = labelled(json!({"app": "x", "other": "y"}));
        // Sixty thousand requirements, twenty thousand times, would be a billion looks.
        assert!((0..20_000).all(|_| selector.matches(&object)));
        assert!(!selector.matches(&labelled(json!({"app": "w7"}))));
        assert!(!selector.matches(&labelled(json!({"k19999": ""}))));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["==", "a=b,", "a in x", "a in (x", "a b", "=a", "a=-", "a/b/c=d", "n>x", "a=b=c", ","] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn errors_read_as_upstreams() {
        for (text, want) in [
            ("==", "found '==', expected: !, identifier, or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            ("a=b,=", "found '=', expected: identifier after ','"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in x", "unable to parse requirement: found 'x' expected: '('"),
            ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in (", "unable to parse requirement: found '', expected: ',', or ')'"),
            ("a in (=", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
            ("a==!", "unable to parse requirement: found '!', expected: identifier"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            (
                "n>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), want, "{text}");
        }
        let invalid = LabelSelector::parse("a=-").unwrap_err().to_string();
        assert!(
            invalid.starts_with(
                "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be"
            ),
            "{invalid}"
        );
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
