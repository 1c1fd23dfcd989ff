//! An object as it is kept: the bytes of its JSON, and beside them what is asked for often.
//!
//! Servers hold a hundred thousand objects and answer with most of them as they are. A tree of maps takes twelve times the
//! room of its JSON, and is built and written anew for each answer; the bytes are shared with the store and copied into
//! answers ([`Text`]). Who looks into an object asks for a value ([`Stored::value`]) or has its tree made
//! ([`Stored::object`]).

mod find;
mod part;
mod reader;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;
use tokensmith_api::{Media, moment};

pub use part::Part;
pub use reader::Reader;
pub use text::Text;

use crate::Object;
use crate::codec::{encode_of, is_wire, shown_of};
use crate::schema::{Kind, KindId};
use crate::selector::Selectable;
use find::{find, find_known};

/// An object with its revision. Its `Debug` shows no more than [`Object`]'s does.
pub struct Stored {
    json: Bytes,
    /// Its `metadata.resourceVersion`, which is not in the bytes; 0 where it has none, since it is not stored.
    revision: u64,
    facts: Facts,
    /// Its JSON as answers have it, for the first kind that it was asked for and that is no view. Where another one comes in that one's place while
    /// the server runs it is found out anew each time, until the object is written.
    wire: OnceLock<(KindId, Option<Box<Text>>)>,
}

/// What is looked at often.
#[derive(Clone, Default)]
struct Facts {
    name: Box<str>,
    namespace: Box<str>,
    uid: Box<str>,
    node: Box<str>,
    account: Box<str>,
    deletion: Option<OffsetDateTime>,
    labels: Range<u32>,
    /// Where `kind` and `apiVersion` end, and where `metadata.resourceVersion` goes, in the order of answers.
    head: u32,
    version: u32,
}

/// The paths of [`Facts`].
const FACTS: [&[&str]; 11] = [
    &["kind"],
    &["apiVersion"],
    &["metadata", "name"],
    &["metadata", "generateName"],
    &["metadata", "namespace"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "labels"],
    &["metadata", "deletionTimestamp"],
    &["spec", "nodeName"],
    &["spec", "serviceAccountName"],
];

impl Stored {
    /// An object as a kind's objects are stored. A revision of 0 is none.
    pub fn of(kind: &Kind, object: &Object, revision: u64) -> Stored {
        let json = Self::bytes_of(kind, object);
        let facts = Facts::read(&json).unwrap_or_default();
        // That is how answers have it.
        Stored { json, revision, facts, wire: OnceLock::from((kind.id(), None)) }
    }

    /// The bytes as which an object is stored: those of answers, without `metadata.resourceVersion`, which is the revision.
    pub fn bytes_of(kind: &Kind, object: &Object) -> Bytes {
        let mut json = match object.at(&["metadata", "resourceVersion"]) {
            None => encode_of(kind, &object.0, Media::Json, false),
            Some(_) => {
                let mut object = object.clone();
                object.remove(&["metadata", "resourceVersion"]);
                encode_of(kind, &object.0, Media::Json, false)
            }
        };
        json.pop_if(|last| *last == b'\n');
        // It lives for as long as the object does: without what the writer had to spare.
        json.into_boxed_slice().into()
    }

    /// What a store holds; `None` if it is no JSON object. Nothing is copied but the facts. Where it is no UTF-8, which nobody
    /// has written here, what cannot be read is replaced.
    pub fn read(json: Bytes, revision: u64) -> Option<Stored> {
        let (json, facts) = match Facts::read(&json) {
            Some(facts) => (json, facts),
            None => {
                let Cow::Owned(text) = String::from_utf8_lossy(&json) else { return None };
                let json = Bytes::from(text);
                let facts = Facts::read(&json)?;
                (json, facts)
            }
        };
        Some(Stored { json, revision, facts, wire: OnceLock::new() })
    }

    /// The same at another revision: what is told of an object that is gone.
    #[must_use]
    pub fn at_revision(&self, revision: u64) -> Stored {
        Stored { json: self.json.clone(), revision, facts: self.facts.clone(), wire: self.wire.clone() }
    }

