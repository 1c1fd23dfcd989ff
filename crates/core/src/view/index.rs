//! What the controllers look for by something else than its key, so that no change of one object makes them look at all
//! of its kind. It changes with the objects and shares its structure, as they do.

use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use tokensmith_objects::Stored;

use crate::access::rbac::Aggregation;
use crate::tokens::legacy::{ACCOUNT, SECRET_TYPE};

#[derive(Clone, Default)]
pub(super) struct Index {
    /// The aggregation rules of ClusterRoles, by the roles' names. They are read when a role changes, and not again with each
    /// change of another.
    gatherers: OrdMap<Arc<str>, Arc<Aggregation>>,
    /// `NAMESPACE/ACCOUNT\0SECRET` of each Secret that asks for a token.
    token_secrets: OrdSet<Arc<str>>,
}

impl Index {
    /// An object has changed, come (`old` is `None`) or gone (`new` is); `vertex` is its key without `/registry/`.
    pub(super) fn change(&mut self, vertex: &str, old: Option<&Stored>, new: Option<&Stored>) {
        if let Some(name) = vertex.strip_prefix("rbac.authorization.k8s.io/clusterroles/") {
            match new.and_then(|role| Aggregation::of(&role.object())) {
                Some(rule) => drop(self.gatherers.insert(name.into(), rule.into())),
                None => drop(self.gatherers.remove(name)),
            }
        } else if vertex.starts_with("secrets/") {
            let (before, now) = (old.and_then(asks), new.and_then(asks));
            if before != now {
                before.and_then(|entry| self.token_secrets.remove(entry.as_str()));
                now.and_then(|entry| self.token_secrets.insert(entry.into()));
            }
        }
    }

    pub(super) fn gatherers(&self) -> impl Iterator<Item = (&str, &Arc<Aggregation>)> {
        self.gatherers.iter().map(|(name, rule)| (&**name, rule))
    }

    pub(super) fn gatherer(&self, name: &str) -> Option<&Arc<Aggregation>> {
        self.gatherers.get(name)
    }

    /// The names of the Secrets that ask for a token of an account.
    pub(super) fn token_secrets(
        &self,
        namespace: &str,
        account: &str,
    ) -> impl Iterator<Item = &str> + use<'_> {
        let prefix = entry(namespace, account, "");
        let start: Bound<Arc<str>> = Bound::Included(prefix.as_str().into());
        let from = self.token_secrets.range((start, Bound::Unbounded));
        from.map_while(move |entry| entry.strip_prefix(prefix.as_str()))
    }
}

fn asks(secret: &Stored) -> Option<String> {
    let asks = secret.text(&["type"]) == SECRET_TYPE;
    asks.then(|| entry(secret.namespace(), &secret.annotation(ACCOUNT).unwrap_or_default(), secret.name()))
}

fn entry(namespace: &str, account: &str, secret: &str) -> String {
    format!("{namespace}/{account}\0{secret}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::tests::put;
    use crate::view::{Snapshot, object_key};

    fn secret(name: &str, kind: &str, account: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "n", "annotations": {ACCOUNT: account}}, "type": kind})
    }

    #[test]
    fn the_secrets_of_an_account_are_found_as_they_change() {
        let mut objects = Snapshot::default();
        let of = |objects: &Snapshot, account: &str| -> Vec<String> {
            objects.token_secrets("n", account).map(str::to_owned).collect()
        };
        put(&mut objects, "", "secrets", secret("b", SECRET_TYPE, "builder"));
        put(&mut objects, "", "secrets", secret("a", SECRET_TYPE, "builder"));
        put(&mut objects, "", "secrets", secret("c", SECRET_TYPE, "builder2"));
        put(&mut objects, "", "secrets", secret("d", "Opaque", "builder"));
        assert_eq!((of(&objects, "builder"), of(&objects, "build")), (vec!["a".into(), "b".into()], vec![]));
        let earlier = objects.clone();
        put(&mut objects, "", "secrets", secret("a", SECRET_TYPE, "builder2"));
        objects.apply(&object_key("", "secrets", "n", "b"), None, 2);
        assert_eq!(
            (of(&objects, "builder"), of(&objects, "builder2")),
            (vec![], vec!["a".into(), "c".into()])
        );
        assert_eq!(of(&earlier, "builder"), ["a", "b"], "a snapshot does not change");
    }

    #[test]
    fn the_roles_that_gather_are_found_as_they_change() {
        let mut objects = Snapshot::default();
        let names = |objects: &Snapshot| -> Vec<String> {
            objects.gatherers().map(|(name, _)| name.to_owned()).collect()
        };
        let rbac = "rbac.authorization.k8s.io";
        let gathers = json!({"metadata": {"name": "g"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
        put(&mut objects, rbac, "clusterroles", gathers.clone());
        put(&mut objects, rbac, "clusterroles", json!({"metadata": {"name": "r"}}));
        assert_eq!(names(&objects), ["g"]);
        put(&mut objects, rbac, "clusterroles", json!({"metadata": {"name": "g"}}));
        assert!(names(&objects).is_empty());
        put(&mut objects, rbac, "clusterroles", gathers);
        objects.apply(&object_key(rbac, "clusterroles", "", "g"), None, 3);
        assert!(names(&objects).is_empty());
    }
}
