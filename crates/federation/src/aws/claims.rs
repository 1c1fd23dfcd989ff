//! Claims that say what AWS should do with a token: session tags and the source identity
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_adding-assume-role-idp>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html>). Each needs an action of its
//! own to be allowed.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::arn::is_of_name;
use super::error::Refusal;
use super::policy::Context;

const TAGS: &str = "https://aws.amazon.com/tags";
const FLATTENED: &str = "https://aws.amazon.com/tags/";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MOST_TAGS: usize = 50;

/// What a token demands besides a session.
#[derive(Debug, Default)]
pub(super) struct Demands {
    tags: Vec<(String, String)>,
    transitive: Vec<String>,
    source_identity: Option<String>,
}

impl Demands {
    /// Reads the claims. What is there and cannot be read is refused.
    pub(super) fn read(claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut demands = Demands::default();
        if let Some(tags) = claims.get(TAGS) {
            demands.nested(tags).ok_or_else(|| unreadable(TAGS))?;
        }
        // The flattened form, a claim for each tag. Who names a tag in both has not said which counts; so the words are ours.
        for (name, value) in claims {
            let Some(member) = name.strip_prefix(FLATTENED) else { continue };
            let read = match member.split_once('/') {
                Some(("principal_tags", key)) => {
                    value.as_str().or_else(|| one(value)).and_then(|value| demands.tag(key, value))
                }
                None if member == "transitive_tag_keys" => demands.transitive(value),
                _ => None,
            };
            read.ok_or_else(|| unreadable(name))?;
        }
        demands.check().ok_or_else(|| unreadable(TAGS))?;
        if let Some(identity) = claims.get(SOURCE_IDENTITY) {
            let fits = |text: &&str| (2..=64).contains(&text.len()) && text.bytes().all(is_of_name);
            let text = identity.as_str().filter(fits).ok_or_else(|| unreadable(SOURCE_IDENTITY))?;
            demands.source_identity = Some(text.to_owned());
        }
        Ok(demands)
    }

    /// `{"principal_tags": {KEY: [VALUE]}, "transitive_tag_keys": [KEY]}`
    fn nested(&mut self, tags: &Value) -> Option<()> {
        let tags = tags.as_object()?;
        if tags.keys().any(|name| name != "principal_tags" && name != "transitive_tag_keys") {
            return None;
        }
        for (key, value) in tags.get("principal_tags")?.as_object()? {
            self.tag(key, one(value)?)?;
        }
        tags.get("transitive_tag_keys").map_or(Some(()), |keys| self.transitive(keys))
    }

    /// A tag.
    fn tag(&mut self, key: &str, value: &str) -> Option<()> {
        let fits = (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256;
        let full = self.tags.len() >= MOST_TAGS;
        (fits && !full).then(|| self.tags.push((key.to_owned(), value.to_owned())))
    }

    /// Keys of tags that go on with the session.
    fn transitive(&mut self, keys: &Value) -> Option<()> {
        for key in keys.as_array()? {
            self.transitive.push(key.as_str()?.to_owned());
        }
        Some(())
    }

    /// Each tag is there once ("you cannot pass the same key twice", without regard to case), and those that go on are there.
    fn check(&self) -> Option<()> {
        let mut keys = HashSet::with_capacity(self.tags.len());
        let once = self.tags.iter().all(|(key, _)| keys.insert(key.to_lowercase()));
        let known: HashSet<&str> = self.tags.iter().map(|(key, _)| key.as_str()).collect();
        (once && self.transitive.iter().all(|key| known.contains(key.as_str()))).then_some(())
    }

    /// What must be allowed.
    pub(super) fn actions(&self) -> impl Iterator<Item = &'static str> {
        let tags = (!self.tags.is_empty()).then_some("sts:TagSession");
        let identity = self.source_identity.is_some().then_some("sts:SetSourceIdentity");
        tags.into_iter().chain(identity)
    }

    /// Puts into the context what conditions may ask for.
    pub(super) fn tell(&self, context: &mut Context) {
        for (key, value) in &self.tags {
            context.set(&format!("aws:RequestTag/{key}"), [value.clone()]);
        }
        context.set("aws:TagKeys", self.tags.iter().map(|(key, _)| key.clone()));
        context.set("sts:TransitiveTagKeys", self.transitive.iter().cloned());
        context.set("sts:SourceIdentity", self.source_identity.clone());
    }

    /// Who is behind the session.
    pub(super) fn source_identity(&self) -> Option<&str> {
        self.source_identity.as_deref()
    }
}

/// The one text of a list.
fn one(list: &Value) -> Option<&str> {
    match list.as_array()?.as_slice() {
        [value] => value.as_str(),
        _ => None,
    }
}

/// The words are ours.
fn unreadable(claim: &str) -> Refusal {
    Refusal::token(format!("The claim {claim} cannot be read"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_and_identities_are_read_or_refused() {
        let read = |claims: Value| Demands::read(claims.as_object().unwrap());
        assert_eq!(read(json!({})).unwrap().actions().count(), 0);
        let both = json!({
            TAGS: {"principal_tags": {"team": ["pay"]}, "transitive_tag_keys": ["team"]},
            SOURCE_IDENTITY: "alice@example.com",
        });
        let demands = read(both).unwrap();
        assert_eq!(demands.actions().collect::<Vec<_>>(), ["sts:TagSession", "sts:SetSourceIdentity"]);
        assert_eq!(demands.source_identity(), Some("alice@example.com"));
        // The flattened form: a key may have strokes of its own.
        let flat = json!({
            "https://aws.amazon.com/tags/principal_tags/team": "pay",
            "https://aws.amazon.com/tags/principal_tags/a/b": ["c"],
            "https://aws.amazon.com/tags/transitive_tag_keys": ["team"],
        });
        let demands = read(flat).unwrap();
        assert_eq!(demands.actions().collect::<Vec<_>>(), ["sts:TagSession"]);
        let mut tags = demands.tags.clone();
        tags.sort();
        assert_eq!(
            tags,
            [("a/b".into(), "c".into()), ("team".into(), "pay".into())] as [(String, String); 2]
        );
        assert_eq!(demands.transitive, ["team"]);
        for wrong in [
            json!({TAGS: {"principal_tags": {"team": "pay"}}}),
            json!({TAGS: {"principal_tags": {"team": ["a", "b"]}}}),
            json!({TAGS: {"principal_tags": {}, "transitive_tag_keys": ["x"]}}),
            json!({TAGS: []}),
            json!({TAGS: {}}),
            json!({TAGS: {"principal_tags": {}, "more": 1}}),
            json!({TAGS: {"principal_tags": {"team": ["a"], "Team": ["b"]}}}),
            json!({TAGS: {"principal_tags": {"team": ["a"]}}, "https://aws.amazon.com/tags/principal_tags/team": "a"}),
            json!({"https://aws.amazon.com/tags/principal_tags/team": 7}),
            json!({"https://aws.amazon.com/tags/principal_tags/": "pay"}),
            json!({"https://aws.amazon.com/tags/transitive_tag_keys": ["team"]}),
            json!({"https://aws.amazon.com/tags/transitive_tag_keys": "team"}),
            json!({"https://aws.amazon.com/tags/other": ["team"]}),
            Value::Object(
                (0..51).map(|at| (format!("{FLATTENED}principal_tags/t{at}"), json!("x"))).collect(),
            ),
            json!({SOURCE_IDENTITY: "a"}),
            json!({SOURCE_IDENTITY: 7}),
            json!({SOURCE_IDENTITY: "a b"}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
