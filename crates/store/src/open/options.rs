//! How a store is opened.

use std::sync::Arc;

use tokensmith_core::Supervisor;

/// How to open a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for sled's page cache, bytes.
    pub cache_bytes: u64,
    /// How many changes are kept for watchers, at most.
    pub history: usize,
    /// How many bytes of changes are kept for watchers on disk, at most.
    pub history_bytes: u64,
    /// How many bytes of changes are kept for watchers in memory, at most.
    pub history_memory: usize,
    /// The key of the record whose checksum stands apart, so that its loss is told by name.
    pub ring: &'static str,
    /// What begins so may use the room that is kept for it on a full disk.
    pub reserved: &'static str,
    /// Watches the writers.
    pub supervisor: Arc<Supervisor>,
    /// How large a test has the disk be.
    #[cfg(debug_assertions)]
    pub disk_bytes: Option<u64>,
    /// Where a test lets the process die.
    #[cfg(debug_assertions)]
    pub kill_at: Option<Arc<crate::KillAt>>,
}

impl Default for Options {
    /// 64 MiB of cache (sled's own default is 1 GiB); 10,000 changes, 48 MiB of them on disk and 16 MiB in memory. So the
    /// folder takes no more than three times what lives in it and 64 MiB: sled's file has up to 16 MiB that are free.
    fn default() -> Self {
        Options {
            cache_bytes: 64 << 20,
            history: 10_000,
            history_bytes: 48 << 20,
            history_memory: 16 << 20,
            ring: tokensmith_core::keys::RING_KEY,
            reserved: "/tokensmith/",
            supervisor: Supervisor::alone(),
            #[cfg(debug_assertions)]
            disk_bytes: None,
            #[cfg(debug_assertions)]
            kill_at: None,
        }
    }
}
