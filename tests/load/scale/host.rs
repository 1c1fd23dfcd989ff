//! A server that is measured, as the system sees it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use tokensmith_tests::Server;
use tokensmith_tests::server::pause;

use super::wire::{ANY, Wire};

/// Memory is at rest when it has moved by less than that, for so long.
const STILL: u64 = 256 << 10;
const REST: Duration = Duration::from_millis(1500);
const LOOKS: usize = 8;

pub struct Host {
    pub server: Server,
}

impl Host {
    /// Resident bytes, once they stay as they are.
    pub async fn settled(&self) -> Result<f64> {
        let mut last = self.server.resident()?;
        for _ in 0..LOOKS {
            pause(REST).await;
            let now = self.server.resident()?;
            let moved = now.abs_diff(last);
            last = now;
            if moved < STILL {
                break;
            }
        }
        Ok(last as f64)
    }

    /// Lets the peak of memory begin anew (proc(5), `clear_refs`).
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.server.pid()), "5").context("clear_refs")
    }

    /// The most resident bytes since then.
    pub fn peak(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.pid()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse::<f64>()? * 1024.0)
    }

    /// Bytes in the cache of the store's engine, where the server tells.
    pub async fn cache(&self, wire: &Wire) -> Result<Option<f64>> {
        let text = wire.get("/metrics", ANY).await?;
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find_map(|line| line.strip_prefix("tokensmith_store_cache_bytes "));
        Ok(line.map(str::trim).map(str::parse).transpose()?)
    }
}
