//! One source of chance: a seed gives the same run every time.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `from..to`; `from` if there is none.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        if to <= from {
            from
        } else {
            from + self.number() % (to - from)
        }
    }

    /// True about `permille` times of a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.number() % 1000 < permille
    }

    /// One of `0..count`.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn index(&mut self, count: usize) -> usize {
        assert!(count > 0, "there is something to choose from");
        usize::try_from(self.number() % count as u64).expect("less than a usize")
    }
}
