//! Namespaces: furnished while they are open, emptied and removed once they are deleted
//! (`pkg/controller/namespace/deletion`).

use serde_json::Value;
use tokensmith_objects::schema::kinds;

use super::Controllers;
use crate::error::Error;
use crate::registry::{DeleteOptions, Request, core_kind, system};

impl Controllers {
    pub(super) async fn namespace(&self, name: &str) -> Result<(), Error> {
        self.registry.furnish(name).await?;
        self.empty(name).await
    }

    /// Deletes what a closing namespace holds; once that is all gone, the namespace itself.
    pub(super) async fn empty(&self, name: &str) -> Result<(), Error> {
        let kind = core_kind("namespaces");
        let Ok(namespace) = self.registry.get(kind, "", name) else { return Ok(()) };
        if namespace.deletion_timestamp().is_none() || self.sweep(name).await? > 0 {
            return Ok(());
        }
        if namespace.finalizers().next().is_some() {
            return Ok(());
        }
        let others = namespace.at(&["spec", "finalizers"]).and_then(Value::as_array);
        if others.into_iter().flatten().any(|f| f != "kubernetes") {
            return Ok(());
        }
        self.registry.remove(kind, &namespace).await?;
        // A create that saw the namespace open may have been on its way.
        self.sweep(name).await.map(drop)
    }

    /// Deletes everything in a namespace; gives how much is still there.
    async fn sweep(&self, namespace: &str) -> Result<usize, Error> {
        let user = system();
        let mut left = 0;
        for kind in kinds().iter().filter(|k| k.stored && k.namespaced) {
            let there: Vec<_> = {
                let snapshot = self.registry.snapshot();
                snapshot.list(&kind.group, &kind.plural, namespace).map(|(_, o)| o.clone()).collect()
            };
            for object in there {
                let request = &mut Request::by(&user);
                let options = DeleteOptions::default();
                match self.registry.delete(request, kind, namespace, object.name(), &options).await {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
            left += self.registry.snapshot().list(&kind.group, &kind.plural, namespace).count();
        }
        Ok(left)
    }
}
