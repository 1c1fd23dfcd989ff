//! Where an object is, by its key.

use tokensmith_objects::schema::{Kind, kind};

use tokensmith_core::view::REGISTRY;

/// Kind, namespace and name of a key.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) kind: &'static Kind,
    /// `""` for what has none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Place<'a> {
    /// `None` for a key that is no object's.
    pub(super) fn of(key: &'a str) -> Option<Self> {
        let (first, rest) = key.strip_prefix(REGISTRY)?.split_once('/')?;
        let (group, plural, rest) = match first.contains('.') {
            true => rest.split_once('/').map(|(plural, rest)| (first, plural, rest))?,
            false => ("", first, rest),
        };
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        let kind = kind(group, plural)?;
        (!name.contains('/')).then_some(Place { kind, namespace, name })
    }

    /// Whether it is of a kind, as `GROUP/PLURAL`.
    pub(super) fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_places() {
        let told = |key| Place::of(key).map(|p| (p.kind.kind.as_str(), p.namespace, p.name));
        for (key, place) in [
            ("/registry/namespaces/a", Some(("Namespace", "", "a"))),
            ("/registry/pods/a/b", Some(("Pod", "a", "b"))),
            ("/registry/rbac.authorization.k8s.io/clusterroles/a:b", Some(("ClusterRole", "", "a:b"))),
            ("/registry/rbac.authorization.k8s.io/roles/a/b", Some(("Role", "a", "b"))),
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
