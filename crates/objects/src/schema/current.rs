//! The schema that a server goes by just now.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Schema;

/// A schema that can be exchanged while it is read: a reader keeps the one that it has got. Reading takes no lock.
#[derive(Debug)]
pub struct Current(ArcSwap<Schema>);

impl Current {
    /// Begins with this one.
    pub fn new(schema: Arc<Schema>) -> Self {
        Current(ArcSwap::new(schema))
    }

    /// The one of this moment.
    pub fn now(&self) -> Arc<Schema> {
        self.0.load_full()
    }

    /// Takes another one, and gives the one before.
    pub fn swap(&self, schema: Arc<Schema>) -> Arc<Schema> {
        self.0.swap(schema)
    }

    /// Takes what is made of the one of this moment; `change` is asked again where somebody else was faster.
    pub fn change(&self, change: impl Fn(&Schema) -> Schema) {
        self.0.rcu(|now| Arc::new(change(now)));
    }
}
