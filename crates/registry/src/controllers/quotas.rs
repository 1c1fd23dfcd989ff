//! Quotas say what is used of them (`pkg/controller/resourcequota`).

use super::Controllers;
use super::place::Place;
use super::queue::{Done, Key};
use tokensmith_core::error::Error;
use tokensmith_core::view::Moved;

impl Controllers {
    /// Counts a quota, if what it says may not be true any more.
    pub(super) async fn quota(&self, namespace: &str, name: &str) -> Result<Done, Error> {
        let schema = self.registry.schema();
        let (wrote, again) = self.registry.quotas.count(&schema, namespace, name).await?;
        Ok(Done { wrote, again, ..Done::default() })
    }

    /// The quotas that a change gives something back to.
    pub(super) fn stirred(&self, moved: &Moved, place: &Place<'_>) -> Vec<Key> {
        let keys = self.registry.quotas.stirred(moved, place.kind, place.namespace);
        keys.into_iter().map(Key::from).collect()
    }
}
