//! Figures, for people: `cargo test -p tokensmith-agent disk::tests::measure -- --ignored --nocapture`.

use tokensmith_core::clock::{Clock, SystemClock};

use super::*;

fn writes(what: &str, s: &Scratch, count: usize) {
    let clock = SystemClock::new();
    let mut longest = std::time::Duration::ZERO;
    let start = clock.monotonic();
    for n in 0..count {
        let token = format!("{n:01000}");
        let before = clock.monotonic();
        s.write(&[("token", &token), ("ca.crt", &token), ("namespace", "n")]).unwrap();
        longest = longest.max(clock.monotonic() - before);
    }
    let took = clock.monotonic() - start;
    let start = clock.monotonic();
    let token = format!("{:01000}", count - 1);
    for _ in 0..count {
        let same = s.write(&[("token", &token), ("ca.crt", &token), ("namespace", "n")]).unwrap();
        assert_eq!(same, Written::Unchanged);
    }
    let unchanged = clock.monotonic() - start;
    let rate = |took: std::time::Duration| count as f64 / took.as_secs_f64();
    println!("{what}: {:.0} writes/s, longest {longest:.1?}; unchanged {:.0}/s", rate(took), rate(unchanged));
}

#[test]
#[ignore = "figures for people"]
fn writes_of_three_files() {
    writes("disk", &Scratch::new(), 2000);
    let s = Scratch::with(Tmpfs::Auto);
    println!("{}", s.root.facts());
    writes("tmpfs", &s, 10_000);
    s.root.remove_pod("n", "p").unwrap();
    writes("in /dev/shm", &Scratch::at(tempfile::tempdir_in("/dev/shm").unwrap(), Tmpfs::Never), 10_000);
}

#[test]
#[ignore = "figures for people"]
fn a_thousand_volumes() {
    for tmpfs in [Tmpfs::Auto, Tmpfs::Never] {
        let s = Scratch::with(tmpfs);
        let clock = SystemClock::new();
        for n in 0..1000 {
            let volume = s.root.volume("n", &format!("p{n}"), "v").unwrap();
            volume.write(&payload(&[("token", "t"), ("ca.crt", "c"), ("namespace", "n")]), &NOBODY).unwrap();
        }
        println!("{tmpfs:?}: 1000 first writes in {:.2?}", clock.monotonic());
        for n in 0..1000 {
            s.root.remove_pod("n", &format!("p{n}")).unwrap();
        }
        println!("{tmpfs:?}: and removed after {:.2?}", clock.monotonic());
    }
}
