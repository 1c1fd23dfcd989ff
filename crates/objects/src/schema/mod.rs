//! The kinds that a server serves, and what every type is made of. Both are values.
//!
//! A [`Kind`] says what discovery tells of it and has the [`Types`] of its objects. A [`Schema`] is a set of kinds; a server
//! holds one in [`Current`] and may take another one at any time, and a request keeps the one that it began with. What is
//! built in is data that `schema/generate.py` makes from what Kubernetes' Go declares.
//!
//! ```
//! use std::sync::Arc;
//! use tokensmith_objects::schema::{Facts, Kind, Schema, types};
//!
//! let types = types().with(&serde_json::from_str(
//!     r#"{"example.com/v1.Widget": [["metadata", "apis/meta/v1.ObjectMeta", 1, "omitempty"], ["size", "int32", 2]]}"#,
//! )?)?;
//! let widget: Facts = serde_json::from_str(
//!     r#"{"group": "example.com", "version": "v1", "kind": "Widget", "plural": "widgets", "singular": "widget",
//!         "namespaced": true, "stored": true, "verbs": ["get"], "type": "example.com/v1.Widget"}"#,
//! )?;
//! let schema = Schema::builtin().with(Arc::new(Kind::new(widget, Arc::new(types))?));
//! assert_eq!(schema.resource("example.com", "v1", "widgets").unwrap().kind, "Widget");
//! assert!(schema.without("example.com", "v1", "widgets").resource("example.com", "v1", "widgets").is_none());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod builtin;
mod current;
mod field;
mod kind;
mod serving;
mod types;

use std::sync::{Arc, OnceLock};

use indexmap::{Equivalent, IndexMap};

pub(crate) use builtin::declared;
pub use builtin::{is_registered, type_of, type_of_kind, types};
pub use current::Current;
pub use field::{Field, ListType, Shape, go_item, go_type};
pub use kind::{Column, Facts, Kind, KindId, NoType, Subresource, api_version, group_version};
pub use serving::ServingError;
pub use types::{TypeId, TypeRef, Types, TypesError};

/// A set of kinds, in discovery's order, and which of them are served.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// By group, version and resource.
    kinds: IndexMap<Key, Entry>,
    /// By group, version and kind.
    by_kind: IndexMap<Key, Arc<Kind>>,
    /// By group and resource: whatever version is served, an object is stored once.
    stored: IndexMap<Key, Arc<Kind>>,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: Arc<Kind>,
    served: bool,
}

/// What a kind is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(String, String, String);

/// The same, looked for: no string is made for that.
#[derive(Hash)]
struct Wanted<'a>(&'a str, &'a str, &'a str);

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (self.0, self.1, self.2) == (key.0.as_str(), key.1.as_str(), key.2.as_str())
    }
}

impl Schema {
    /// The built-in kinds; those that are off by default are known and not served.
    pub fn builtin() -> &'static Arc<Schema> {
        static BUILTIN: OnceLock<Arc<Schema>> = OnceLock::new();
        let make = || {
            let entry = |kind: Arc<Kind>| Entry { served: !kind.off_by_default, kind };
            Arc::new(builtin::kinds().into_iter().map(entry).collect())
        };
        BUILTIN.get_or_init(make)
    }

    /// What is served of a path: one look-up.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        let entry = self.kinds.get(&Wanted(group, version, plural))?;
        entry.served.then_some(&entry.kind)
    }

    /// A kind by what its objects say that they are, served or not.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.by_kind.get(&Wanted(group, version, kind))
    }

    /// The kind of what is stored of a resource, served or not.
    pub fn stored(&self, group: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.stored.get(&Wanted(group, "", plural))
    }

    /// All kinds, in discovery's order.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values().map(|entry| &entry.kind)
    }

    /// Those that are served.
    pub fn served(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.kinds.values().filter(|entry| entry.served).map(|entry| &entry.kind)
    }

    /// Whether anything of an API (`GROUP/VERSION`) is served.
    pub fn serves(&self, api_version: &str) -> bool {
        let (group, version) = group_version(api_version);
        self.served().any(|kind| kind.group == group && kind.version == version)
    }

    /// With one more kind, which is served and takes the place of one of the same group, version and resource. The kinds are
    /// shared.
    #[must_use]
    pub fn with(&self, kind: Arc<Kind>) -> Schema {
        let added = Entry { kind, served: true };
        let there = Key::of(&added.kind);
        let mut all: Vec<Entry> = self.kinds.values().cloned().collect();
        match self.kinds.get_index_of(&there) {
            Some(at) => all[at] = added,
            None => all.push(added),
        }
        all.into_iter().collect()
    }

    /// Without a kind.
    #[must_use]
    pub fn without(&self, group: &str, version: &str, plural: &str) -> Schema {
        let gone = Wanted(group, version, plural);
        self.kinds.iter().filter(|(key, _)| !gone.equivalent(key)).map(|(_, entry)| entry.clone()).collect()
    }
}

