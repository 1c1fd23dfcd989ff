//! Rotations (250, or a thousand) against a real server whose clock is moved, seen by verifiers that keep key sets as real
//! ones do: no valid token is refused but by who never fetches again, and a revoked one is taken for as long as each kind
//! goes on: until its time is over, or, where time alone ends nothing, until it meets an unknown `kid` or starts anew. A
//! poke, and the first token of `revoke --fresh`, are what it meets.
//!
//! `cargo test -p tokensmith-tests --test simulation -- --nocapture` shows the counts; with `--include-ignored` those of a thousand.

mod agenda;
mod issuer;
mod keys;
mod run;
mod seeded;
mod tally;
mod verifier;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use run::{Outcome, Plan, run};
use tally::Counts;
use verifier::Kind;

const MIB: u64 = 1 << 20;

/// The defaults, but for a period as short as may be: a key is published for just as long as the slowest verifier keeps
/// a key set. 26 hours leave the operator two to revoke the key that signs.
#[tokio::test]
async fn rotations_break_nobody() -> Result<()> {
    none_broken(250).await
}

#[tokio::test]
#[ignore = "minutes: `cargo test` does so with a quarter"]
async fn a_thousand_rotations_break_nobody() -> Result<()> {
    none_broken(1000).await
}

async fn none_broken(rotations: usize) -> Result<()> {
    let started = now();
    let outcome = run(plan(["--key-rotation-period=26h", "--key-publish-before=24h"], rotations)).await?;
    show("published 24 h before signing", &outcome, started.elapsed());
    for (kind, counts) in &outcome.counts {
        let Counts { valid_refused, within, past, blind, .. } = *counts;
        ensure!(valid_refused == 0 && past == 0 && blind == 0, "{kind:?}: {counts:?} {:?}", outcome.wrong);
        // Else the revocations would have shown nothing.
        ensure!(within > 0, "{kind:?} never saw a revoked token that it could take");
        // That a key set's max-age is over ends nothing for those.
        let goes_on = matches!(kind, Kind::Day | Kind::GoOidc3 | Kind::GoOidc2 | Kind::Once);
        ensure!((counts.long > 0) == goes_on, "{kind:?}: {counts:?}");
        // Only who asks at once takes the first token of a key that came unannounced.
        ensure!(
            (counts.unknown > 0) != matches!(kind, Kind::GoOidc3 | Kind::JwksRsa),
            "{kind:?}: {counts:?}"
        );
    }
    ensure!(outcome.pokes >= rotations / 20, "{} pokes", outcome.pokes);
    let Counts { checks, valid_refused, past, .. } = outcome.reviews;
    ensure!(
        checks > rotations as u64 && valid_refused == 0 && past == 0,
        "TokenReview: {:?}",
        outcome.reviews
    );
    ensure!(outcome.rotations >= rotations && outcome.revocations >= rotations / 20);
    ensure!(outcome.guarded >= rotations / 40);
    // What the store in memory keeps for watchers is bounded by 64 MiB; nothing else may grow.
    let (early, late) = outcome.memory;
    ensure!(late < early + 100 * MIB, "the server grew from {} to {} MiB", early / MIB, late / MIB);
    Ok(())
}

/// A verifier that keeps a key set for longer than keys are published before they sign refuses good tokens, and the
/// simulation sees it, were it by ten seconds. Nobody else does.
#[tokio::test]
async fn published_too_late_is_seen() -> Result<()> {
    for flags in [
        ["--key-rotation-period=3h", "--key-publish-before=2h"],
        ["--key-rotation-period=26h", "--key-publish-before=86390s"],
    ] {
        let started = now();
        let outcome = run(plan(flags, 100)).await?;
        show(flags[1], &outcome, started.elapsed());
        for (kind, counts) in &outcome.counts {
            ensure!((counts.valid_refused > 0) == (*kind == Kind::Day), "{kind:?}: {counts:?}");
            ensure!(counts.past == 0 && counts.blind == 0, "{kind:?}: {counts:?} {:?}", outcome.wrong);
        }
        ensure!(outcome.reviews.valid_refused == 0 && outcome.reviews.past == 0);
    }
    Ok(())
}

fn plan(flags: [&'static str; 2], rotations: usize) -> Plan {
    // Two that keep a set for a day, since they seldom fetch.
    let fleet = Kind::ALL.map(|kind| (kind, if kind == Kind::Day { 2 } else { 1 }));
    let flags = [flags[0], flags[1], "--key-set-max-age=1h", "--key-replica-lag=1m"];
    Plan { flags, seed: 1, rotations, revoke_every: 20, fleet }
}

fn show(what: &str, outcome: &Outcome, took: Duration) {
    let Outcome { rotations, tokens, revocations, guarded, pokes, requests, .. } = outcome;
    println!(
        "\n{what}: {rotations} rotations in {} days, {tokens} tokens, {revocations} keys revoked ({guarded} refused by the guard), {pokes} pokes, {requests} requests, {:.1} s, of which the server's CPU {:.1} s",
        outcome.lasted / 86_400,
        took.as_secs_f64(),
        outcome.cpu.as_secs_f64()
    );
    println!(
        "journal: {} lines, {} KiB; the server's memory: {} MiB after a tenth, {} MiB at the end",
        outcome.journal.0,
        outcome.journal.1 / 1024,
        outcome.memory.0 / MIB,
        outcome.memory.1 / MIB
    );
    println!(
        "{:<16}{:>10}{:>15}{:>21}{:>10}{:>23}{:>17}{:>19}",
        "verifier",
        "checks",
        "valid refused",
        "good, not yet known",
        "bound",
        "revoked taken before",
        "long after",
        "revoked taken past"
    );
    let row = |name: &str, bound: &str, counts: &Counts| {
        let Counts { checks, valid_refused, unknown, within, long, past, .. } = counts;
        println!(
            "{name:<16}{checks:>10}{valid_refused:>15}{unknown:>21}{bound:>10}{within:>23}{long:>17}{past:>19}"
        );
    };
    row("TokenReview", "0 s", &outcome.reviews);
    for (kind, counts) in &outcome.counts {
        let bound = kind.keeps().map_or("none".to_owned(), |keeps| format!("{keeps} s"));
        row(kind.name(), &bound, counts);
    }
}

#[expect(clippy::disallowed_methods, reason = "it runs in seconds, and says in how many")]
fn now() -> Instant {
    Instant::now()
}
