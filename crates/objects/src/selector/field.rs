//! Field selectors: per kind, only the labels that Kubernetes supports.

use crate::Object;
use crate::schema::Kind;

/// Requirements on fields; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<(String, bool, String)>);

impl FieldSelector {
    /// Parses `metadata.name=a,spec.nodeName!=b` for a kind. The error is the message that Kubernetes gives.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, String> {
        let mut all = Vec::new();
        for term in split(text) {
            if term.is_empty() {
                continue;
            }
            let (label, equal, value) = operator(&term)
                .ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{term}'"))?;
            if !supported(kind).contains(&label.as_str()) {
                return Err(format!("field label not supported: {label}"));
            }
            all.push((label, equal, unescape(&value)?));
        }
        Ok(FieldSelector(all))
    }

    /// Whether an object's fields fulfil every requirement.
    pub fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|(label, equal, value)| (field(object, label) == *value) == *equal)
    }

    /// The one name that is asked for, if the selector asks for exactly one: authorization then treats a list
    /// as a request for that name.
    pub fn name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(label, equal, _)| label == "metadata.name" && *equal)
            .map(|(_, _, value)| value.as_str())
    }
}

fn supported(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.hostNetwork",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
            "status.podIPs",
        ],
        ("", "secrets") => &["metadata.name", "metadata.namespace", "type"],
        ("", "namespaces") => &["metadata.name", "metadata.namespace", "name", "status.phase"],
        ("", "nodes") => &["metadata.name", "metadata.namespace", "spec.unschedulable"],
        ("certificates.k8s.io", "clustertrustbundles") => &["metadata.name", "spec.signerName"],
        _ => &["metadata.name", "metadata.namespace"],
    }
}

fn field(object: &Object, label: &str) -> String {
    let label = if label == "name" { "metadata.name" } else { label };
    let path: Vec<_> = label.split('.').collect();
    match object.at(&path) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Bool(set)) => set.to_string(),
        _ if matches!(label, "spec.unschedulable" | "spec.hostNetwork") => "false".into(),
        _ => String::new(),
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

fn unescape(text: &str) -> Result<String, String> {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                _ => return Err(format!("invalid field selector: invalid escape sequence in value: {text}")),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::kind;

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
        ] {
            assert_eq!(FieldSelector::parse(pods, text).unwrap().matches(&pod), holds, "{text}");
        }
        assert_eq!(
            FieldSelector::parse(maps, "spec.nodeName=n").unwrap_err(),
            "field label not supported: spec.nodeName"
        );
        assert!(
            FieldSelector::parse(pods, "metadata.name")
                .unwrap_err()
                .contains("can't understand 'metadata.name'")
        );
        assert_eq!(FieldSelector::parse(pods, "metadata.name=a").unwrap().name(), Some("a"));
        let bundles = kind("certificates.k8s.io", "clustertrustbundles").unwrap();
        let bundle = Object::from_value(json!({"spec": {"signerName": "a.b/c"}})).unwrap();
        assert!(FieldSelector::parse(bundles, "spec.signerName=a.b/c").unwrap().matches(&bundle));
        assert!(!FieldSelector::parse(bundles, "spec.signerName=").unwrap().matches(&bundle));
        assert!(FieldSelector::parse(bundles, "metadata.namespace=a").is_err());
    }
}
