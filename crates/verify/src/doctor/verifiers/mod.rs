//! The verifiers that are known, one file each, and the words of each kind of rule. Read when they are asked for.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::checks::Check;

/// A verifier and its rules.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// Its name on the command line.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Under which other names it is asked for, together with others.
    pub groups: Vec<String>,
    /// How it comes to the keys.
    pub asks: String,
    /// Its row in `core::keys::verifiers::FAMILIES`, by how it begins.
    pub keys: Option<String>,
    /// In the order of looking.
    pub rules: Vec<Rule>,
}

/// One rule of a verifier.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name of its kind, which is unique within a verifier.
    pub id: String,
    /// What must hold, in one sentence.
    pub what: String,
    /// What to do where it does not.
    pub mend: String,
    /// Where that is written.
    pub source: String,
    /// How it is known.
    pub check: Check,
}

/// A file that is not what it must be; a test reads all of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {why}")]
pub struct BadRules {
    file: &'static str,
    why: String,
}

const KINDS: &str = include_str!("kinds.yaml");

/// All of them, and what every one relies on as the first.
const FILES: &[(&str, &str)] = &[
    ("issuer", include_str!("issuer.yaml")),
    ("vault-jwt", include_str!("vault-jwt.yaml")),
    ("vault-kubernetes", include_str!("vault-kubernetes.yaml")),
    ("aws", include_str!("aws.yaml")),
    ("gcp", include_str!("gcp.yaml")),
    ("azure", include_str!("azure.yaml")),
    ("istio", include_str!("istio.yaml")),
    ("envoy", include_str!("envoy.yaml")),
    ("oauth2-proxy", include_str!("oauth2-proxy.yaml")),
    ("go-oidc", include_str!("go-oidc.yaml")),
    ("go-oidc-2", include_str!("go-oidc-2.yaml")),
    ("kube-apiserver-oidc", include_str!("kube-apiserver-oidc.yaml")),
    ("kube-apiserver", include_str!("kube-apiserver.yaml")),
    ("spring", include_str!("spring.yaml")),
    ("nimbus", include_str!("nimbus.yaml")),
    ("pyjwt", include_str!("pyjwt.yaml")),
    ("authlib", include_str!("authlib.yaml")),
    ("joserfc", include_str!("joserfc.yaml")),
    ("python-jose", include_str!("python-jose.yaml")),
    ("jose", include_str!("jose.yaml")),
    ("jwks-rsa", include_str!("jwks-rsa.yaml")),
    ("openidconnect", include_str!("openidconnect.yaml")),
];

/// What every verifier relies on, as if it were one.
pub const ISSUER: &str = "issuer";

/// The names there are.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// The verifiers of these names, groups' names and `all` among them; `Err` with the first that nobody has.
///
/// # Errors
/// See above. The inner error is a fault of the program.
pub fn chosen(wanted: &[String]) -> Result<Vec<Verifier>, Result<String, BadRules>> {
    let all = all().map_err(Err)?;
    let named = |verifier: &Verifier, name: &String| {
        name == "all" || *name == verifier.name || verifier.groups.contains(name)
    };
    if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|verifier| named(verifier, name))) {
        return Err(Ok(unknown.clone()));
    }
    Ok(all.into_iter().filter(|verifier| wanted.iter().any(|name| named(verifier, name))).collect())
}

/// All of them.
///
/// # Errors
/// A file of the program's own is at fault.
pub fn all() -> Result<Vec<Verifier>, BadRules> {
    let kinds = object("kinds", KINDS)?;
    FILES.iter().map(|(name, text)| read(name, text, &kinds)).collect()
}

fn object(file: &'static str, text: &str) -> Result<Map<String, Value>, BadRules> {
    match tokensmith_api::yaml::parse(text.as_bytes()) {
        Ok(parsed) => match parsed.value {
            Value::Object(map) => Ok(map),
            _ => Err(BadRules { file, why: "it is no map".into() }),
        },
        Err(why) => Err(BadRules { file, why: why.to_string() }),
    }
}

