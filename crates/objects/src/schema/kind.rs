//! A kind: what discovery tells of it, and the type of its objects.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use super::types::{TypeId, TypeRef, Types};
use crate::Object;
use crate::kinds::{NoRoom, Rules};

/// What is said of a kind, as `schema/kinds.json` says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// API group, `""` for core.
    pub group: String,
    /// API version, e.g. `v1`.
    pub version: String,
    /// E.g. `ServiceAccount`.
    pub kind: String,
    /// E.g. `serviceaccounts`.
    pub plural: String,
    /// E.g. `serviceaccount`.
    pub singular: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether its objects are stored, or only answered (reviews).
    pub stored: bool,
    /// The verbs that discovery lists.
    pub verbs: Vec<String>,
    /// E.g. `sa`.
    #[serde(default)]
    pub short_names: Vec<String>,
    /// E.g. `all`.
    #[serde(default)]
    pub categories: Vec<String>,
    /// As discovery shows it; may be empty.
    #[serde(default)]
    pub storage_version_hash: String,
    /// Go's name of its type, e.g. `core/v1.Pod`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What is served below an object of it.
    #[serde(default)]
    pub subresources: Vec<Subresource>,
    /// kubectl's columns.
    #[serde(default)]
    pub columns: Vec<Column>,
    /// Whether it is served only when asked for ([`Schema::serving`](super::Schema::serving)).
    #[serde(default)]
    pub off_by_default: bool,
    /// What who uses it is warned of.
    #[serde(default)]
    pub deprecated: String,
    /// Whether `metadata.generation` counts the changes of its objects, those of `/status` and of the metadata excepted.
    #[serde(default)]
    pub generation: bool,
    /// Whether a PUT of what is not there creates it (`AllowCreateOnUpdate`).
    #[serde(default)]
    pub put_creates: bool,
    /// Whether a deletion is answered with the object that went, and not with a Status (`ReturnDeletedObject`).
    #[serde(default)]
    pub returns_deleted: bool,
    /// Labels of the fields that its objects are selected by: paths, e.g. `spec.nodeName`.
    #[serde(default = "selectable")]
    pub selectable: Vec<String>,
    /// Whether a PUT has to say which version it replaces (`AllowUnconditionalUpdate`).
    #[serde(default)]
    pub version_required: bool,
    /// `GROUP/VERSION` of the kind as which its objects are stored, where that is not this one: the same object is served as
    /// several kinds, each of which is a view of it.
    #[serde(default)]
    pub stored_as: String,
}

fn selectable() -> Vec<String> {
    vec!["metadata.name".into(), "metadata.namespace".into()]
}

/// Something served below an object: `token`, `status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Subresource {
    /// E.g. `token`.
    pub name: String,
    /// The kind of its bodies, e.g. `TokenRequest`.
    pub kind: String,
    /// That kind's group, `""` where it is the parent's.
    #[serde(default)]
    pub group: String,
    /// That kind's version, `""` where it is the parent's.
    #[serde(default)]
    pub version: String,
    /// E.g. `create`.
    pub verbs: Vec<String>,
}

/// A column of `kubectl get`: name, type, format, priority; and where its value stands in an object of a kind that has no
/// rule of its own for it (`["spec", "size"]`); and what it is.
#[derive(Clone, Debug, Deserialize)]
pub struct Column(
    pub String,
    pub String,
    pub String,
    pub i32,
    #[serde(default)] pub Vec<String>,
    #[serde(default)] pub String,
);

/// A kind, with the types that its objects are made of. A value: what a server serves of them is its [`Schema`](super::Schema)'s.
#[derive(Debug)]
pub struct Kind {
    id: KindId,
    facts: Facts,
    types: Arc<Types>,
    root: TypeId,
    rules: Arc<dyn Rules>,
    /// As which its objects are stored, where that is another one.
    storage: Option<Arc<Kind>>,
    built_in: bool,
}

/// Which kind it is, among all that this process has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindId(u64);

impl KindId {
    fn next() -> KindId {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        KindId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Its type is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} has no type: there is no {type_name:?}")]
pub struct NoType {
    /// The kind.
    pub kind: String,
    /// The type that it names.
    pub type_name: String,
}

impl Kind {
    /// A kind whose objects have a type of this table.
    ///
    /// # Errors
    /// The table has no such type.
    pub fn new(facts: Facts, types: Arc<Types>) -> Result<Kind, NoType> {
        match types.id(&facts.type_name) {
            Some(root) => {
                let (id, rules) = (KindId::next(), Arc::new(NoRoom));
                Ok(Kind { id, facts, types, root, rules, storage: None, built_in: false })
            }
            None => Err(NoType { kind: facts.kind, type_name: facts.type_name }),
        }
    }

    /// Tells it from every other kind that was ever made, also from an earlier one of the same name.
    pub fn id(&self) -> KindId {
        self.id
    }

    /// As one of Kubernetes' own.
    pub(super) fn built_in(self) -> Kind {
        Kind { built_in: true, ..self }
    }

    /// Whether it is one of Kubernetes' own, and none that came at run time.
    pub(crate) fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// With rules of its own, beyond what its facts say.
    #[must_use]
    pub fn with_rules(self, rules: Arc<dyn Rules>) -> Kind {
        Kind { rules, ..self }
    }

    /// As a view of another kind, as which its objects are stored; its rules say how it is made of one of them and back.
    #[must_use]
    pub fn viewing(self, storage: Arc<Kind>) -> Kind {
        Kind { storage: Some(storage), ..self }
    }

    /// The kind as which its objects are stored: itself, as a rule.
    pub fn storage(&self) -> &Kind {
        self.storage.as_deref().unwrap_or(self)
    }

    /// Whether its objects are stored as another kind's.
    pub fn is_view(&self) -> bool {
        self.storage.is_some()
    }

    /// An object that somebody has sent, as it is stored.
    pub fn to_stored(&self, object: &mut Object) {
        self.rules.to_stored(object);
        if let Some(storage) = &self.storage {
            storage.name(object);
        }
    }

    /// A stored object as this kind shows it.
    pub fn of_stored(&self, object: &mut Object) {
        if self.storage.is_some() {
            self.rules.of_stored(object);
            self.name(object);
        }
    }

    fn name(&self, object: &mut Object) {
        object.set(&["apiVersion"], self.api_version());
        object.set(&["kind"], self.kind.as_str());
    }

    /// What is particular to it.
    pub fn rules(&self) -> &dyn Rules {
        &*self.rules
    }

    /// The type of its objects.
    pub fn message(&self) -> TypeRef<'_> {
        self.types.at(self.root)
    }

    /// Whether Kubernetes declares its type in Go, which says more of it than a schema does.
    pub fn is_declared(&self) -> bool {
        super::type_of(&self.facts.type_name).is_some()
    }

    /// `GROUP/VERSION`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// The kind of its collections, e.g. `PodList`.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// A subresource by name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

impl Deref for Kind {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

/// Joins a group and a version as `apiVersion` fields do.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

/// Splits an `apiVersion` into group and version.
pub fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}
