//! A day of 10,000 tokens that were all asked for in one second, beside the kubelet's rule.

use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;

use super::kubelet::{Sequence, peak, refreshes};
use super::{Jitter, Lease, RefreshPolicy, Retry, Trouble};

const TOKENS: usize = 10_000;
const DAY: f64 = 86400.0;
const LIFETIME: f64 = 3607.0;
const START: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

/// Requests after the first, in seconds; the server is away from `away.0` to `away.1`.
fn ours(policy: RefreshPolicy, away: (f64, f64)) -> Vec<f64> {
    let mut random = Sequence(7);
    let mut out = Vec::new();
    for n in 0..TOKENS {
        let jitter = Jitter::of("ns", &format!("uid-{n}"), "kube-api-access", "token");
        let mut lease = Lease::starting(START, Duration::from_secs_f64(LIFETIME));
        let mut due = policy.due(&lease, jitter, None);
        loop {
            let (mut at, mut failures) = (due, 0);
            loop {
                let t = (at - START).as_seconds_f64();
                if t >= DAY {
                    break;
                }
                out.push(t);
                if t < away.0 || t >= away.1 {
                    break;
                }
                failures += 1;
                let retry =
                    Retry { failures, trouble: Trouble::Passing, retry_after: None, lease: Some(lease) };
                at += retry.delay(at, random.unit());
            }
            if (at - START).as_seconds_f64() >= DAY {
                break;
            }
            lease = Lease::starting(at, lease.lifetime);
            due = policy.due(&lease, jitter, Some(due));
        }
    }
    out
}

fn within(events: &[f64], from: f64, to: f64) -> Vec<f64> {
    events.iter().copied().filter(|t| (from..to).contains(t)).collect()
}

#[test]
fn a_fleet_that_started_in_one_second_is_spread_from_its_first_refresh() {
    let mut random = Sequence(1);
    let mut kubelet: Vec<f64> = (0..TOKENS).flat_map(|_| refreshes(LIFETIME, DAY, &mut random)).collect();
    let mean = kubelet.len() as f64 / DAY;
    let kubelet_peak = peak(&mut kubelet, 10.0);
    println!("kubelet     mean {mean:5.2}/s   peak {kubelet_peak:5} in 10 s");
    for spread in [0.0, 0.02, 0.05, 0.1, 0.2] {
        let policy = RefreshPolicy { spread, ..RefreshPolicy::default() };
        let mut events = ours(policy, (0.0, 0.0));
        let ours = events.len() as f64 / DAY;
        let most = peak(&mut events, 10.0);
        println!(
            "spread {spread:4.2} mean {ours:5.2}/s   peak {most:5} in 10 s   {:+.1} %",
            (ours / mean - 1.0) * 100.0
        );
        if spread == RefreshPolicy::default().spread {
            // Independent arrivals at 35 in 10 s: what is evenly random stays below 70 in a day of windows.
            assert!(most <= 75, "{most}");
            assert!(most * 10 < kubelet_peak, "{most} against the kubelet's {kubelet_peak}");
            assert!((ours / mean - 1.0).abs() < 0.1, "{ours} against {mean}");
        }
    }
}

#[test]
fn an_outage_leaves_no_crowd_behind() {
    let policy = RefreshPolicy::default();
    for hours in [0.25, 0.5, 1.0, 3.0] {
        let (from, to) = (6.0 * 3600.0, (6.0 + hours) * 3600.0);
        let events = ours(policy, (from, to));
        let during = within(&events, from, to);
        let back = peak(&mut within(&events, to, to + 120.0), 10.0);
        let after = peak(&mut within(&events, to + 120.0, DAY), 10.0);
        println!(
            "away for {hours:4} h   tries {:6.1}/s meanwhile   peak in 10 s: {back:5} on return   {after:4} later",
            during.len() as f64 / (to - from)
        );
        // All that wait come back over two minutes, most in the first, and then keep the turns that they had.
        assert!(back <= TOKENS / 5, "{back}");
        assert!(after <= 85, "{after}");
    }
}
