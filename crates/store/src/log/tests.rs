use bytes::Bytes;

use super::*;

const IDENTITY: StoreId = [3; 16];

fn change(revision: Revision, len: usize) -> Arc<Change> {
    let value = |n: u64| Bytes::from(vec![n as u8; len]);
    Arc::new(Change {
        key: format!("/k{}", revision % 3).into(),
        value: (!revision.is_multiple_of(4)).then(|| value(revision)),
        previous: (revision > 1).then(|| value(revision - 1)),
        revision,
    })
}

fn open(dir: &Path, revision: Revision, changes: usize, bytes: u64) -> Log {
    Log::open(
        dir,
        IDENTITY,
        revision,
        &Options { history: changes, history_bytes: bytes, ..Options::default() },
    )
}

fn all(log: &Log, after: Revision, until: Revision) -> Vec<Arc<Change>> {
    let mut found = Vec::new();
    while after + (found.len() as Revision) < until {
        found.extend(log.page(after + found.len() as Revision, until).unwrap());
    }
    found
}

#[test]
fn changes_come_back_in_pages_over_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let written: Vec<_> = (1..=3000).map(|n| change(n, 500)).collect();
    let log = open(&dir, 0, 10_000, 64 << 20);
    written.chunks(7).for_each(|group| log.append(group));
    assert_eq!(all(&log, 0, 3000), written);
    assert!(log.page(0, 3000).unwrap().len() <= PAGE, "not all at once");
    drop(log);
    let log = open(&dir, 3000, 10_000, 64 << 20);
    assert_eq!((log.oldest(), all(&log, 1234, 3000)), (0, written[1234..].to_vec()));
}

#[test]
fn it_stays_within_its_bounds() {
    for (changes, bytes, len) in
        [(100, 64 << 20, 100), (10_000, 4 << 20, 50_000), (10_000, 4 << 20, 5_000_000)]
    {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        let log = open(&dir, 0, changes, bytes);
        let count = if len > 1_000_000 { 5 } else { 400 };
        for n in 1..=count {
            log.append(&[change(n, len)]);
            let there = crate::database::size(&dir);
            assert!(there < bytes + bytes / 8 + 2 * len as u64 + 1000, "{n}: {there}");
            assert!(n - log.oldest() <= changes as u64);
        }
        let oldest = log.oldest();
        assert!(oldest > 0);
        match log.page(oldest.saturating_sub(1), count) {
            Err(StoreError::Compacted { oldest: told }) => assert_eq!(told, oldest),
            other => panic!("{other:?}"),
        }
        assert_eq!(all(&log, oldest, count).len() as u64, count - oldest);
        drop(log);
        assert!(open(&dir, count, changes, bytes).oldest() <= oldest.max(1), "no more is lost by a restart");
    }
}

#[test]
fn what_was_never_acknowledged_is_cut_off() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    open(&dir, 0, 100, 1 << 20).append(&(1..=10).map(|n| change(n, 10)).collect::<Vec<_>>());
    let log = open(&dir, 8, 100, 1 << 20);
    log.append(&[change(9, 77)]);
    assert_eq!(all(&log, 7, 9), [change(8, 10), change(9, 77)]);
    drop(log);
    assert_eq!(open(&dir, 9, 100, 1 << 20).oldest(), 0);
    // One that ends before the store does is of no use, nor is another store's.
    assert_eq!(open(&dir, 12, 100, 1 << 20).oldest(), 12);
    open(&dir, 12, 100, 1 << 20).append(&[change(13, 1)]);
    let options = Options::default();
    assert_eq!(Log::open(&dir, [4; 16], 13, &options).oldest(), 13);
}

/// Whatever becomes of a file: watches begin later, nothing wrong is told, and it goes on.
#[test]
fn damage_only_moves_its_beginning() {
    let written: Vec<_> = (1..=60).map(|n| change(n, 10_000)).collect();
    let mut seed = 7_u64;
    for round in 0..120 {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        open(&dir, 0, 100, 1 << 20).append(&written);
        let files = file::list(&dir).unwrap();
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % below
        };
        let path = &files[random(files.len())].1;
        let mut bytes = std::fs::read(path).unwrap();
        let at = random(bytes.len());
        match round % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random(8),
            2 => bytes[at..].iter_mut().take(512).for_each(|b| *b = 0),
            _ => drop(std::fs::remove_file(path)),
        }
        if round % 4 < 3 {
            std::fs::write(path, bytes).unwrap();
        }
        let log = open(&dir, 60, 100, 1 << 20);
        log.append(&[change(61, 10)]);
        let mut after = log.oldest();
        while after < 61 {
            match log.page(after, 61) {
                Ok(changes) => {
                    for found in changes {
                        after += 1;
                        let want = written.get(after as usize - 1).cloned().unwrap_or(change(61, 10));
                        assert_eq!(found, want, "round {round}");
                    }
                }
                Err(StoreError::Compacted { oldest }) => {
                    assert!(oldest > after, "round {round}");
                    after = oldest;
                }
                Err(e) => panic!("{e}"),
            }
        }
    }
}
