//! Checksums that bind a record to its place, and sums of them that know no order.
//!
//! sled guards its log's messages with a CRC, but what it cannot read it leaves out, so that an older page, or none, shows.
//! A record's checksum says that it is whole and where it belongs; the sum says that none is missing and none is too much.

use ring::digest::{Context, SHA256};

/// SHA-256 of a record in its place.
pub(crate) type Checksum = [u8; 32];

/// The trees, by the letter that stands for them in a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The anchor's slots.
    Anchor,
    /// Issue records, revocations and marks.
    Ledger,
    /// The change log.
    Log,
    /// Objects, the ring, and what else has a revision.
    Objects,
}

impl Place {
    fn letter(self) -> u8 {
        match self {
            Place::Anchor => b'a',
            Place::Ledger => b'r',
            Place::Log => b'l',
            Place::Objects => b'o',
        }
    }
}

/// Of a value under a key: no other value, key, revision or tree has it. A record that was put in another's place does
/// not verify there.
pub(crate) fn of_record(place: Place, key: &[u8], revision: u64, value: &[u8]) -> Checksum {
    let mut context = Context::new(&SHA256);
    context.update(b"tokensmith store 2");
    context.update(&[place.letter()]);
    context.update(&(key.len() as u64).to_be_bytes());
    context.update(key);
    context.update(&revision.to_be_bytes());
    context.update(value);
    finish(context.finish().as_ref())
}

fn finish(bytes: &[u8]) -> Checksum {
    bytes.try_into().expect("SHA-256 has 32 bytes")
}

/// The sum of records' checksums: the same whatever the order, so that a change costs one addition and one subtraction,
/// not a look at all records. It guards against accidents; who can write the files can also write a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    lanes: [u64; 4],
    /// How many records.
    pub(crate) count: u64,
}

impl Sum {
    /// As many bytes does it take.
    pub(crate) const LEN: usize = 40;

    pub(crate) fn add(&mut self, checksum: &Checksum) {
        self.each(checksum, u64::wrapping_add);
        self.count = self.count.wrapping_add(1);
    }

    pub(crate) fn take(&mut self, checksum: &Checksum) {
        self.each(checksum, u64::wrapping_sub);
        self.count = self.count.wrapping_sub(1);
    }

    fn each(&mut self, checksum: &Checksum, step: fn(u64, u64) -> u64) {
        for (lane, part) in self.lanes.iter_mut().zip(checksum.as_chunks::<8>().0) {
            *lane = step(*lane, u64::from_be_bytes(*part));
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let numbers = self.lanes.into_iter().chain([self.count]);
        for (part, number) in out.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *part = number.to_be_bytes();
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let mut numbers = bytes.as_chunks::<8>().0.iter().map(|part| u64::from_be_bytes(*part));
        let lanes = std::array::from_fn(|_| numbers.next().unwrap_or_default());
        Sum { lanes, count: numbers.next().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_of_one_place_alone() {
        let of = |place, key: &str, revision, value: &str| {
            of_record(place, key.as_bytes(), revision, value.as_bytes())
        };
        let all = [
            of(Place::Objects, "k", 1, "v"),
            of(Place::Ledger, "k", 1, "v"),
            of(Place::Objects, "k", 2, "v"),
            of(Place::Objects, "l", 1, "v"),
            of(Place::Objects, "k", 1, "w"),
            // Nothing moves from the key to the value.
            of(Place::Objects, "", 1, "kv"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
    }

    #[test]
    fn a_sum_knows_no_order_and_forgets_what_is_taken() {
        let records: Vec<_> =
            (0..50_u64).map(|n| of_record(Place::Objects, &n.to_be_bytes(), n, b"v")).collect();
        let (mut up, mut down) = (Sum::default(), Sum::default());
        records.iter().for_each(|r| up.add(r));
        records.iter().rev().for_each(|r| down.add(r));
        assert_eq!(up, down);
        assert_eq!(Sum::from_bytes(&up.to_bytes()), up);
        let mut less = up;
        less.take(&records[7]);
        assert_ne!(less, up);
        less.add(&records[7]);
        assert_eq!(less, up);
        // The same number of records, one of them twice.
        less.take(&records[7]);
        less.add(&records[8]);
        assert!(less != up && less.count == up.count);
    }
}
