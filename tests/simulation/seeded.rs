//! Numbers that look random and are the same in every run: a failure must come back when the test is run again, so
//! neither the system's randomness nor a library whose sequence may change with its version will do.

/// SplitMix64 (Steele, Lea and Flood, 2014).
pub struct Seeded(u64);

impl Seeded {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Seeded(seed)
    }

    /// A number in a range that is not empty.
    pub fn within(&mut self, range: std::ops::RangeInclusive<i64>) -> i64 {
        let width = range.end() - range.start() + 1;
        // Ranges are far smaller than 2^64: the bias of the remainder does not show.
        range.start() + (self.next() % width.unsigned_abs()) as i64
    }

    /// One of a list.
    pub fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.within(0..=list.len() as i64 - 1) as usize]
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: i64) -> bool {
        self.within(1..=times) == 1
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
