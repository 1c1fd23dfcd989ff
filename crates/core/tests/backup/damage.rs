//! What is not as it was written is refused, wherever it was changed.

use tokensmith_core::backup::{MAGIC, ReadError};

use crate::{World, read};

#[tokio::test]
async fn a_cut_or_flipped_backup_is_refused_wherever_that_is() {
    let bytes = World::new().await.backup().await;
    for end in (0..bytes.len()).step_by(3) {
        assert!(read(&bytes[..end], 4096).is_err(), "cut at {end}");
    }
    let mut changed = bytes.clone();
    for at in 0..bytes.len() {
        let bit = 1 << (at % 8);
        changed[at] ^= bit;
        assert!(read(&changed, bytes.len()).is_err(), "byte {at}");
        changed[at] ^= bit;
    }
    for at in (0..bytes.len()).step_by(97) {
        let end = (at + 512).min(bytes.len());
        let mut zeroed = bytes.clone();
        zeroed[at..end].fill(0);
        assert!(zeroed == bytes || read(&zeroed, 4096).is_err(), "zeros at {at}");
    }
}

#[tokio::test]
async fn records_that_were_taken_out_doubled_or_exchanged_are_refused() {
    let bytes = World::new().await.backup().await;
    let records = records(&bytes);
    let join = |order: &[usize]| {
        let parts: Vec<_> = order.iter().map(|n| &bytes[records[*n].0..records[*n].1]).collect();
        [&MAGIC[..], &parts.concat()].concat()
    };
    let all: Vec<usize> = (0..records.len()).collect();
    assert!(read(&join(&all), 99).is_ok());
    for n in 0..records.len() {
        let mut without = all.clone();
        without.remove(n);
        assert!(read(&join(&without), 4096).is_err(), "without record {n}");
        let mut twice = all.clone();
        twice.insert(n, n);
        assert!(read(&join(&twice), 4096).is_err(), "record {n} twice");
        let mut exchanged = all.clone();
        exchanged.swap(n, (n + 1) % records.len());
        assert!(read(&join(&exchanged), 4096).is_err(), "record {n} later");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let bytes = World::new().await.backup().await;
    let refused = |bytes: &[u8]| read(bytes, 4096).unwrap_err();
    assert_eq!(refused(b""), ReadError::Cut { record: 0, offset: 0 });
    assert_eq!(refused(b"-----BEGIN"), ReadError::NoBackup);
    assert_eq!(refused(&[b'x'; 100]), ReadError::NoBackup);
    assert_eq!(refused(b"tokensmith backup 2\nwhatever"), ReadError::Newer(2));
    assert_eq!(refused(&[&bytes[..], b"x"].concat()), ReadError::Behind { offset: bytes.len() as u64 });
    let huge = [&MAGIC[..], b"e\xff\xff\xff\xff"].concat();
    assert_eq!(refused(&huge), ReadError::Changed { record: 1, offset: 20 }, "4 GiB are not waited for");
}

/// Where each record begins and ends.
fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut out) = (MAGIC.len(), Vec::new());
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
        out.push((at, at + 5 + length + 16));
        at += 5 + length + 16;
    }
    out
}
