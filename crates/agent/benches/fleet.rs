//! 10,000 volumes over a simulated day, in the real projector, on a real disk: `cargo bench -p tokensmith-agent --bench
//! fleet` (`-- --quick`: 1,000 volumes, six hours). Prints the load that an API server sees, beside the kubelet's rule
//! simulated in the same way, and what it costs. The costs include the API server, which is in the same process.

#[path = "../tests/projector/api.rs"]
#[expect(dead_code, reason = "the faults are for tests")]
mod api;
#[path = "../tests/projector/fleet.rs"]
mod fleet;
#[path = "../src/refresh/kubelet.rs"]
mod kubelet;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokensmith_agent::disk::{Root, Tmpfs};

use self::fleet::Fleet;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let fleet = match quick {
        true => Fleet { volumes: 1000, seconds: 6 * 3600 },
        false => Fleet { volumes: 10_000, seconds: 86400 },
    };
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    let folder = folder.expect("a temporary folder can be made");
    let clock = fleet::clock();
    // The moved clock here too: nobody reads, and generations are swept as they are in a real day.
    let root = Root::open(folder.path(), Tmpfs::Never, clock.clone()).expect("nobody else has the folder");
    let api = fleet.api(&clock);
    let before = (memory(), cpu());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let figures = runtime.expect("a runtime").block_on(fleet.run(clock, api, Arc::new(root)));
    let hours = fleet.seconds / 3600;
    println!("{} volumes, {hours} h, tokens of 3607 s, all begun in one second", fleet.volumes);
    println!("                 mean requests/s   peak in 10 s");
    println!("tokensmith       {:15.2}   {:12}", figures.mean, figures.peak);
    println!("kubelet's rule   {:15.2}   {:12}", figures.kubelet_mean, figures.kubelet_peak);
    println!("least time that a token had left: {:.0} s", figures.least_left);
    println!(
        "CPU: {:.1} s ({:.3} % of a core)",
        cpu() - before.1,
        (cpu() - before.1) / fleet.seconds as f64 * 100.0
    );
    println!("memory: {} MiB at the peak, of which {} MiB are the API server's objects", memory(), before.0);
}

/// Peak resident memory in MiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Seconds of processor time so far, all threads; Linux counts hundredths here whatever its own tick.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // After the name come state (field 3) and so on; 14 and 15 are utime and stime.
    fields.iter().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}
