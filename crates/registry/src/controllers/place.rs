//! Where an object is, by its key.

use tokensmith_objects::schema::{Kind, Schema};

use tokensmith_core::view::{REGISTRY, split_key};

/// Kind, namespace and name of a key.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) kind: &'a Kind,
    /// `""` for what has none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Place<'a> {
    /// `None` for a key that is no object's, or that of a kind which is not there.
    pub(super) fn of(schema: &'a Schema, key: &'a str) -> Option<Self> {
        let Parts { group, plural, namespace, name } = parts(key)?;
        let kind = schema.stored(group, plural)?;
        Some(Place { kind, namespace, name })
    }

    /// Whether it is of a kind, as `GROUP/PLURAL`.
    pub(super) fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural
    }
}

/// What a key says by itself.
pub(super) struct Parts<'a> {
    group: &'a str,
    plural: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Parts<'a> {
    /// The namespace that it is in, or is.
    pub(super) fn around(&self) -> &'a str {
        match (self.group, self.plural) {
            ("", "namespaces") => self.name,
            _ => self.namespace,
        }
    }
}

/// Takes a key apart, of whatever kind it is.
pub(super) fn parts(key: &str) -> Option<Parts<'_>> {
    let (group, plural, rest) = split_key(key.strip_prefix(REGISTRY)?);
    let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
    (!name.is_empty() && !name.contains('/')).then_some(Parts { group, plural, namespace, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_places() {
        let told =
            |key| Place::of(Schema::builtin(), key).map(|p| (p.kind.kind.as_str(), p.namespace, p.name));
        for (key, place) in [
            ("/registry/namespaces/a", Some(("Namespace", "", "a"))),
            ("/registry/pods/a/b", Some(("Pod", "a", "b"))),
            ("/registry/rbac.authorization.k8s.io/clusterroles/a:b", Some(("ClusterRole", "", "a:b"))),
            ("/registry/rbac.authorization.k8s.io/roles/a/b", Some(("Role", "a", "b"))),
            ("/registry/batch/jobs/a/b", Some(("Job", "a", "b"))),
            ("/registry/nothing/a", None),
            ("/registry/pods", None),
            ("/registry/", None),
            ("/registry/pods/a/b/c", None),
            ("/registry/rbac.authorization.k8s.io/roles", None),
            ("/tokensmith/keys/ring", None),
        ] {
            assert_eq!(told(key), place, "{key}");
        }
    }
}
