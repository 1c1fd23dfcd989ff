//! The key ring under every interleaving: three replicas over one compare-and-swap store, clocks that differ and step
//! within the stated bound, crashes between a read and its write. The ring, the policy and the guards are the real
//! ones; only the store, the replicas' memory and time are a model, since those are what is to be interleaved.
//!
//! A second run drops one rule at a time and must find each gap: a model that finds nothing proves nothing.
#![expect(clippy::unwrap_used, reason = "a test that fails here says where")]

mod model;
mod state;

use model::{Model, Rule};
use stateright::{Checker, Model as _};

/// How many actions deep every interleaving is explored.
const DEPTH: usize = 8;
/// How deep a gap is looked for.
const GAP_DEPTH: usize = 8;

#[test]
fn no_interleaving_breaks_an_invariant() {
    let checker = Model::new(None).checker().target_max_depth(DEPTH).threads(2).spawn_bfs().join();
    println!(
        "key ring model: {} states ({} unique), every interleaving to depth {}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100_000, "the model was too small to show anything");
}

#[test]
fn every_rule_is_needed() {
    for rule in Rule::ALL {
        let found = Model::new(Some(rule)).checker().target_max_depth(GAP_DEPTH).threads(2);
        let found = found.finish_when(stateright::HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken: Vec<_> = found
            .discoveries()
            .into_iter()
            .filter(|(name, _)| !model::REACHED.contains(name))
            .map(|(name, path)| (name, path.into_actions().len()))
            .collect();
        println!("without {rule:?}: {broken:?} among {} states", found.unique_state_count());
        assert!(!broken.is_empty(), "nothing goes wrong without {rule:?}: the model does not test it");
    }
}
