//! Damaged stores: truncated, flipped, zeroed, swapped, emptied, put back in part. Whatever was done to one, it starts
//! with all that was acknowledged (issue records excepted), or it does not start, says why, and stays as it was. What is
//! saved of it is what was acknowledged last, or it is told of which part that is not so. An undamaged copy starts.
//!
//! `cargo test -p tokensmith-store --test damage -- --ignored --nocapture` tries 600 variants, from the seed in
//! `DAMAGE_SEED` if there is one, and prints the outcomes by kind. A part of them is in every test run.
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test says where")]

mod outcome;
mod random;
mod variant;
mod world;

use std::collections::BTreeMap;

use outcome::{Outcome, try_out};
use random::Random;
use variant::{KINDS, Variant};
use world::World;

/// Makes stores, so many variants of each, and fails at an outcome that must not be.
fn run(seed: u64, stores: usize, each: usize) {
    let mut counts: BTreeMap<(&str, Outcome), usize> = BTreeMap::new();
    let mut failed = Vec::new();
    for n in 0..stores {
        let home = tempfile::tempdir().unwrap();
        let mut random = Random::new(seed.wrapping_add(n as u64));
        let world = World::make(home.path(), &mut random);
        outcome::control(&world);
        for number in 0..each {
            let variant = Variant::choose(KINDS[number % KINDS.len()], &world, &mut random);
            let (outcome, said) = try_out(&world, &variant);
            *counts.entry((variant.kind.name(), outcome)).or_default() += 1;
            if !outcome.is_good() {
                failed.push(format!(
                    "seed {seed}, store {n}, variant {number}: {variant:?}: {outcome:?}: {said}"
                ));
            }
        }
    }
    println!("{} variants of {stores} stores, seed {seed}", stores * each);
    for ((kind, outcome), count) in &counts {
        println!("{kind:<28} {:<40} {count:>5}", outcome.name());
    }
    for outcome in Outcome::ALL {
        let count: usize = counts.iter().filter(|((_, o), _)| *o == outcome).map(|(_, n)| n).sum();
        println!("{:<69} {count:>5}", outcome.name());
    }
    assert!(failed.is_empty(), "{} of them:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn a_damaged_store_starts_whole_or_says_what_is_damaged() {
    run(11, 4, 16);
}

#[test]
#[ignore = "two minutes: the whole program, by one command"]
fn six_hundred_variants() {
    let seed = std::env::var("DAMAGE_SEED").map_or(1_000, |s| s.parse().unwrap());
    run(seed, 20, 30);
}