    /// The bytes, as the store holds them.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> String {
        if self.revision == 0 { String::new() } else { self.revision.to_string() }
    }

    /// Its tree as it is stored, with `metadata.resourceVersion`.
    pub fn object(&self) -> Object {
        self.tree_of(&self.own())
    }

    /// Its tree as answers have it, with `metadata.resourceVersion`: also what is shown although nobody has set it.
    pub fn wire_object(&self, kind: &Kind) -> Object {
        self.tree_of(&self.wire(kind))
    }

    fn tree_of(&self, text: &Text) -> Object {
        let mut json = Vec::new();
        text.whole(self.revision, &mut json);
        tree(&json)
    }

    fn own(&self) -> Text {
        Text { json: self.json.clone(), head: self.facts.head, version: self.facts.version }
    }

    /// An object as [`Self::wire_object`] has it once it is stored, with the version that it carries now.
    pub fn as_shown(kind: &Kind, mut object: Object) -> Object {
        let version = object.remove(&["metadata", "resourceVersion"]);
        let shown = shown_of(kind, object.0).map(Object);
        let mut shown = shown.unwrap_or_else(|untyped| tree(&Self::bytes_of(kind, &Object(untyped))));
        if let Some(version) = version {
            shown.set(&["metadata", "resourceVersion"], version);
        }
        shown
    }

    /// Its JSON as answers have it.
    pub fn wire(&self, kind: &Kind) -> Text {
        let found = match kind.is_view() {
            // It would keep a second text for ever, and what is read as it is stored would be looked through each time.
            true => self.wire.get(),
            false => Some(self.wire.get_or_init(|| (kind.id(), self.other(kind).map(Box::new)))),
        };
        match found {
            Some((id, None)) if *id == kind.id() => self.own(),
            Some((id, Some(other))) if *id == kind.id() => Text::clone(other),
            _ => self.other(kind).unwrap_or_else(|| self.own()),
        }
    }

    /// Its JSON as answers have it, if it was stored in another form: by an older version, or as another kind, which this one
    /// [views](Kind::viewing) or in whose place it has come.
    fn other(&self, kind: &Kind) -> Option<Text> {
        if !kind.is_view() && is_wire(kind, &self.json) {
            return None;
        }
        let mut object = tree(&self.json);
        kind.of_stored(&mut object);
        let json = Self::bytes_of(kind, &object);
        (json != self.json).then(|| {
            let Facts { head, version, .. } = Facts::read(&json).unwrap_or_default();
            Text { json, head, version }
        })
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// `metadata.namespace`, `""` for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.facts.namespace
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.facts.uid
    }

    /// `spec.nodeName`: of a pod, where it runs.
    pub fn node(&self) -> &str {
        &self.facts.node
    }

    /// `spec.serviceAccountName`: of a pod, who it is.
    pub fn account(&self) -> &str {
        &self.facts.account
    }

    /// `metadata.deletionTimestamp`: the end of the grace period, whole seconds.
    pub fn deletion_timestamp(&self) -> Option<OffsetDateTime> {
        self.facts.deletion
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<Cow<'_, str>> {
        let [found] = find_known(self.labels()?, &[&[key]]).unwrap_or_default();
        found.and_then(string)
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<String> {
        match self.value(&["metadata", "annotations", key])? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// `metadata.finalizers`.
    pub fn finalizers(&self) -> Vec<String> {
        let list = self.value(&["metadata", "finalizers"]);
        let texts = list.as_ref().and_then(Value::as_array).into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The value at a path.
    pub fn value(&self, path: &[&str]) -> Option<Value> {
        serde_json::from_str(self.raw(path)?).ok()
    }

    /// What stands at some paths, through lists on the way, and nothing of the rest.
    pub fn part(&self, paths: &[&[&str]]) -> Part<'_> {
        Part::read(&self.json, paths)
    }

    /// The string at a path, `""` when absent.
    pub fn text(&self, path: &[&str]) -> Cow<'_, str> {
        let [found] = find_known(&self.json, &[path]).unwrap_or_default();
        found.and_then(string).unwrap_or_default()
    }

    /// What stands at a path, as it is written: what two objects have in common is found without reading it.
    pub fn raw(&self, path: &[&str]) -> Option<&str> {
        let [found] = find_known(&self.json, &[path]).unwrap_or_default();
        found
    }

    fn labels(&self) -> Option<&[u8]> {
        let Range { start, end } = self.facts.labels;
        (start < end).then(|| &self.json[start as usize..end as usize])
    }
}