impl Key {
    fn of(kind: &Kind) -> Key {
        Key(kind.group.clone(), kind.version.clone(), kind.plural.clone())
    }
}

impl FromIterator<Entry> for Schema {
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Schema {
        let mut schema = Schema::default();
        for entry in entries {
            let kind = &entry.kind;
            let key = |version: &str, name: &str| Key(kind.group.clone(), version.into(), name.into());
            schema.by_kind.insert(key(&kind.version, &kind.kind), kind.clone());
            // A view's objects are stored as another kind's.
            if kind.stored && !kind.is_view() {
                schema.stored.entry(key("", &kind.plural)).or_insert_with(|| kind.clone());
            }
            schema.kinds.insert(Key::of(kind), entry);
        }
        schema
    }
}

/// A built-in kind by group and resource.
pub fn kind(group: &str, plural: &str) -> Option<&'static Arc<Kind>> {
    Schema::builtin().kinds().find(|kind| kind.group == group && kind.plural == plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_what_a_path_says_and_by_what_an_object_says() {
        let schema = Schema::builtin();
        assert_eq!(schema.resource("", "v1", "pods").map(|k| k.api_version()), Some("v1".into()));
        assert!(schema.resource("", "v2", "pods").is_none() && schema.resource("a", "v1", "pods").is_none());
        let role = schema.kind("rbac.authorization.k8s.io", "v1", "Role").unwrap();
        assert_eq!(
            (role.api_version().as_str(), role.list_kind().as_str()),
            ("rbac.authorization.k8s.io/v1", "RoleList")
        );
        assert!(Arc::ptr_eq(role, schema.stored("rbac.authorization.k8s.io", "roles").unwrap()));
        assert!(schema.stored("authentication.k8s.io", "tokenreviews").is_none());
        let accounts = schema.resource("", "v1", "serviceaccounts").unwrap();
        assert_eq!(accounts.subresource("token").map(|s| s.kind.as_str()), Some("TokenRequest"));
        assert_eq!(accounts.message().name(), "core/v1.ServiceAccount");
    }

    #[test]
    fn what_is_off_is_known_and_not_served() {
        let (schema, group) = (Schema::builtin(), "certificates.k8s.io");
        assert!(schema.resource(group, "v1beta1", "clustertrustbundles").is_none());
        assert!(schema.stored(group, "clustertrustbundles").is_some());
        assert!(schema.kind(group, "v1beta1", "ClusterTrustBundle").is_some());
        assert!(!schema.serves("certificates.k8s.io/v1beta1") && schema.serves("v1"));
    }

    #[test]
    fn kinds_come_and_go_and_the_others_are_shared() {
        let before = Schema::builtin();
        let facts =
            Facts { version: "v2".into(), ..(**before.resource("", "v1", "configmaps").unwrap()).clone() };
        let with = before.with(Arc::new(Kind::new(facts.clone(), types().clone()).unwrap()));
        assert_eq!(with.kinds().count(), before.kinds().count() + 1);
        assert!(Arc::ptr_eq(
            with.resource("", "v1", "pods").unwrap(),
            before.resource("", "v1", "pods").unwrap()
        ));
        assert_eq!(with.stored("", "configmaps").unwrap().version, "v1", "the first one");
        assert_eq!(with.served().last().unwrap().version, "v2");
        let again = with.with(Arc::new(Kind::new(facts, types().clone()).unwrap()));
        assert_eq!(again.kinds().count(), with.kinds().count());
        let without = again.without("", "v1", "configmaps");
        assert!(without.resource("", "v1", "configmaps").is_none());
        assert_eq!(without.stored("", "configmaps").unwrap().version, "v2");
    }
}
