//! Field selectors: per kind, only the labels that Kubernetes supports.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::{Selectable, SelectorError};
use crate::schema::{Field, Kind, Shape};

/// One requirement on a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's label, e.g. `spec.nodeName`.
    pub field: String,
    /// Whether the field must have the value, or must not.
    pub equal: bool,
    /// The value.
    pub value: String,
}

impl FieldRequirement {
    /// Parses `metadata.name=a,spec.nodeName!=b` for whatever kind, in upstream's order.
    ///
    /// # Errors
    /// It is no selector.
    pub fn parse(text: &str) -> Result<Vec<Self>, SelectorError> {
        let mut terms = split(text);
        terms.sort_unstable();
        let terms = terms.into_iter().filter(|term| !term.is_empty());
        let read = |term: String| {
            let without = || SelectorError::Term { selector: text.into(), term: term.clone() };
            let (field, equal, value) = operator(&term).ok_or_else(without)?;
            Ok(FieldRequirement { field, equal, value: unescape(&value)? })
        };
        // A term of nothing takes everything.
        let says =
            |read: &Result<Self, _>| !matches!(read, Ok(r) if r.field.is_empty() && r.value.is_empty());
        terms.map(read).filter(says).collect()
    }
}

/// Requirements on fields; all must hold. They are kept by field: an object costs as much as the fields that a kind can be
/// selected by, however many requirements there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(BTreeMap<String, FieldDemands>);

/// What all requirements together want of one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct FieldDemands {
    equal: BTreeSet<String>,
    unequal: HashSet<String>,
    /// What an object has that has not got the field.
    zero: &'static str,
}

/// What objects of every kind are selected by.
const DEFAULT: [&str; 2] = ["metadata.name", "metadata.namespace"];

impl FieldSelector {
    /// Parses `metadata.name=a,spec.nodeName!=b` for a kind.
    ///
    /// # Errors
    /// It is no selector, or names a field that the kind is not selected by.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, SelectorError> {
        let all = FieldRequirement::parse(text)?;
        let mut by_field: BTreeMap<String, FieldDemands> = BTreeMap::new();
        for FieldRequirement { field, equal, value } in all {
            if !kind.selectable.contains(&field) {
                if let Some(text) = kind.rules().unselectable(kind, &field) {
                    return Err(SelectorError::Unselectable(text));
                }
                // A kind with fields of its own has words of its own (`AddFieldLabelConversionFunc`).
                let own = kind.selectable.iter().any(|field| !DEFAULT.contains(&field.as_str()));
                return Err(if own { SelectorError::Unsupported } else { SelectorError::Unknown }(field));
            }
            let path = kind.rules().field(&field);
            let wanted = by_field.entry(path.to_owned()).or_default();
            wanted.zero = zero(kind, path);
            let _ = if equal { wanted.equal.insert(value) } else { wanted.unequal.insert(value) };
        }
        Ok(FieldSelector(by_field))
    }

    /// The fields that it asks for.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The one value that a field must have.
    pub fn wanted(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.equal.first().map(String::as_str)
    }

    /// Whether an object's fields fulfil every requirement.
    pub fn matches(&self, object: &impl Selectable) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let value = field(object, name).unwrap_or_else(|| wanted.zero.to_owned());
            let equal = match wanted.equal.len() {
                0 => true,
                1 => wanted.equal.contains(&value),
                // It cannot have two values.
                _ => false,
            };
            equal && !wanted.unequal.contains(&value)
        })
    }
}

fn field(object: &impl Selectable, label: &str) -> Option<String> {
    let path: Vec<_> = label.split('.').collect();
    match object.field(&path).as_deref() {
        Some(Value::String(text)) => Some(text.clone()),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
        _ => None,
    }
}

/// What stands for a field that an object has not got: Go's zero.
fn zero(kind: &Kind, label: &str) -> &'static str {
    let (parents, last) = label.rsplit_once('.').unwrap_or(("", label));
    let parents = parents.split('.').filter(|name| !name.is_empty());
    let holder = parents.into_iter().try_fold(kind.message(), |of, name| of.message(of.field(name)?));
    match holder.as_ref().and_then(|of| of.field(last)) {
        Some(Field { shape: Shape::Bool, pointer: false, .. }) => "false",
        Some(Field { shape: Shape::Int32 | Shape::Int64, pointer: false, .. }) => "0",
        _ => "",
    }
}