/// Of what serde finds too deep, the server's own reader makes a tree: it has let it in.
fn tree(json: &[u8]) -> Object {
    // All of it at once is looked at faster than each string.
    let text = std::str::from_utf8(json).ok();
    let read = text.and_then(|text| serde_json::from_str(text).ok());
    let read = read.or_else(|| tokensmith_api::json::parse(json).ok().map(|parsed| parsed.value));
    read.and_then(Object::from_value).unwrap_or_default()
}

impl Facts {
    fn read(json: &Bytes) -> Option<Facts> {
        may_be(json).then_some(())?;
        Some(Self::of(json, &find(json, &FACTS).ok()?))
    }

    /// Those of what was found.
    fn of(json: &Bytes, found: &[Option<&str>; FACTS.len()]) -> Facts {
        let begin = json.as_ptr() as usize;
        let span = |raw: &str| {
            let start = raw.as_ptr() as usize - begin;
            start as u32..(start + raw.len()) as u32
        };
        let end = |of: &[Option<&str>]| of.iter().flatten().map(|raw| span(raw).end).max().unwrap_or(0);
        let text = |at: usize| -> Box<str> { found[at].and_then(string).unwrap_or_default().into() };
        Facts {
            name: text(2),
            namespace: text(4),
            uid: text(6),
            node: text(9),
            account: text(10),
            deletion: found[8].and_then(string).and_then(|text| moment::parse(&text).ok()),
            labels: found[7].map(span).unwrap_or_default(),
            head: end(&found[..2]),
            version: end(&found[2..7]),
        }
    }
}

/// What begins with anything else is no object.
fn may_be(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{') && u32::try_from(json.len()).is_ok()
}

/// A JSON string, borrowed where nothing in it is escaped.
fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => Some(inner.into()),
        true => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

impl Selectable for Stored {
    fn labels(&self, each: &mut dyn FnMut(&str, &str)) {
        if let Some(labels) = self.labels() {
            find::texts(labels, each);
        }
    }

    fn field(&self, path: &[&str]) -> Option<Cow<'_, Value>> {
        let value = match path {
            ["metadata", "name"] => Some(self.name().into()),
            ["metadata", "namespace"] => Some(self.namespace().into()),
            ["spec", "nodeName"] if !self.node().is_empty() => Some(self.node().into()),
            ["spec", "serviceAccountName"] if !self.account().is_empty() => Some(self.account().into()),
            path => self.value(path),
        };
        value.map(Cow::Owned)
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Stored) -> bool {
        self.revision == other.revision && self.json == other.json
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} at {}", self.text(&["kind"]), self.namespace(), self.name(), self.revision)
    }
}

/// Tests make objects of trees, whatever they are.
impl From<&Object> for Stored {
    fn from(object: &Object) -> Stored {
        let mut object = object.clone();
        let version = object.remove(&["metadata", "resourceVersion"]);
        let revision = version.and_then(|version| version.as_str()?.parse().ok()).unwrap_or(0);
        let json: Bytes = tokensmith_api::json::to_vec(&object.into_value()).into();
        let facts = Facts::read(&json).unwrap_or_default();
        Stored { json, revision, facts, wire: OnceLock::new() }
    }
}

impl From<Object> for Arc<Stored> {
    fn from(object: Object) -> Arc<Stored> {
        Arc::new(Stored::from(&object))
    }
}

#[cfg(test)]
mod tests;
