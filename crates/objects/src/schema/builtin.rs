//! What is built in: constants that are too large to write as such. They are read at their first use and never change,
//! so all servers of a process share them; what one serves is its own [`Schema`](super::Schema).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use super::{Facts, Kind, TypeRef, Types};
use crate::kinds::room;

/// The types that Go declares.
pub fn types() -> &'static Arc<Types> {
    &table().types
}

/// A built-in type by Go's name, e.g. `core/v1.Pod`.
pub fn type_of(name: &str) -> Option<TypeRef<'static>> {
    types().get(name)
}

/// The type of a kind that Go declares, whether anybody serves it or not.
pub fn type_of_kind(api_version: &str, kind: &str) -> Option<TypeRef<'static>> {
    table().kinds.get(&(api_version, kind)).and_then(|name| type_of(name))
}

/// The kinds that Go declares, with their types: `apiVersion`, kind, Go's name.
pub(crate) fn declared() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    table().kinds.iter().map(|((api_version, kind), name)| (*api_version, *kind, *name))
}

/// Whether a real server knows this group, version and kind.
pub fn is_registered(group: &str, version: &str, kind: &str) -> bool {
    static REGISTERED: OnceLock<HashSet<(String, String, String)>> = OnceLock::new();
    let all = REGISTERED.get_or_init(|| {
        let all: Vec<String> = parse(include_str!("../../schema/kubernetes-1.36/registered.json"));
        let split = |row: String| {
            let mut parts = row.splitn(3, ' ').map(str::to_owned);
            Some((parts.next()?, parts.next()?, parts.next()?))
        };
        all.into_iter().filter_map(split).collect()
    });
    all.contains(&(group.to_owned(), version.to_owned(), kind.to_owned()))
}

/// The kinds that there are an implementation for, in discovery's order.
pub(super) fn kinds() -> Vec<Arc<Kind>> {
    let all: Vec<Facts> = parse(include_str!("../../schema/kinds.json"));
    let kind = |facts: &Facts| {
        let room = room(&facts.group, &facts.version, &facts.kind);
        let kind = Kind::new(facts.clone(), types().clone());
        kind.expect("the generator writes each kind's type, a test says so").built_in().with_rules(room)
    };
    let own = |facts: &Facts| facts.stored_as.is_empty().then(|| Arc::new(kind(facts)));
    let stored: Vec<Option<Arc<Kind>>> = all.iter().map(own).collect();
    let storage = |view: &Facts| {
        let found = stored.iter().flatten();
        let found = found.clone().find(|kind| kind.kind == view.kind && kind.api_version() == view.stored_as);
        found.cloned().expect("the generator names a kind that it writes, a test says so")
    };
    let whole = |(facts, own): (&Facts, &Option<Arc<Kind>>)| match own {
        Some(own) => own.clone(),
        None => Arc::new(kind(facts).viewing(storage(facts))),
    };
    all.iter().zip(&stored).map(whole).collect()
}

struct Table {
    types: Arc<Types>,
    /// `apiVersion` and kind → type.
    kinds: HashMap<(&'static str, &'static str), &'static str>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let rows = include_str!("../../schema/table.json").lines().filter_map(row);
        // A kind's row holds a type's name, a type's row its fields.
        let (types, kinds): (Vec<_>, Vec<_>) = rows.partition(|(_, text)| text.starts_with('['));
        let split =
            |(key, name): (&'static str, &'static str)| Some((key.split_once(' ')?, name.trim_matches('"')));
        Table {
            types: Arc::new(Types::of_rows(types.into_iter())),
            kinds: kinds.into_iter().filter_map(split).collect(),
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
    fn every_kind_that_go_declares_has_its_type() {
        let kinds = &table().kinds;
        assert!(kinds.len() > 138, "{}", kinds.len());
        for ((api_version, kind), name) in kinds {
            assert!(type_of(name).is_some(), "{api_version} {kind}");
        }
        assert_eq!(type_of_kind("apps/v1", "Deployment").map(|t| t.go_name()), Some("v1.Deployment".into()));
        assert!(type_of_kind("v1", "Deployment").is_none());
    }

    #[test]
    fn a_view_is_stored_as_the_kind_that_its_row_names() {
        let kinds = kinds();
        let views: Vec<_> = kinds.iter().filter(|kind| kind.is_view()).collect();
        assert!(!views.is_empty());
        for view in views {
            let storage = view.storage();
            assert_eq!((storage.api_version(), &storage.kind), (view.stored_as.clone(), &view.kind));
            assert_eq!(storage.storage_version_hash, view.storage_version_hash, "{}", view.kind);
            assert!(!storage.is_view() && storage.plural == view.plural);
        }
    }

    #[test]
    fn inlined_fields_are_found_by_their_json_name() {
        let volume = type_of("core/v1.Volume").unwrap();
        assert_eq!(volume.field("projected").map(|f| f.number), Some(26));
        assert!(volume.field("").is_none());
        assert_eq!(volume.field("name").map(|f| f.go()), Some("string"));
        let container = type_of("core/v1.EphemeralContainer").unwrap();
        assert!(container.rank("name") < container.rank("tty"));
        let common = container.message(&container.fields()[0]).unwrap();
        assert_eq!(container.rank("targetContainerName"), common.fields().len());
    }

    #[test]
    fn registered_kinds_include_those_not_served() {
        assert!(is_registered("apps", "v1", "Deployment") && is_registered("", "v1", "Pod"));
        assert!(!is_registered("", "v1", "TokenRequest"));
    }
}
