//! What the tools say of a store and its keys, in the same words.

use tokensmith_core::keys::{KeyRing, RingKey};
use tokensmith_objects::object::timestamp;
use tokensmith_store::{Trouble, What};

use crate::output::{columns, printable};

/// A line each.
pub fn troubles(troubles: &[Trouble]) -> String {
    troubles.iter().map(|trouble| format!("  wrong: {}\n", printable(&trouble.to_string()))).collect()
}

/// The keys of a ring, a line each.
pub fn keys(ring: &KeyRing) -> String {
    let row = |key: &RingKey| {
        let since = timestamp(key.phase.since());
        vec![key.id.clone(), key.algorithm.to_string(), key.phase.name().to_owned(), since]
    };
    let rows: Vec<_> = ring.keys().iter().map(row).collect();
    columns(&["KEY", "ALGORITHM", "PHASE", "SINCE"], &rows)
}
