//! Philox4x32-10, the counter-based generator behind every random choice.
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. A value is a pure function of
//! a key and a counter, so it depends on neither the order of evaluation nor the number of threads.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Round number that stands for "the round does not enter".
pub const ANY_ROUND: u32 = u32::MAX;

/// Set in the last counter word of values that are drawn one after another, so that they never meet item values.
const SEQUENTIAL: u32 = 1 << 31;

/// The ten-round Philox bijection: four words of counter to four words of random bits.
pub fn philox4x32(key: u64, counter: [u32; 4]) -> [u32; 4] {
    let mut key = [key as u32, (key >> 32) as u32];
    let mut x = counter;
    for _ in 0..10 {
        let low = u64::from(MULTIPLIERS[0]) * u64::from(x[0]);
        let high = u64::from(MULTIPLIERS[1]) * u64::from(x[2]);
        x = [(high >> 32) as u32 ^ x[1] ^ key[0], high as u32, (low >> 32) as u32 ^ x[3] ^ key[1], low as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    x
}

/// The uniform number in (0, 1) at the middle of the cell that the top 53 bits name; never 0, never 1.
pub fn uniform_from_bits(bits: u64) -> f64 {
    // The topmost cell's middle would round to 1.
    (((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)).min(1.0 - f64::EPSILON / 2.0)
}

/// A named stream of random numbers: values by item, or one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    key: u64,
    round: u32,
    drawn: u64,
}

impl Stream {
    /// The stream of `key` in `round`; [`ANY_ROUND`] leaves the round out.
    pub fn new(key: u64, round: u32) -> Self {
        Self { key, round, drawn: 0 }
    }

    /// 64 random bits that belong to `item`; `step` (below 2^31) tells several values of one item apart.
    ///
    /// The value does not depend on what was drawn before.
    pub fn item_bits(&self, item: u64, step: u32) -> u64 {
        let words = philox4x32(self.key, [item as u32, (item >> 32) as u32, self.round, step & !SEQUENTIAL]);
        u64::from(words[1]) << 32 | u64::from(words[0])
    }

    /// A uniform number in (0, 1) that belongs to `item`.
    pub fn item_uniform(&self, item: u64, step: u32) -> f64 {
        uniform_from_bits(self.item_bits(item, step))
    }

    /// The next 64 random bits.
    pub fn next_bits(&mut self) -> u64 {
        let counter = [self.drawn as u32, (self.drawn >> 32) as u32, self.round, SEQUENTIAL];
        self.drawn += 1;
        let words = philox4x32(self.key, counter);
        u64::from(words[1]) << 32 | u64::from(words[0])
    }

    /// The next uniform number in (0, 1).
    pub fn next_uniform(&mut self) -> f64 {
        uniform_from_bits(self.next_bits())
    }

    /// A whole number below `bound`, each equally likely (Lemire's method without bias).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn next_below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below 0 does not exist");
        loop {
            let product = u128::from(self.next_bits()) * u128::from(bound);
            // Rejecting the few low products that would favour some results makes every result equally likely.
            if product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// Puts `items` into a random order (Fisher and Yates, from the back).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.next_below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_test_vectors_hold() {
        // From the reference implementation's known-answer tests.
        assert_eq!(philox4x32(0, [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32(u64::MAX, [u32::MAX; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32(0x299f_31d0_a409_3822, [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn uniforms_stay_inside_the_open_interval() {
        assert!(uniform_from_bits(0) > 0.0);
        assert!(uniform_from_bits(u64::MAX) < 1.0);
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_repeats() {
        let shuffled = |round| {
            let mut items: Vec<u32> = (0..100).collect();
            Stream::new(7, round).shuffle(&mut items);
            items
        };
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(shuffled(3), shuffled(3));
        assert_ne!(shuffled(3), shuffled(4));
    }

    #[test]
    fn numbers_below_a_bound_are_evenly_spread() {
        let mut stream = Stream::new(1, 0);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.next_below(7) as usize] += 1;
        }
        // Six degrees of freedom: 27.9 is the 1e-4 quantile.
        let chi_square: f64 = counts.iter().map(|&n| (f64::from(n) - 10_000.0).powi(2) / 10_000.0).sum();
        assert!(chi_square < 27.9, "{counts:?}");
    }
}
