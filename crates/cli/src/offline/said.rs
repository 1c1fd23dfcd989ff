//! What the tools say of a store and its keys, in the same words.

use tokensmith_core::keys::{KeyRing, RingKey};
use tokensmith_objects::object::timestamp;
use tokensmith_store::{Trouble, What};

use crate::output::{columns, printable};

/// A line each.
pub fn troubles(troubles: &[Trouble]) -> String {
    troubles.iter().map(|trouble| format!("  wrong: {}\n", printable(&trouble.to_string()))).collect()
}

/// All on one line.
pub fn one_line(troubles: &[Trouble]) -> String {
    let all: Vec<_> = troubles.iter().map(|trouble| printable(&trouble.to_string())).collect();
    all.join(", ")
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

/// Whether revocations are or may be missing: always, but where it is known that objects or keys alone are concerned.
pub fn revocations_lost(troubles: &[Trouble]) -> bool {
    !troubles.iter().all(of_others)
}

fn of_others(trouble: &Trouble) -> bool {
    match trouble {
        Trouble::Behind { what, .. }
        | Trouble::Count { what, .. }
        | Trouble::Differs(what)
        | Trouble::StateMissing(what) => *what != What::Revocations,
        Trouble::Record(bad) => bad.what != Some(What::Revocations),
        Trouble::AnchorMissing
        | Trouble::AnchorUnreadable(_)
        | Trouble::Database(_)
        | Trouble::DatabaseMissing
        | Trouble::OtherStore
        | Trouble::Records(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use tokensmith_store::BadRecord;

    use super::*;

    #[test]
    fn revocations_are_lost_unless_others_alone_are_concerned() {
        let record =
            |what, place: &str| Trouble::Record(BadRecord { what: Some(what), place: place.into(), why: "" });
        let behind = |what| Trouble::Behind { what, anchor: 2, found: 1 };
        let count = |what| Trouble::Count { what, written: 2, found: 1 };
        for what in [What::Objects, What::Ring] {
            let others = [behind(what), count(what), Trouble::Differs(what), Trouble::StateMissing(what)];
            assert!(!revocations_lost(&others));
            assert!(revocations_lost(&[others[0].clone(), Trouble::AnchorMissing]), "one is enough");
        }
        assert!(
            !revocations_lost(&[])
                && !revocations_lost(&[
                    record(What::Objects, "/registry/pods/a/b"),
                    record(What::Objects, "not UTF-8")
                ])
        );
        let what = What::Revocations;
        for trouble in [
            behind(what),
            count(what),
            Trouble::Differs(what),
            Trouble::StateMissing(what),
            Trouble::AnchorMissing,
            Trouble::AnchorUnreadable(String::new()),
            Trouble::Database(String::new()),
            Trouble::DatabaseMissing,
            Trouble::OtherStore,
            Trouble::Records(1),
            record(what, "the revocation {}"),
            record(what, "what is kept of the marks of tokens"),
        ] {
            assert!(revocations_lost(std::slice::from_ref(&trouble)), "{trouble:?}");
        }
    }
}
