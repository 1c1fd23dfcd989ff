//! The schema table: which kinds are served, and what every type is made of.
//!
//! Read once from data that `schema/generate.py` makes from Kubernetes' published API. A new kind is a line
//! there, not code here.

mod field;
mod types;

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

pub use field::{Field, ListType, Shape, go_item, go_type};
pub use types::{TypeId, TypeRef, Types, TypesError};

/// A kind that is served.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kind {
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
    pub short_names: Vec<String>,
    /// E.g. `all`.
    pub categories: Vec<String>,
    /// As discovery shows it; may be empty.
    pub storage_version_hash: String,
    /// Go's name of its type, e.g. `core/v1.Pod`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What is served below an object of it.
    pub subresources: Vec<Subresource>,
    /// kubectl's columns.
    pub columns: Vec<Column>,
    /// Whether it is served only when asked for ([`Served`](crate::Served)).
    #[serde(default)]
    pub off_by_default: bool,
}

/// Something served below an object: `token`, `status`.
#[derive(Debug, Deserialize)]
pub struct Subresource {
    /// E.g. `token`.
    pub name: String,
    /// The kind of its bodies, e.g. `TokenRequest`.
    pub kind: String,
    /// That kind's group, `""` where it is the parent's.
    pub group: String,
    /// That kind's version, `""` where it is the parent's.
    pub version: String,
    /// E.g. `create`.
    pub verbs: Vec<String>,
}

/// A column of `kubectl get`: name, type, format, priority.
#[derive(Debug, Deserialize)]
pub struct Column(pub String, pub String, pub String, pub i32);

impl Kind {
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

/// Joins a group and a version as `apiVersion` fields do.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.into() } else { format!("{group}/{version}") }
}

/// Splits an `apiVersion` into group and version.
pub fn group_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// The kinds that there are, in discovery's order. What one server serves of them: [`Served`](crate::Served).
pub fn kinds() -> &'static [Kind] {
    &schema().kinds
}

/// A kind by group and plural.
pub fn kind(group: &str, plural: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.group == group && k.plural == plural)
}

/// A kind by group, version and kind.
pub fn kind_of(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    kinds().iter().find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// Whether a real server knows this group, version and kind, served here or not.
pub fn is_registered(group: &str, version: &str, kind: &str) -> bool {
    schema().registered.contains_key(&format!("{group} {version} {kind}"))
}

/// A type by Go's name, e.g. `core/v1.Pod`.
pub fn type_of(name: &str) -> Option<TypeRef<'static>> {
    schema().types.get(name)
}

/// The type of a kind that Go declares, served here or not.
pub fn type_of_kind(api_version: &str, kind: &str) -> Option<TypeRef<'static>> {
    schema().kind_types.get(&(api_version, kind)).and_then(|name| type_of(name))
}

/// The built-in types.
pub fn types() -> &'static Types {
    &schema().types
}

struct Schema {
    kinds: Vec<Kind>,
    types: Types,
    kind_types: HashMap<(&'static str, &'static str), &'static str>,
    registered: HashMap<String, ()>,
}

/// The table is a constant that is too large to write as one; it is parsed at its first use.
fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let kinds = serde_json::from_str(include_str!("../../schema/kinds.json"));
        let registered: Vec<String> = parse(include_str!("../../schema/kubernetes-1.36/registered.json"));
        let rows = include_str!("../../schema/table.json").lines().filter_map(row);
        // A kind's row holds a type's name, a type's row its fields.
        let (types, kind_types): (Vec<_>, Vec<_>) = rows.partition(|(_, text)| text.starts_with('['));
        let split =
            |(key, name): (&'static str, &'static str)| Some((key.split_once(' ')?, name.trim_matches('"')));
        Schema {
            kinds: kinds.expect("kinds.json is generated and tested"),
            types: Types::of_rows(types.into_iter()),
            kind_types: kind_types.into_iter().filter_map(split).collect(),
            registered: registered.into_iter().map(|r| (r, ())).collect(),
        }
    })
}

/// A line of the table: `"NAME":VALUE,`.
fn row(line: &'static str) -> Option<(&'static str, &'static str)> {
    let (name, value) = line.strip_prefix('"')?.split_once("\":")?;
    Some((name, value.trim_end_matches([',', '}'])))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the file is generated and tested")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_together() {
        assert_eq!(kind("", "pods").map(|k| k.api_version()), Some("v1".into()));
        let role = kind_of("rbac.authorization.k8s.io", "v1", "Role").unwrap();
        assert_eq!(
            (role.api_version().as_str(), role.list_kind().as_str()),
            ("rbac.authorization.k8s.io/v1", "RoleList")
        );
        for kind in kinds() {
            assert!(type_of(&kind.type_name).is_some(), "{}", kind.kind);
        }
        assert_eq!(
            kind("", "serviceaccounts").and_then(|k| k.subresource("token")).map(|s| s.kind.as_str()),
            Some("TokenRequest")
        );
    }

    #[test]
    fn inlined_fields_are_found_by_their_json_name() {
        let volume = type_of("core/v1.Volume").unwrap();
        assert_eq!(volume.field("projected").map(|f| f.number), Some(26));
        assert!(volume.field("").is_none());
        assert_eq!(volume.field("name").map(|f| f.go()), Some("string"));
        let container = type_of("core/v1.EphemeralContainer").unwrap();
        assert!(container.rank("name") < container.rank("tty"));
        assert_eq!(
            container.rank("targetContainerName"),
            container.at(container.fields()[0].shape.message().unwrap()).fields().len()
        );
    }

    #[test]
    fn every_kind_that_go_declares_has_its_type() {
        let kinds = &schema().kind_types;
        assert!(kinds.len() > 138, "{}", kinds.len());
        for ((api_version, kind), name) in kinds {
            assert!(type_of(name).is_some(), "{api_version} {kind}");
        }
        assert_eq!(type_of_kind("apps/v1", "Deployment").map(|t| t.go_name()), Some("v1.Deployment".into()));
        assert!(type_of_kind("v1", "Deployment").is_none());
    }

    #[test]
    fn registered_kinds_include_those_not_served() {
        assert!(is_registered("apps", "v1", "Deployment") && is_registered("", "v1", "Pod"));
        assert!(!is_registered("", "v1", "TokenRequest"));
    }
}