fn read(file: &'static str, text: &str, kinds: &Map<String, Value>) -> Result<Verifier, BadRules> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        name: String,
        title: String,
        source: String,
        #[serde(default)]
        groups: Vec<String>,
        asks: String,
        keys: Option<String>,
        rules: Vec<Map<String, Value>>,
    }
    let bad = |why: String| BadRules { file, why };
    let read: File =
        serde_json::from_value(Value::Object(object(file, text)?)).map_err(|e| bad(e.to_string()))?;
    if read.name != file {
        return Err(bad(format!("it calls itself {}", read.name)));
    }
    let rules = read.rules.into_iter().map(|rule| self::rule(rule, &read.source, kinds).map_err(bad));
    Ok(Verifier {
        rules: rules.collect::<Result<_, _>>()?,
        name: read.name,
        title: read.title,
        groups: read.groups,
        asks: read.asks,
        keys: read.keys,
    })
}

fn rule(mut raw: Map<String, Value>, source: &str, kinds: &Map<String, Value>) -> Result<Rule, String> {
    let own = raw.remove("source");
    let source = own.as_ref().and_then(Value::as_str).unwrap_or(source).to_owned();
    let id = raw.get("check").and_then(Value::as_str).ok_or("a rule has no check")?.to_owned();
    let words = |name: &str| {
        let text = kinds.get(&id).and_then(|kind| kind.get(name)).and_then(Value::as_str);
        text.map(|text| filled(text, &raw)).ok_or(format!("{id} has no {name}"))
    };
    let (what, mend) = (words("what")?, words("mend")?);
    let check = serde_json::from_value(Value::Object(raw)).map_err(|e| format!("{id}: {e}"))?;
    Ok(Rule { id, what, mend, source, check })
}

/// A sentence with the rule's parameters in it.
fn filled(text: &str, parameters: &Map<String, Value>) -> String {
    parameters.iter().fold(text.to_owned(), |text, (name, value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        text.replace(&format!("{{{name}}}"), &value)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokensmith_core::keys::verifiers::FAMILIES;

    use super::*;

    #[test]
    fn every_file_is_read_and_every_sentence_filled() {
        let all = all().unwrap();
        assert_eq!(all.len(), FILES.len());
        let mut used = BTreeSet::new();
        for verifier in &all {
            let mut ids = BTreeSet::new();
            for rule in &verifier.rules {
                assert!(ids.insert(rule.id.clone()), "{}: {} is there twice", verifier.name, rule.id);
                assert!(!rule.what.contains('{') && !rule.mend.contains('{'), "{}: {}", rule.what, rule.mend);
                assert!(rule.source.starts_with("https://"), "{}", rule.source);
            }
            used.append(&mut ids);
            if let Some(family) = &verifier.keys {
                let rows = FAMILIES.iter().filter(|row| row.name.starts_with(family)).count();
                assert_eq!(rows, 1, "{}: {family}", verifier.name);
            }
        }
        let kinds: BTreeSet<String> = object("kinds", KINDS).unwrap().keys().cloned().collect();
        assert_eq!(used, kinds);
    }

    #[test]
    fn groups_and_names_are_found() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            chosen(&names).map(|found| found.into_iter().map(|v| v.name).collect::<Vec<_>>())
        };
        assert_eq!(of(&["vault"]).unwrap(), ["vault-jwt", "vault-kubernetes"]);
        assert_eq!(of(&["pyjwt", "cloud", "pyjwt"]).unwrap(), ["aws", "gcp", "azure", "pyjwt"]);
        assert_eq!(of(&["all"]).unwrap().len(), FILES.len());
        assert_eq!(of(&["vault", "keycloak"]).unwrap_err(), Ok("keycloak".to_owned()));
    }
}
