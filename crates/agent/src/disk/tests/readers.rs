//! Readers in a tight loop beside two thousand writes, or ten thousand.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::*;

/// With each `cargo test`.
const WRITES: usize = 2_000;
/// The whole run.
const MANY_WRITES: usize = 10_000;
const FILES: [&str; 4] = ["token", "ca.crt", "namespace", "nested/token"];
/// A set stays for this many writes at least (`volume::KEEP`), less one that may be under way.
const KEPT: usize = 62;

fn set(n: usize) -> Payload {
    // Long enough that a half-written one could be seen, and of different lengths.
    let data = format!("{n:08}{}end", "x".repeat(n % 3000));
    payload(&FILES.map(|file| (file, data.as_str())))
}

/// Which set a file's content is of; panics if it is none, or half.
fn number(data: &str) -> usize {
    let number = data.get(..8).and_then(|n| n.parse().ok()).expect("not empty");
    assert_eq!(data.len(), 8 + number % 3000 + 3, "half a file");
    assert!(data.ends_with("end"));
    number
}

fn read(mut file: File) -> usize {
    let mut data = String::new();
    file.read_to_string(&mut data).unwrap();
    number(&data)
}

/// A reader that resolves `..data` once and reads everything behind it. Which set it saw.
fn careful(volume: &Path) -> usize {
    let dir = openat(CWD, volume.join("..data"), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let open = |file: &str| openat(&dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let numbers = FILES.map(|file| read(open(file).expect("no file is missing").into()));
    assert!(numbers.iter().all(|n| *n == numbers[0]), "a mixed set: {numbers:?}");
    numbers[0]
}

/// A reader that opens each file by its plain path. Each file is whole and none is missing; but a set may change
/// between two of them, as with the kubelet.
fn plain_paths(volume: &Path) -> usize {
    let numbers = FILES.map(|file| read(File::open(volume.join(file)).expect("no file is missing")));
    assert!(numbers.is_sorted(), "an old file after a new one: {numbers:?}");
    numbers[3]
}

#[test]
fn readers_never_miss_a_file_nor_mix_two_sets() {
    read_beside(WRITES);
}

#[test]
#[ignore = "half a minute: `cargo test` does so with fewer writes"]
fn readers_never_miss_a_file_nor_mix_two_sets_in_many_writes() {
    read_beside(MANY_WRITES);
}

fn read_beside(writes: usize) {
    // In memory, so that writes come fast.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let s = Scratch::at(dir, Tmpfs::Never);
    s.volume.write(&set(0), &NOBODY).unwrap();
    let path = s.volume.path();
    let (written, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    // What had been written when each reader began the set that it is reading.
    let began: [AtomicUsize; 2] = Default::default();
    let sets_read = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for (n, began) in began.iter().enumerate() {
            let (path, written, done, sets_read) = (&path, &written, &done, &sets_read);
            scope.spawn(move || {
                // A reader that fails must not make the writer wait for ever.
                let _freed = Freed(began);
                let mut last = 0;
                while !done.load(Ordering::SeqCst) {
                    let before = written.load(Ordering::SeqCst);
                    began.store(before, Ordering::SeqCst);
                    let seen = if n % 2 == 0 { careful(path) } else { plain_paths(path) };
                    assert!(seen >= before.max(last), "set {seen} after {last}, {before} was written");
                    last = seen;
                    sets_read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for n in 1..=writes {
            // A reader that is not scheduled for so long that a set is no longer kept has no promise.
            while began.iter().any(|began| began.load(Ordering::SeqCst).saturating_add(KEPT) < n) {
                std::thread::yield_now();
            }
            // Time moves with each write, as from refresh to refresh.
            s.clock.advance(std::time::Duration::from_secs(48 * 60));
            assert_eq!(s.volume.write(&set(n), &NOBODY).unwrap(), Written::Updated);
            written.store(n, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
    let sets_read = sets_read.into_inner();
    println!("{sets_read} sets read during {writes} writes");
    assert!(sets_read > 1000, "{sets_read}");
    s.clock.advance(super::super::GRACE);
    assert_eq!(s.root.sweep(), None);
    assert_eq!(names(&path), ["..TIME", "..data", "ca.crt", "namespace", "nested", "token"]);
}

struct Freed<'a>(&'a AtomicUsize);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.0.store(usize::MAX, Ordering::SeqCst);
    }
}
