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

/// How many actions deep every interleaving is explored with each `cargo test`.
const DEPTH: usize = 7;
/// And by the whole run, which takes minutes.
const WHOLE_DEPTH: usize = 8;
/// How deep a gap is looked for.
const GAP_DEPTH: usize = 8;
/// How deep the exception is explored.
const EXCEPTION_DEPTH: usize = 6;
/// What must always hold.
const PROPERTIES: [&str; 5] = [
    "the ring keeps its invariants",
    "no verifier refuses a valid token",
    "no promise is broken",
    "a revoked key never comes back",
    "no revoked key signs for long",
];

#[test]
fn no_interleaving_breaks_an_invariant() {
    explore(DEPTH);
}

#[test]
#[ignore = "minutes: `cargo test` explores one step less"]
fn no_interleaving_breaks_an_invariant_one_step_deeper() {
    explore(WHOLE_DEPTH);
}

fn explore(depth: usize) {
    let checker = Model::new(None, false).checker().target_max_depth(depth).threads(2).spawn_bfs().join();
    println!(
        "key ring model: {} states ({} unique), every interleaving to depth {}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100_000, "the model was too small to show anything");
}

/// `keys revoke --fresh` is the named exception to publishing before signing. It excuses the tokens of its one key, until
/// that is known; everything else holds as before, whatever comes between.
#[test]
fn the_named_exception_breaks_nothing_else() {
    let checker =
        Model::new(None, true).checker().target_max_depth(EXCEPTION_DEPTH).threads(2).spawn_bfs().join();
    println!(
        "with unannounced keys: {} unique states to depth {}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    // A removal or a lost race with it lies deeper than this, and is the other run's business.
    for name in PROPERTIES {
        checker.assert_no_discovery(name);
    }
    checker.assert_any_discovery(model::REACHED[4]);
}

#[test]
fn every_rule_is_needed() {
    for rule in Rule::ALL {
        let found = Model::new(Some(rule), false).checker().target_max_depth(GAP_DEPTH).threads(2);
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
