//! How busy the machine is with others.

use std::time::Duration;

use anyhow::{Context, Result};
use tokensmith_tests::server::pause;

/// Others may use so much of one core.
const BOUND: f64 = 0.25;
const LOOK: Duration = Duration::from_millis(200);
/// Before one sample they are waited for no longer.
const ONCE: Duration = Duration::from_secs(3);

/// Waits for others to leave the machine alone, and remembers where they did not.
pub struct Machine {
    /// How long others are waited for, in all.
    patience: Duration,
    /// Samples in all.
    samples: usize,
    /// Those that were taken beside others.
    disturbed: usize,
}

impl Machine {
    /// Nothing is measured yet.
    pub fn new(patience: Duration) -> Self {
        Machine { patience, samples: 0, disturbed: 0 }
    }

    /// Before a sample, while nothing is asked of the server.
    pub async fn quiet(&mut self) -> Result<()> {
        self.samples += 1;
        let mut waited = Duration::ZERO;
        while busy(LOOK).await? > BOUND {
            if waited >= ONCE.min(self.patience) {
                self.disturbed += 1;
                break;
            }
            waited += LOOK;
        }
        self.patience = self.patience.saturating_sub(waited);
        Ok(())
    }

    /// What a reader of the numbers must know.
    pub fn said(&self) -> String {
        format!(
            "{} of {} samples were taken while others used more than {BOUND} of a core",
            self.disturbed, self.samples
        )
    }
}

/// Cores that are used.
async fn busy(time: Duration) -> Result<f64> {
    let (busy, all) = ticks()?;
    pause(time).await;
    let (busy_then, all_then) = ticks()?;
    let cores = std::thread::available_parallelism()?.get();
    let share = busy_then.saturating_sub(busy) as f64 / all_then.saturating_sub(all).max(1) as f64;
    Ok(share * cores as f64)
}

/// Of all cores: in use, and in all (proc(5): user, nice, system, idle, iowait, …).
fn ticks() -> Result<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("no line of all cores")?;
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
    let all: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}