/// Splits at commas that no backslash escapes.
fn split(text: &str) -> Vec<String> {
    let (mut out, mut term, mut escaped) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            ',' if !escaped => out.push(std::mem::take(&mut term)),
            c => term.push(c),
        }
        escaped = !escaped && c == '\\';
    }
    out.push(term);
    out
}

fn operator(term: &str) -> Option<(String, bool, String)> {
    let (mut escaped, bytes) = (false, term.as_bytes());
    for (at, c) in bytes.iter().enumerate() {
        if !escaped {
            for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
                if term.as_bytes()[at..].starts_with(operator.as_bytes()) {
                    return Some((term[..at].into(), equal, term[at + operator.len()..].into()));
                }
            }
        }
        escaped = !escaped && *c == b'\\';
    }
    None
}

fn unescape(text: &str) -> Result<String, SelectorError> {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                _ => return Err(SelectorError::Escape(text.into())),
            },
            ',' | '=' => return Err(SelectorError::Unescaped(c)),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Object;
    use crate::schema::kind;

    #[test]
    fn requirements_of_any_kind() {
        let parsed = |text: &str| {
            let all = FieldRequirement::parse(text);
            all.map(|all| all.into_iter().map(|r| (r.field, r.equal, r.value)).collect::<Vec<_>>())
        };
        let one = |field: &str, equal, value: &str| (field.to_owned(), equal, value.to_owned());
        assert_eq!(parsed(""), Ok(vec![]));
        assert_eq!(
            parsed("b!=x,,a=1"),
            Ok(vec![one("a", true, "1"), one("b", false, "x")]),
            "sorted as upstream"
        );
        assert_eq!(parsed("a==1"), Ok(vec![one("a", true, "1")]));
        assert_eq!(parsed("a=x\\,y\\=z"), Ok(vec![one("a", true, "x,y=z")]));
        assert_eq!(parsed("=x"), Ok(vec![one("", true, "x")]));
        assert_eq!(parsed("=,!=,a=1"), Ok(vec![one("a", true, "1")]), "nothing is asked of no field");
        for bad in ["a", "a=1,b", "a=b=c", "a=\\x", "a in (b)"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn supported_fields_only() {
        let (pods, maps) = (kind("", "pods").unwrap(), kind("", "configmaps").unwrap());
        let pod = Object::from_value(json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}})).unwrap();
        for (text, holds) in [
            ("metadata.name=a", true),
            ("metadata.name==b", false),
            ("spec.nodeName!=n", false),
            ("status.phase=", true),
            ("", true),
            ("metadata.name=a,metadata.name=a", true),
            ("metadata.name=a,metadata.name=b", false),
            ("metadata.name!=b,metadata.name!=c", true),
            ("metadata.name!=b,metadata.name!=a", false),
            ("metadata.name=a,metadata.name!=a", false),
        ] {
            assert_eq!(FieldSelector::parse(pods, text).unwrap().matches(&pod), holds, "{text}");
        }
        let refused = |kind, text| FieldSelector::parse(kind, text).unwrap_err().to_string();
        assert_eq!(refused(pods, "spec.host=n"), "field label not supported: spec.host");
        assert_eq!(
            refused(maps, "spec.nodeName=n"),
            r#""spec.nodeName" is not a known field selector: only "metadata.name", "metadata.namespace""#
        );
        assert!(
            FieldSelector::parse(pods, "metadata.name")
                .unwrap_err()
                .to_string()
                .contains("can't understand 'metadata.name'")
        );
        let bundles = kind("certificates.k8s.io", "clustertrustbundles").unwrap();
        let bundle = Object::from_value(json!({"spec": {"signerName": "a.b/c"}})).unwrap();
        assert!(FieldSelector::parse(bundles, "spec.signerName=a.b/c").unwrap().matches(&bundle));
        assert!(!FieldSelector::parse(bundles, "spec.signerName=").unwrap().matches(&bundle));
        assert!(FieldSelector::parse(bundles, "metadata.namespace=a").is_err());
    }
}
