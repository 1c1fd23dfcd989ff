//! The kubelet's rule, for comparison (k8s-facts: `token_manager.go`, `pod_workers.go`). The fleet benchmark includes
//! this file too.

/// A sequence of numbers that look random and are the same each time (splitmix64).
pub struct Sequence(pub u64);

impl Sequence {
    /// The next one, in [0, 1).
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// When a pod's kubelet asks again, in seconds after its start at 0, up to `until`.
///
/// A pod is synced every 60 s to 90 s (`syncFrequency` with a jitter of 0.5), by a ticker of one second. Each sync asks
/// whether the token is older than 80 % of its lifetime, or 24 h, less 0 to 9 whole seconds.
pub fn refreshes(lifetime: f64, until: f64, random: &mut Sequence) -> Vec<f64> {
    let mut out = Vec::new();
    let (mut now, mut issued) = (0.0, 0.0);
    while now < until {
        now = (now + 60.0 + 30.0 * random.unit()).ceil();
        let early = (random.unit() * 10.0).floor();
        if now - issued > (lifetime - (lifetime * 0.2).floor()).min(86400.0) - early && now < until {
            out.push(now);
            issued = now;
        }
    }
    out
}

/// How many events fall into the fullest window of `width` seconds.
pub fn peak(events: &mut [f64], width: f64) -> usize {
    events.sort_by(f64::total_cmp);
    let mut from = 0;
    let mut most = 0;
    for to in 0..events.len() {
        while events[to] - events[from] >= width {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most
}
